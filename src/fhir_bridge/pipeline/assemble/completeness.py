"""The section that says how complete the record is: the certificate, and everything not in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fhir_bridge.case.certificate import Line
from fhir_bridge.case.ledger import ATTACHMENT, INSTANCE, RecordKey, RecordState
from fhir_bridge.case.record import End, Entry, Normalized, Unresolved
from fhir_bridge.pipeline.assemble.words import sentence, things
from fhir_bridge.standards.fhir.judge import judge
from fhir_bridge.standards.fhir.narrative import bullets, div, heading, paragraph, table

_HASH = re.compile(r"[0-9a-f]{64}")
_HEADINGS = {
    RecordState.FAILED: "Could not be obtained or read",
    RecordState.QUARANTINED: "Set aside until a person decides",
    RecordState.EXCLUDED: "Left out by rule",
    RecordState.SUPERSEDED: "Replaced by something newer",
    RecordState.MERGED_INTO: "Came more than once, shown once",
}


def completeness(lines: Sequence[Line], normalized: Normalized, released: str = "") -> str:
    """
    The section's narrative; nothing in it depends on when or from which port the record came.

    `released` says which person let the specialist read a record that is not complete, and why.
    """
    return div(
        *((heading("Released by a person"), paragraph(released)) if released else ()),
        *_certificate(lines),
        *_ended(normalized.ends),
        *_leading_out(normalized.unresolved),
        *_noted(normalized),
    )


def ordered(lines: Iterable[Line]) -> list[Line]:
    """Certificate lines by source and type, whatever order the slices ran in."""
    return sorted(lines, key=lambda line: (line.source, line.type, line.reason, line.got))


def _certificate(lines: Sequence[Line]) -> Iterator[str]:
    yield heading("What each hospital has and what came")
    if not lines:
        yield paragraph("No hospital was asked.")
        return
    rows = [(one.source, things(one.type), str(one.got), sentence(one)) for one in ordered(lines)]
    yield table(("Hospital", "What", "Here", "How complete"), rows)


def _ended(ends: Mapping[RecordKey, End]) -> Iterator[str]:
    for state, words in _HEADINGS.items():
        found = Counter(
            (key.source, _name(key), end.reason) for key, end in ends.items() if end.state is state
        )
        if found:
            yield heading(words)
            rows = [
                (source, name if count == 1 else f"{name} ({count})", reason)
                for (source, name, reason), count in sorted(found.items())
            ]
            yield table(("Hospital", "Record", "Why"), rows)


def _name(key: RecordKey) -> str:
    # An attachment's key is its address, an instance's its UID: neither says anything to a reader,
    # and an address changes with the server's port.
    if key.kind in (ATTACHMENT, INSTANCE):
        return "file" if key.kind == ATTACHMENT else "image"
    return key.kind if _HASH.fullmatch(key.id) else f"{key.kind}/{key.id}"


def _leading_out(unresolved: Sequence[Unresolved]) -> Iterator[str]:
    found = Counter((one.reference, one.reason) for one in unresolved)
    if found:
        yield heading("Named in the records and not here")
        rows = [(what, reason, str(n)) for (what, reason), n in sorted(found.items())]
        yield table(("What", "Why", "Times"), rows)


def _noted(normalized: Normalized) -> Iterator[str]:
    notes = [
        f"{key.source} {_name(key)}: {end.reason}"
        for key, end in normalized.ends.items()
        if end.state is RecordState.KEPT and end.reason and key.kind not in (ATTACHMENT, INSTANCE)
    ]
    notes += [note for entry in normalized.entries for note in _verdict(entry)]
    if notes:
        yield heading("Shown as it was sent, although")
        yield bullets(sorted(notes))


def _verdict(entry: Entry) -> Iterator[str]:
    findings = judge(entry.resource) if entry.resource["resourceType"] != "Binary" else ()
    if findings and entry.sources:
        key = entry.sources[0]
        yield f"{key.source} {_name(key)}: is not valid FHIR R4 ({'; '.join(findings[:3])})"
