"""What STOW-RS answers for each instance: the Store Instances Response (PS3.18 10.5.3)."""

from __future__ import annotations

from dataclasses import dataclass

_RETRIEVE_URL, _FAILED, _REFERENCED = "00081190", "00081198", "00081199"
_SOP_CLASS, _SOP_UID, _REASON = "00081150", "00081155", "00081197"

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Result:
    """One part's end: `reason` is None when the instance is durable."""

    sop_class: str = ""
    sop_uid: str = ""
    reason: int | None = None


def status(results: list[Result]) -> int:
    """200 when all are stored, 202 when some are, 409 when none is (PS3.18 table 10.5.3-1)."""
    failed = sum(result.reason is not None for result in results)
    if not failed:
        return 200
    return 202 if failed < len(results) else 409


def response(results: list[Result]) -> Json:
    """The response module in DICOM JSON (PS3.18 F.2); we serve no retrieval, so no URL of it."""
    stored = [_item(result) for result in results if result.reason is None]
    failed = [_item(result) for result in results if result.reason is not None]
    found: Json = {_RETRIEVE_URL: {"vr": "UR"}}
    if failed:
        found[_FAILED] = {"vr": "SQ", "Value": failed}
    if stored:
        found[_REFERENCED] = {"vr": "SQ", "Value": stored}
    return found


def _item(result: Result) -> Json:
    item: Json = {_SOP_CLASS: _uid(result.sop_class), _SOP_UID: _uid(result.sop_uid)}
    if result.reason is not None:
        item[_REASON] = {"vr": "US", "Value": [result.reason]}
    return item


def _uid(uid: str) -> Json:
    return {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"}
