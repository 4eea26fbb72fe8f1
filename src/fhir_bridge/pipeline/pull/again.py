"""Pulling again: only what changed where that can be believed, and what is gone since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from fhir_bridge.case.certificate import COMPLETE, Evidence, Grade, grade
from fhir_bridge.case.ledger import LedgerRow
from fhir_bridge.case.original import Answer
from fhir_bridge.case.record import HeldAttachment, Json
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import BridgeError, NotFhir, ProviderRefused
from fhir_bridge.pipeline.pull.attachments import named
from fhir_bridge.pipeline.pull.counting import COUNT, TOTAL, counted
from fhir_bridge.pipeline.pull.obeying import DATES, is_strangers, strays
from fhir_bridge.pipeline.pull.reading import WIDER, key_of
from fhir_bridge.pipeline.pull.source import Ehr, Offers, Source
from fhir_bridge.pipeline.pull.targets import targets
from fhir_bridge.standards.fhir import json

UPDATED, BY_DATE, NONE = "_lastUpdated", "date", "none"
# A server may commit a change up to two minutes after the time that it stamps on it, and the
# clocks of its machines differ: what began before that is asked for once more.
OVERLAP = timedelta(seconds=150)
WHOLE_EVERY = timedelta(days=7)
# Reads of one run for records that the list has lost, and of one call; the next run goes on.
MAX_READS, PIECE = 100, 8
# Behind the last page, `Slice.visited` carries the ids that are still to be read, so marked.
_TO_READ = "?"


def narrowed(fresh: Slice, before: Slice | None, offers: Offers, how: str, now: datetime) -> Slice:
    """
    The slice of a new run, asking only for what changed since the last one where that is safe.

    `how` is the vendor's rule `increment`: `date` for windows of the records' own dates, `none`,
    or else `_lastUpdated`, where the type declares it. Safe is what ended complete by a count that
    was believed, and was listed as a whole within seven days (R4 3.1.1.3.1.2).
    """
    if before is None or before.began is None or before.full_at is None:
        return fresh
    if how == NONE or fresh.ended:
        return fresh
    due = now - before.full_at >= WHOLE_EVERY
    if due or before.whole != fresh.whole or not _is_believed(before):
        return fresh
    name = DATES.get(fresh.kind, ("", ""))[0] if how == BY_DATE else UPDATED
    if not name or name not in offers.search_params.get(fresh.kind, ()):
        return fresh
    moment = (before.began - OVERLAP).astimezone(UTC).replace(microsecond=0)
    value = moment.date().isoformat() if how == BY_DATE else f"{moment:%Y-%m-%dT%H:%M:%S}Z"
    return replace(
        fresh,
        question=(*fresh.question, (name, f"ge{value}")),
        since=name,
        full_at=before.full_at,
        evidence=Evidence(page_size=before.evidence.page_size),
    )


def _is_believed(before: Slice) -> bool:
    """Whether the last run ended complete by a count, under totals that were not seen to lie."""
    evidence = before.evidence
    count = any(c.trusted and c.said == evidence.obtained and c.witness == COUNT
                for c in evidence.counts)  # fmt: skip
    total = any(c.trusted and c.witness == TOTAL for c in evidence.counts) or bool(before.since)
    return before.ended and count and total and grade(evidence) in COMPLETE


def began(answer: Answer, now: datetime) -> datetime:
    """
    When a list was begun: by the server's clock or by ours, whichever is the earlier.

    The next run asks for what changed since then; too early only brings a record twice.
    """
    try:
        said = parsedate_to_datetime(answer.header("Date"))
    except (TypeError, ValueError):
        return now
    return min(now, said) if said.tzinfo is not None else now


def concluded(source: Source, ehr: Ehr, page: Page) -> Page:
    """
    The last page of a slice, as it stands beside what earlier runs have listed.

    An increment ends with all ids that are held, if the source's count says so; otherwise the
    whole list is asked for in the same run. Of a whole list that came to its end, the ids that are
    missing are to be read one by one. Raises ProviderBusy and StoreError.
    """
    now = page.slice
    if now.run == 1 or "$" in now.type:
        return page
    if now.since:
        return _carried(source, ehr, page)
    if now.evidence.broken or now.evidence.refused or now.evidence.not_asked:
        return page
    lost = sorted(source.shelf.earlier(now) - page.listed)[:MAX_READS]
    if not lost or not _may_read(source, ehr, now):
        return page
    marks = (f"{_TO_READ}{id_}" for id_ in lost)
    return replace(page, slice=replace(now, ended=False, visited=(*now.visited, *marks)))


def _may_read(source: Source, ehr: Ehr, now: Slice) -> bool:
    """Whether a 404 to a read would say anything."""
    try:
        declared = ehr.capability().interactions
    except BridgeError as error:
        if source.waits_out(error):
            raise
        return False
    return not declared or "read" in declared.get(now.kind, ())


def _carried(source: Source, ehr: Ehr, page: Page) -> Page:
    """An increment that came whole, with the ids that did not change; else the whole list anew."""
    now = page.slice
    if not _came_whole(now.evidence):
        return _as_whole(page)
    stood = source.shelf.earlier(now) - page.listed
    held = replace(now.evidence, obtained=now.evidence.obtained + len(stood), counts=())
    try:
        evidence = counted(ehr, replace(now, evidence=held))
    except BridgeError as error:
        if source.waits_out(error):
            raise
        return _as_whole(page)
    if grade(evidence) not in COMPLETE:
        return _as_whole(page)
    return replace(page, slice=replace(now, evidence=evidence), listed=page.listed | stood)


def _came_whole(evidence: Evidence) -> bool:
    """Whether all that changed came: a change that is missed would not show in any count."""
    total = any(c.trusted and c.said == evidence.obtained for c in evidence.counts)
    sound = WIDER.isdisjoint(evidence.findings) and not evidence.refused
    return total and sound and grade(evidence) is not Grade.SHORT


def _as_whole(page: Page) -> Page:
    """The slice begun anew with its whole question; what the increment brought stays listed."""
    now = page.slice
    evidence = Evidence(
        obtained=now.evidence.obtained,
        unreadable=now.evidence.unreadable,
        page_size=now.evidence.page_size,
    )
    anew = replace(
        now, question=now.whole, since="", full_at=now.began, cursor="", pages=0, visited=(),
        previous="", restarts=0, ended=False, evidence=evidence,
    )  # fmt: skip
    return replace(page, slice=anew)


def to_read(now: Slice) -> Sequence[str]:
    """The ids that the list has lost and that are still to be read."""
    return [one[1:] for one in now.visited if one.startswith(_TO_READ)]


@dataclass(frozen=True, slots=True)
class _Found:
    """A record that its list has lost, as it was read; nothing of it when it is gone."""

    id: str
    gone: bool = False
    counts: bool = False
    seen: tuple[LedgerRow, ...] = ()
    attachments: tuple[HeldAttachment, ...] = ()
    targets: frozenset[tuple[str, str]] = frozenset()


def read_lost(source: Source, ehr: Ehr, now: Slice) -> Page:
    """
    Read some of the records that a list has lost: what is there counts as obtained, what is not
    there any more (404, 410) is set aside, and what cannot be told stays as it was.

    Raises ProviderBusy and StoreError.
    """
    left = to_read(now)
    found = [_read(source, ehr, now, id_) for id_ in left[:PIECE]]
    gone = frozenset(one.id for one in found if one.gone)
    counts = frozenset(one.id for one in found if one.counts)
    evidence = replace(
        now.evidence,
        obtained=now.evidence.obtained + len(counts),
        gone=now.evidence.gone + len(gone),
        findings=tuple(sorted({*now.evidence.findings, *(["fetched-by-id"] if counts else [])})),
    )
    marks = {f"{_TO_READ}{id_}" for id_ in left[:PIECE]}
    visited = tuple(one for one in now.visited if one not in marks)
    seen = tuple(row for one in found for row in one.seen)
    return Page(
        slice=replace(now, visited=visited, ended=len(left) <= PIECE, evidence=evidence),
        seen=seen,
        bases=(ehr.base,) * len(seen),
        listed=counts,
        attachments=tuple(held for one in found for held in one.attachments),
        targets=frozenset().union(*(one.targets for one in found)),
        gone=gone,
    )


def _read(source: Source, ehr: Ehr, now: Slice, id_: str) -> _Found:
    try:
        answer = ehr.read(f"{now.kind}/{id_}")
        resource = json.load_object(answer.body or b"")
        if (resource.get("resourceType"), resource.get("id")) != (now.kind, id_):
            raise NotFhir(f"a {now.kind} was asked for and another record came")
    except BridgeError as error:
        if source.waits_out(error):
            raise
        return _Found(id_, gone=is_gone(error))
    key, patient = key_of(source.id, resource), source.pin().patient_id
    return _Found(
        id_,
        counts=_is_listed_rightly(resource, now, patient),
        seen=(LedgerRow(key, original=answer.original.id),),
        attachments=tuple(named(key, resource, ehr.base)),
        targets=frozenset(targets(resource, ehr.base, ehr.base, patient=patient)),
    )


def is_gone(error: BridgeError) -> bool:
    """Whether a read was answered that there is nothing: 404, or 410 for what was deleted."""
    return isinstance(error, ProviderRefused) and error.detail.startswith(("HTTP 404", "HTTP 410"))


def _is_listed_rightly(resource: Json, now: Slice, patient: str) -> bool:
    """Whether the list should have shown it; what was retracted it may leave out."""
    retracted = resource.get("status") == "entered-in-error"
    return not (retracted or is_strangers(resource, patient) or strays(resource, now.question))
