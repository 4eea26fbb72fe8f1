"""Read back: what the chart gives, set against what was signed, element by element."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_bridge.case.delivery import Delivery, ReadBack
from fhir_bridge.pipeline.deliver import words
from fhir_bridge.pipeline.deliver.document_reference import (
    Node,
    Signed,
    contents,
    document_reference,
)
from fhir_bridge.standards.fhir.attachments import sniff
from fhir_bridge.standards.fhir.moments import sort_key
from fhir_bridge.standards.fhir.references import Form, classify

_RETRACTED = "entered-in-error"
# Looked at by themselves: the contents by their bytes, the subject by whom it names.
_BY_ITSELF = frozenset({"resourceType", "content", "subject"})
_OF_PLACE = frozenset({"data", "url", "size", "hash"})


@dataclass(frozen=True, slots=True)
class Compared:
    """The verdict, and the elements that are not as they were sent, by name only."""

    verdict: ReadBack
    fields: tuple[str, ...] = ()

    @property
    def difference(self) -> str:
        """The names in one line."""
        return ", ".join(self.fields)


def compare(
    delivery: Delivery, signed: Signed, patient_id: str, resource: Node, parts: Sequence[bytes]
) -> Compared:
    """
    Judge a DocumentReference as it was read back; `parts` are its attachments' bytes in order.

    `equal`: the same bytes, and every element as it was sent (the chart may add its own).
    `rewritten`: still ours and about the same patient, every word of the opinion there. `different`
    is everything else: another patient, a retraction, a content that we cannot recognise.
    """
    sent = document_reference(delivery, signed, patient_id)
    fields = list(_changed(sent, resource))
    if not _same(sent["subject"], resource.get("subject")):
        return Compared(ReadBack.DIFFERENT, ("subject", *fields))
    if _RETRACTED in (resource.get("status"), resource.get("docStatus")):
        return Compared(ReadBack.DIFFERENT, tuple(fields))
    judged = [_judge(part, signed, resource) for part in parts]
    strange = [f"content[{i}]" for i, verdict in enumerate(judged) if verdict is None]
    if strange or not judged:
        return Compared(ReadBack.DIFFERENT, (*(strange or ["content"]), *fields))
    missing = {body for _, body in contents(signed)} - set(parts)
    fields += [f"content[{i}]" for i, v in enumerate(judged) if v is ReadBack.REWRITTEN]
    fields += ["content"] if missing and len(parts) < len(contents(signed)) else []
    verdict = ReadBack.REWRITTEN if fields or missing else ReadBack.EQUAL
    return Compared(verdict, tuple(dict.fromkeys(fields)))


def _judge(part: bytes, signed: Signed, resource: Node) -> ReadBack | None:
    """Equal bytes, a rendition with every word, or None for what is not recognised."""
    if _sha256(part) in {_sha256(body) for _, body in contents(signed)}:
        return ReadBack.EQUAL
    text = words.shown_text(sniff(part), part)
    if text is None or not _is_ours(text, signed, resource):
        return None
    wanted = words.of_document(signed.document)
    return ReadBack.REWRITTEN if wanted <= words.words(text) else None


def _is_ours(text: str, signed: Signed, resource: Node) -> bool:
    return signed.identifier in text or names(resource, signed.identifier)


def names(resource: Node, identifier: str) -> bool:
    """
    Whether a DocumentReference says by itself that it carries an identifier.

    `relatesTo` is not looked at: there the version after names the one before.
    """
    master, others = resource.get("masterIdentifier"), resource.get("identifier")
    found = [master, *(others if isinstance(others, list) else ())]
    values = [str(i.get("value", "")) for i in found if isinstance(i, Mapping)]
    return identifier in values or identifier in str(resource.get("description", ""))


def _changed(sent: Node, got: Node) -> Iterator[str]:
    """The names of the elements that do not come back as they were sent."""
    for name, value in sent.items():
        if name not in _BY_ITSELF and not _same(value, got.get(name)):
            yield name
    theirs = [c.get("attachment") for c in got.get("content") or () if isinstance(c, Mapping)]
    for index, content in enumerate(sent["content"]):
        kept = {k: v for k, v in content["attachment"].items() if k not in _OF_PLACE}
        if not any(_same(kept, attachment) for attachment in theirs):
            yield f"content[{index}].attachment"


def _same(sent: Any, got: Any) -> bool:
    """Whether all that was sent is there; what a chart adds is its own business."""
    if isinstance(sent, dict):
        if not isinstance(got, Mapping):
            return False
        return all(
            _same_target(value, got.get(key)) if key == "reference" else _same(value, got.get(key))
            for key, value in sent.items()
        )
    if isinstance(sent, list):
        found = got if isinstance(got, list) else ()
        return all(any(_same(item, other) for other in found) for item in sent)
    return bool(sent == got) or _same_moment(sent, got)


def _same_target(sent: str, got: object) -> bool:
    if not isinstance(got, str):
        return False
    mine, theirs = classify(sent), classify(got)
    if Form.ABSOLUTE in (mine.form, theirs.form):
        return (mine.type, mine.id) == (theirs.type, theirs.id)
    return (mine.form, mine.type, mine.id) == (theirs.form, theirs.type, theirs.id)


def _same_moment(sent: object, got: object) -> bool:
    # 12:00:00Z and 14:00:00.000+02:00 are one instant; charts write it their way.
    mine, theirs = sort_key(sent), sort_key(got)
    return "T" in mine[1] and "T" in theirs[1] and mine[0] >= 0 and mine[0] == theirs[0]


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
