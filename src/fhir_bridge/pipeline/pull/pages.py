"""Turning pages: a slice goes on from its cursor, and ends in a verdict that has no default."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.events import Happened
from fhir_bridge.case.ledger import LedgerRow, RecordKey
from fhir_bridge.case.original import Answer
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import (
    BridgeError,
    LoginRefused,
    NotFhir,
    PageLoop,
    ProviderRefused,
)
from fhir_bridge.pipeline.pull.attachments import named
from fhir_bridge.pipeline.pull.source import Ehr, Source, searchset
from fhir_bridge.standards.fhir import bundle, json
from fhir_bridge.standards.fhir.outcome import Issue

PAGE_SIZE = 50
MAX_PAGES = 10_000
_WITHHOLDING = frozenset({"suppressed", "incomplete", "too-costly", "throttled", "timeout"})
_WITHHELD = re.compile(r"suppress|withheld|incomplete|truncat|more .*exist", re.IGNORECASE)


def begin(source: Source, ehr: Ehr, type_: str, run: int) -> bool:
    """
    Start the slice of a type for this run; False when the source does not offer it.

    A slice that was begun by a run that was killed goes on where it stood.
    """
    now = source.shelf.slice(source.case.id, source.id, type_)
    if now is not None and now.run == run:
        return not now.ended
    # A statement without any types says nothing; then we ask and see.
    declared = ehr.capability().interactions
    offered = not declared or "search-type" in declared.get(type_, frozenset())
    question = (("patient", source.pin().patient_id), ("_count", str(PAGE_SIZE)))
    fresh = Slice(source.case.id, source.id, type_, run=run, question=question)
    if not offered:
        evidence = Evidence(not_asked="the hospital does not offer this by FHIR")
        fresh = replace(fresh, ended=True, evidence=evidence)
    source.shelf.turn(Page(fresh))
    return offered


def leave_out(
    source: Source, type_: str, run: int, *, not_asked: str = "", refused: str = ""
) -> None:
    """End a slice that cannot be asked in this run; what an earlier run brought stays counted."""
    now = source.shelf.slice(source.case.id, source.id, type_)
    now = now or Slice(source.case.id, source.id, type_)
    evidence = replace(now.evidence, not_asked=not_asked, refused=refused)
    source.shelf.turn(Page(replace(now, run=run, ended=True, evidence=evidence)))


def turn(source: Source, ehr: Ehr, type_: str) -> bool:
    """Ask for the slice's next page and commit what it brought; True while there is more."""
    now = source.shelf.slice(source.case.id, source.id, type_)
    if now is None or now.ended:
        return False
    try:
        answer = (
            ehr.follow(now.cursor, previous=now.visited[-1])
            if now.cursor
            else ehr.search(type_, now.question)
        )
        page = _page(source, now, answer, searchset(answer, ehr))
    except BridgeError as error:
        page = Page(_stopped(now, error))
    _commit(source, page)
    return not page.slice.ended


def _commit(source: Source, page: Page) -> None:
    events = [
        source.event(Happened.PAGE_STORED, type=page.slice.type, got=page.slice.evidence.obtained)
    ]
    if page.slice.ended:
        events.append(source.event(Happened.SLICE_ENDED, type=page.slice.type))
    source.shelf.turn(page, *events)


def _stopped(now: Slice, error: BridgeError) -> Slice:
    """The verdict when a page could not be had: refused as a whole, or broken in the middle."""
    refused = isinstance(error, (LoginRefused, ProviderRefused)) and not now.cursor
    evidence = (
        replace(now.evidence, refused=error.advice)
        if refused
        else replace(now.evidence, broken=f"{error.code} {error.advice}")
    )
    return replace(now, ended=True, evidence=evidence)


def _page(source: Source, now: Slice, answer: Answer, came: bundle.Page) -> Page:
    if not came.matches and any(issue.failed for issue in came.issues):
        raise NotFhir("a searchset that holds an error")
    found = [*came.matches, *came.included]
    keys = [key_of(source.id, entry.resource) for entry in found]
    rows = tuple(
        LedgerRow(key, original=answer.original.id, position=str(entry.position))
        for key, entry in zip(keys, found, strict=True)
    )
    attachments = tuple(
        attachment
        for key, entry in zip(keys, found, strict=True)
        for attachment in named(key, entry.resource, entry.base)
    )
    return Page(
        slice=_advanced(source, now, answer, came, keys),
        seen=rows,
        bases=tuple(entry.base for entry in found),
        attachments=attachments,
    )


def _advanced(
    source: Source, now: Slice, answer: Answer, came: bundle.Page, keys: list[RecordKey]
) -> Slice:
    before = {row.key.id for row in source.shelf.rows(source.case.id) if _of(row.key, now)}
    ids = before | {key.id for key in keys if key.kind == now.type}
    next_url = came.next_link
    evidence = replace(
        now.evidence,
        obtained=len(ids),
        counts=_counts(now, came, len(ids)),
        warnings=now.evidence.warnings + len(came.unreadable) + sum(map(_withholds, came.issues)),
    )
    looping = next_url in now.visited or next_url == answer.url
    if next_url and (looping or now.pages + 1 >= MAX_PAGES):
        evidence = replace(evidence, broken=f"{PageLoop.code} {PageLoop.advice}")
        next_url = ""
    return replace(
        now,
        cursor=next_url,
        pages=now.pages + 1,
        visited=(*now.visited, answer.url),
        ended=not next_url,
        evidence=evidence,
    )


def _of(key: RecordKey, now: Slice) -> bool:
    return key.source == now.source and key.kind == now.type


def _counts(now: Slice, came: bundle.Page, obtained: int) -> tuple[Count, ...]:
    """The page's own total; a total that equals the page while more follows is a known lie."""
    others = tuple(count for count in now.evidence.counts if count.witness != "Bundle.total")
    if came.total is None:
        return now.evidence.counts
    lies = bool(came.next_link) and came.total <= len(came.matches)
    short = came.total < obtained
    known = any(c.witness == "Bundle.total" and not c.trusted for c in now.evidence.counts)
    trusted = not (lies or short or known)
    return (*others, Count("Bundle.total", came.total, trusted=trusted))


def _withholds(issue: Issue) -> bool:
    return issue.code in _WITHHOLDING or bool(_WITHHELD.search(issue.text))


def key_of(source: str, resource: Any) -> RecordKey:
    """The ledger key of a resource; an entry without an id is known by its bytes alone."""
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    digest = hashlib.sha256(json.dumps(resource)).hexdigest()
    kind = str(resource.get("resourceType", "unknown"))
    return RecordKey(source, kind, str(resource.get("id") or digest), str(version or digest))


def recount(source: Source, ehr: Ehr, type_: str) -> None:
    """
    Ask the source, after the pull, how many it has (`_summary=count`), and write it down.

    A server that ignores `_summary` answers a page; its total counts all the same. No answer is
    no witness, never a failure of the pull.
    """
    now = source.shelf.slice(source.case.id, source.id, type_)
    if now is None or now.evidence.not_asked or now.evidence.refused:
        return
    question = (*(pair for pair in now.question if pair[0] != "_count"), ("_summary", "count"))
    try:
        answer = ehr.search(type_, question)
        total = searchset(answer, ehr).total
    except BridgeError:
        return
    if total is None:
        return
    others = tuple(c for c in now.evidence.counts if c.witness != "_summary=count")
    counted = Count("_summary=count", total, after=True, trusted=total >= now.evidence.obtained)
    evidence = replace(now.evidence, counts=(*others, counted))
    source.shelf.turn(Page(replace(now, evidence=evidence)))
