"""The documents and reports of a case: read from what was received, with their state and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_bridge.case.ids import bridge_id
from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import HeldAttachment, Sighted
from fhir_bridge.servers.console import nouns, words
from fhir_bridge.servers.console.words import Saying
from fhir_bridge.store.shelves import Store

KINDS = ("DocumentReference", "DiagnosticReport", "Composition")
_SHOWN = frozenset(
    {RecordState.PENDING, RecordState.KEPT, RecordState.QUARANTINED, RecordState.FAILED}
)


@dataclass(frozen=True, slots=True)
class Paper:
    """One document or report. `ref` is the bridge's own id of it, `date` a literal."""

    ref: str
    key: RecordKey
    title: str
    date: str
    author: str
    saying: Saying
    row: LedgerRow
    files: tuple[HeldAttachment, ...]
    text: str = ""

    @property
    def kind(self) -> str:
        """What it is called."""
        return nouns.things(self.key.kind, 1)

    @property
    def incomplete(self) -> bool:
        """Whether a file of it could not be obtained."""
        return any(file.failure for file in self.files)

    @property
    def shown(self) -> bool:
        """Whether it stands in lists; what was merged or replaced is in the ledger only."""
        return self.row.state in _SHOWN


def papers(store: Store, case_id: str) -> Sequence[Paper]:
    """Every document and report of a case, newest first; undated ones last."""
    resources = {s.key: s for s in store.ledgers.sighted(case_id) if s.key.kind in KINDS}
    files: dict[RecordKey, list[HeldAttachment]] = {}
    for file in store.ledgers.attachments(case_id):
        files.setdefault(file.parent, []).append(file)
    found = [
        _paper(row, resources.get(row.key), files.get(row.key, []))
        for row in store.ledgers.rows(case_id)
        if row.key.kind in KINDS
    ]
    return sorted(found, key=lambda paper: (paper.date, paper.title), reverse=True)


def _paper(row: LedgerRow, sighted: Sighted | None, files: Sequence[HeldAttachment]) -> Paper:
    resource = sighted.resource if sighted else {}
    key = row.key
    return Paper(
        ref=bridge_id(key.source, key.kind, key.id),
        key=key,
        title=title(resource) or f"{nouns.things(key.kind, 1).capitalize()} without a title",
        date=date(resource),
        author=_author(resource),
        saying=words.RECORD[row.state],
        row=row,
        files=tuple(files),
        text=_text(resource.get("conclusion")),
    )


def title(resource: Mapping[str, Any]) -> str:
    """What a record calls itself: its description, else its type in words."""
    return (
        _text(resource.get("description"))
        or next(filter(None, (concept(resource.get(name)) for name in ("type", "code"))), "")
        or _text(resource.get("title"))
    )


def date(resource: Mapping[str, Any]) -> str:
    """The clinical date of a record, as a literal; empty when it has none."""
    context = resource.get("context")
    period = context.get("period") if isinstance(context, Mapping) else None
    places: Iterator[object] = iter(
        (
            resource.get("effectiveDateTime"),
            _start(resource.get("effectivePeriod")),
            resource.get("started"),
            _start(period),
            resource.get("date"),
            resource.get("issued"),
            resource.get("performedDateTime"),
            resource.get("onsetDateTime"),
            resource.get("recordedDate"),
            resource.get("authoredOn"),
        )
    )
    return next((text for text in map(_text, places) if text), "")


def _start(period: object) -> object:
    return period.get("start") if isinstance(period, Mapping) else None


def _author(resource: Mapping[str, Any]) -> str:
    found = resource.get("author") or resource.get("performer") or ()
    names = [_text(one.get("display")) for one in _objects(found)]
    return ", ".join(name for name in names if name)


def concept(value: object) -> str:
    """The text of a CodeableConcept, else its first display or code."""
    if not isinstance(value, Mapping):
        return ""
    codings = list(_objects(value.get("coding")))
    displays = [_text(c.get("display")) for c in codings] + [_text(c.get("code")) for c in codings]
    return _text(value.get("text")) or next(filter(None, displays), "")


def _objects(value: object) -> Iterable[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
