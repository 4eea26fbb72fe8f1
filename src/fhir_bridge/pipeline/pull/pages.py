"""Turning pages: a slice goes on from its cursor, and ends in a verdict that has no default."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.events import Happened
from fhir_bridge.case.ledger import LedgerRow, RecordKey
from fhir_bridge.case.original import Answer
from fhir_bridge.case.record import Json
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import (
    BridgeError,
    LoginRefused,
    NotFhir,
    PageLoop,
    ProviderRefused,
    StoreError,
    Truncated,
    Unreadable,
)
from fhir_bridge.pipeline.pull.attachments import named
from fhir_bridge.pipeline.pull.source import Ehr, Source, searchset
from fhir_bridge.pipeline.pull.targets import targets
from fhir_bridge.pipeline.pull.withheld import refuses, withholds
from fhir_bridge.standards.fhir import bundle, json

PAGE_SIZE = 50
MAX_PAGES = 10_000
# So many pages may bring nothing new; a chain under ever new addresses has no other end.
BARREN_PAGES = 100
TRIES = 2
TOTAL, COUNT = "Bundle.total", "_summary=count"


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
    source.shelf.turn(Page(fresh, targets=frozenset({("Patient", source.pin().patient_id)})))
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
        answer, came = _ask(ehr, now)
        page = _page(source, ehr, now, answer, came)
    except StoreError:
        raise  # our own fault, not the hospital's: the step is taken again
    except BridgeError as error:
        page = Page(_stopped(now, error))
    _commit(source, page)
    return not page.slice.ended


def _ask(ehr: Ehr, now: Slice) -> tuple[Answer, bundle.Page]:
    """One page. What cannot be read is asked for once more: gateways have moods."""
    for left in reversed(range(TRIES)):
        answer = (
            ehr.follow(now.cursor, previous=now.previous)
            if now.cursor
            else ehr.search(now.type, now.question)
        )
        try:
            return answer, searchset(answer, ehr)
        except (NotFhir, Unreadable, Truncated):
            if not left:
                raise
    raise AssertionError("a page is asked for at least once")


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


def _page(source: Source, ehr: Ehr, now: Slice, answer: Answer, came: bundle.Page) -> Page:
    fatal = next((issue for issue in came.issues if issue.failed), None)
    if fatal is not None and not came.matches:
        raise ProviderRefused(fatal.code) if refuses(fatal) else NotFhir("a list that is an error")
    found = [*came.matches, *came.included]
    keys = [key_of(source.id, entry.resource) for entry in found]
    pairs = list(zip(keys, found, strict=True))
    answers = pairs[: len(came.matches)]  # what merely came along answers no question
    listed = frozenset(key.id for key, _ in answers if key.kind == now.type)
    patient = source.pin().patient_id
    return Page(
        slice=_advanced(source, now, answer, came, listed),
        seen=tuple(
            LedgerRow(key, original=answer.original.id, position=str(entry.position))
            for key, entry in pairs
        ),
        bases=tuple(entry.base for entry in found),
        listed=listed,
        attachments=tuple(a for key, e in pairs for a in named(key, e.resource, e.base)),
        targets=frozenset(
            t for _, e in pairs for t in targets(e.resource, e.base, ehr.base, patient=patient)
        ),
    )


def _advanced(
    source: Source, now: Slice, answer: Answer, came: bundle.Page, listed: frozenset[str]
) -> Slice:
    obtained = now.evidence.obtained + len(source.shelf.unlisted(now, listed))
    evidence = replace(
        now.evidence,
        obtained=obtained,
        counts=_counts(now, came, obtained),
        warnings=now.evidence.warnings + len(came.unreadable) + sum(map(withholds, came.issues)),
    )
    # What was asked for, because a redirect may hide that it is the same page once more.
    cursor, mark = came.next_link, _mark(now.cursor or answer.url)
    looping = _mark(cursor) in {*now.visited, mark, _mark(answer.url)}
    if cursor and (looping or now.pages + 1 >= min(MAX_PAGES, BARREN_PAGES + 4 * obtained)):
        evidence = replace(evidence, broken=f"{PageLoop.code} {PageLoop.advice}")
        cursor = ""
    return replace(
        now,
        cursor=cursor,
        pages=now.pages + 1,
        visited=(*now.visited, mark),
        previous=answer.original.id,
        ended=not cursor,
        evidence=evidence,
    )


def _mark(url: str) -> str:
    # The addresses themselves are long, and a chart may have thousands of pages.
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _counts(now: Slice, came: bundle.Page, obtained: int) -> tuple[Count, ...]:
    """The page's own total; a total that equals the page while more follows is a known lie."""
    if came.total is None:
        return now.evidence.counts
    others = tuple(count for count in now.evidence.counts if count.witness != TOTAL)
    trusted = not (_lies(came) or came.total < obtained or _lied_before(now))
    return (*others, Count(TOTAL, came.total, trusted=trusted))


def _lies(came: bundle.Page) -> bool:
    return bool(came.next_link) and came.total is not None and came.total <= len(came.matches)


def _lied_before(now: Slice) -> bool:
    return any(count.witness == TOTAL and not count.trusted for count in now.evidence.counts)


def key_of(source: str, resource: Json) -> RecordKey:
    """The ledger key of a resource; what has no id, or no version, is known by its bytes alone."""
    id_, version = resource.get("id"), resource.get("meta")
    version = version.get("versionId") if isinstance(version, dict) else None
    named = isinstance(id_, str) and bool(id_)
    numbered = isinstance(version, str | int) and bool(version)
    digest = "" if named and numbered else hashlib.sha256(json.dumps(resource)).hexdigest()
    kind = str(resource.get("resourceType", "unknown"))
    return RecordKey(
        source, kind, str(id_) if named else digest, str(version) if numbered else digest
    )


def recount(source: Source, ehr: Ehr, type_: str) -> None:
    """
    Ask the source, after the pull, how many it has (`_summary=count`), and write it down.

    A server that ignores `_summary` answers a page: its total counts unless the totals of its pages
    were seen to lie. No answer is no witness, never a failure of the pull.
    """
    now = source.shelf.slice(source.case.id, source.id, type_)
    if now is None or now.evidence.not_asked or now.evidence.refused:
        return
    question = (*(pair for pair in now.question if pair[0] != "_count"), ("_summary", "count"))
    try:
        came = searchset(ehr.search(type_, question), ehr)
    except StoreError:
        raise
    except BridgeError:
        return
    if came.total is None:
        return
    ignored = bool(came.matches)
    known_liar = ignored and (_lies(came) or _lied_before(now))
    trusted = came.total >= now.evidence.obtained and not known_liar
    others = tuple(count for count in now.evidence.counts if count.witness != COUNT)
    counted = Count(COUNT, came.total, after=True, trusted=trusted)
    evidence = replace(
        now.evidence,
        counts=(*others, counted),
        warnings=now.evidence.warnings + sum(map(withholds, came.issues)),
    )
    source.shelf.turn(Page(replace(now, evidence=evidence)))
