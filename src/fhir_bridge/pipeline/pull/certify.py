"""The certificate of a source: every slice graded by its evidence (TRUTH 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from fhir_bridge.case.certificate import Evidence, Line, line
from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.case.slice import REFERRED, Slice


def certificate(
    slices: Iterable[Slice],
    attachments: Iterable[HeldAttachment],
    unread: Mapping[str, int] = MappingProxyType({}),
) -> Sequence[Line]:
    """One line per slice, and one for a source whose records refer to some that never came."""
    return [line(s.source, s.type, s.evidence) for s in judged(slices, attachments, unread)]


def judged(
    slices: Iterable[Slice], attachments: Iterable[HeldAttachment], unread: Mapping[str, int]
) -> Sequence[Slice]:
    """
    The slices with all that counts against them.

    An attachment that failed, or was not settled yet, makes the slice of its record short; one
    that names neither address nor content has nothing to be missed, and is only counted. `unread`
    counts by source the records that others refer to and that could not be read.
    """
    found = list(slices)
    failed, empty = _without_bytes(found, attachments)
    case_id = found[0].case_id if found else ""
    beside = {source for source, type_ in failed if type_ == REFERRED}
    beside |= {source for source, number in unread.items() if number}
    found += [_referred(case_id, source, unread.get(source, 0)) for source in beside]
    lowered = [
        _lowered(one, failed[one.source, one.type], empty[one.source, one.type]) for one in found
    ]
    return sorted(lowered, key=lambda s: (s.source, s.type))


def _without_bytes(
    slices: Sequence[Slice], attachments: Iterable[HeldAttachment]
) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """How many attachments failed, and how many are empty, by source and name of a slice."""
    failed: Counter[tuple[str, str]] = Counter()
    empty: Counter[tuple[str, str]] = Counter()
    names = _by_kind(slices)
    for one in attachments:
        if not one.sha256:
            parent = one.parent
            name = names.get((parent.source, parent.kind), REFERRED)
            (failed if one.failure or not one.reason else empty)[parent.source, name] += 1
    return failed, empty


def _by_kind(slices: Sequence[Slice]) -> Mapping[tuple[str, str], str]:
    """
    The line where the attachments of a kind of record are told of: its first that was answered.

    One that was not asked, or refused, would hide them; what has no line came by reference.
    """
    found: dict[tuple[str, str], str] = {}
    for one in sorted(slices, key=lambda s: s.type):
        if not (one.evidence.not_asked or one.evidence.refused):
            found.setdefault((one.source, one.kind), one.type)
    return found


def _lowered(slice_: Slice, failed: int, empty: int) -> Slice:
    now = slice_.evidence
    evidence = replace(
        now, missing=now.missing + failed, attachments_failed=failed, attachments_empty=empty
    )
    return replace(slice_, evidence=evidence)


def _referred(case_id: str, source: str, number: int) -> Slice:
    records = (
        "record that others refer to was" if number == 1 else "records that others refer to were"
    )
    broken = f"{number} {records} not handed over" if number else ""
    evidence = Evidence(
        missing=number, broken=broken, findings=("records-missing",) if number else ()
    )
    return Slice(case_id, source, REFERRED, ended=True, evidence=evidence)
