"""Turning pages: a slice goes on from its cursor, and ends in a verdict that has no default."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from fhir_bridge.case.certificate import COMPLETE, Count, Evidence, grade
from fhir_bridge.case.events import Happened
from fhir_bridge.case.original import Answer
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import (
    BridgeError,
    Hostile,
    LoginRefused,
    NotFhir,
    PageExpired,
    PageLoop,
    ProviderBusy,
    ProviderRefused,
    StoreError,
    Truncated,
    Unreadable,
)
from fhir_bridge.pipeline.pull.reading import WIDER, Brought, key_of, read, searchset
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.pipeline.pull.withheld import withholds
from fhir_bridge.standards.fhir import bundle

__all__ = ["demands_more", "key_of", "recount", "turn"]

PAGE_SIZE = 50
MAX_PAGES = 10_000
# So many pages may bring nothing new; a chain under ever new addresses has no other end.
BARREN_PAGES = 100
TRIES = 2
RESTARTS = 1
TOTAL, COUNT = "Bundle.total", "_summary=count"
# Epic says 400 (4113) of a paging session that ran out, others 404 or 410.
_GONE = ("HTTP 400", "HTTP 404", "HTTP 410")
# US Core lets a server demand a category or a status, and answer 400 without it.
_DEMANDS = ("HTTP 400", "HTTP 422", "required")
DEMANDED = "parameter-demanded"


def turn(source: Source, ehr: Ehr, type_: str) -> bool:
    """
    Ask for the slice's next page and commit what it brought; True while there is more.

    Raises ProviderBusy when the hospital wants us to wait, and StoreError; the slice then stands
    where it stood.
    """
    now = source.shelf.slice(source.case.id, source.id, type_)
    if now is None or now.ended:
        return False
    try:
        answer, came = _ask(ehr, now)
        brought = read(source, ehr, now.kind, now.question, answer, came)
        page = brought.page(_advanced(source, now, answer, brought))
    except (StoreError, ProviderBusy):
        raise  # our own fault, or nobody's: the step is taken again
    except BridgeError as error:
        page = Page(_stopped(now, error))
    _commit(source, page)
    return not page.slice.ended


def demands_more(slice_: Slice) -> bool:
    """Whether the server refused the question because it wants it asked in parts."""
    return bool(slice_.evidence.refused) and DEMANDED in slice_.evidence.findings


def _ask(ehr: Ehr, now: Slice) -> tuple[Answer, bundle.Page]:
    """
    One page. What cannot be read is asked for once more: gateways have moods. What cannot be read
    then either is read without its odd entries.
    """
    for left in reversed(range(TRIES)):
        answer = (
            ehr.follow(now.cursor, previous=now.previous)
            if now.cursor
            else ehr.search(now.type.partition("?")[0], now.question)
        )
        try:
            return answer, searchset(answer, ehr, tolerant=not left)
        except (NotFhir, Unreadable, Hostile, Truncated):
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
    """
    What becomes of a slice when a page could not be had: an expired chain begins anew, once; else
    the verdict, refused as a whole or broken in the middle.
    """
    if now.cursor and now.restarts < RESTARTS and _is_gone(error):
        noted = _noted(now.evidence, "chain-restarted")
        # The old marks go: the same addresses may come again, and then are no loop.
        return replace(
            now, cursor="", previous="", visited=(), restarts=now.restarts + 1, evidence=noted
        )
    refused = isinstance(error, (LoginRefused, ProviderRefused)) and not now.cursor
    if not refused:
        evidence = replace(now.evidence, broken=f"{error.code} {error.advice}")
        return replace(now, ended=True, evidence=evidence)
    demands = (DEMANDED,) if error.detail.startswith(_DEMANDS) else ()
    evidence = replace(_noted(now.evidence, *demands), refused=error.advice)
    return replace(now, ended=True, evidence=evidence)


def _is_gone(error: BridgeError) -> bool:
    gone = isinstance(error, ProviderRefused) and error.detail.startswith(_GONE)
    return gone or isinstance(error, PageExpired)


def _noted(evidence: Evidence, *codes: str) -> Evidence:
    found = dict.fromkeys((*evidence.findings, *codes))
    return replace(evidence, findings=tuple(sorted(found)))


def _advanced(source: Source, now: Slice, answer: Answer, brought: Brought) -> Slice:
    """The slice after a page."""
    new = source.shelf.unlisted(now, brought.listed | brought.odd)
    obtained = now.evidence.obtained + len(new & brought.listed)
    cursor, looping = _next(now, answer, brought.came, obtained)
    evidence = replace(
        _noted(now.evidence, *brought.findings),
        obtained=obtained,
        unreadable=now.evidence.unreadable + len(new & brought.odd),
        page_size=max(now.evidence.page_size, brought.entries),
        warnings=now.evidence.warnings + brought.warnings,
    )
    evidence = _counted(evidence, brought.came)
    if looping:
        evidence = replace(_noted(evidence, "looping"), broken=f"{PageLoop.code} {PageLoop.advice}")
    if not cursor and not any(count.witness == TOTAL for count in evidence.counts):
        evidence = _noted(evidence, "total-absent")
    return replace(
        now,
        cursor=cursor,
        pages=now.pages + 1,
        visited=(*now.visited, mark(now.cursor or answer.url)),
        previous=answer.original.id,
        ended=not cursor,
        evidence=evidence,
    )


def _next(now: Slice, answer: Answer, came: bundle.Page, obtained: int) -> tuple[str, bool]:
    """The address of the next page, empty where the chain ends; and whether it went in circles."""
    cursor = came.next_link
    # What was asked for, because a redirect may hide that it is the same page once more.
    known = {*now.visited, mark(now.cursor or answer.url), mark(answer.url)}
    barren = now.pages + 1 >= min(MAX_PAGES, BARREN_PAGES + 4 * obtained)
    looping = bool(cursor) and (mark(cursor) in known or barren)
    return ("" if looping else cursor), looping


def mark(url: str) -> str:
    """A page's address as it is remembered: the addresses are long, and there may be thousands."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _counted(evidence: Evidence, came: bundle.Page) -> Evidence:
    """The page's own total; one that was seen to lie, or counts something wider, is not trusted."""
    if came.total is None:
        return evidence
    before = [count for count in evidence.counts if count.witness == TOTAL]
    evidence = _noted(evidence, *_lies(evidence, came, came.total, before))
    trusted = all(count.trusted for count in before) and not _is_doubted(evidence)
    others = tuple(count for count in evidence.counts if count.witness != TOTAL)
    return replace(evidence, counts=(*others, Count(TOTAL, came.total, trusted=trusted)))


def _lies(evidence: Evidence, came: bundle.Page, total: int, before: list[Count]) -> Iterator[str]:
    grows = any(count.said < total for count in before) and total <= evidence.obtained
    if came.next_link and (total <= len(came.matches) or grows):
        yield "total-is-page-size"
    elif total < evidence.obtained:
        yield "total-too-low"


def _is_doubted(evidence: Evidence) -> bool:
    return not WIDER.isdisjoint(evidence.findings) or any(
        code in evidence.findings for code in ("total-is-page-size", "total-too-low")
    )


def recount(source: Source, ehr: Ehr, type_: str) -> None:
    """
    Ask the source, after the pull, how many it has (`_summary=count`), and write it down.

    A server that ignores `_summary` answers a page: its total counts unless the totals of its pages
    were seen to lie. No answer is no witness, never a failure of the pull. A count that agrees
    already is not asked for again.
    """
    now = source.shelf.slice(source.case.id, source.id, type_)
    if now is None or "$" in type_ or _has_no_use(now.evidence):
        return
    question = (*(pair for pair in now.question if pair[0] != "_count"), ("_summary", "count"))
    try:
        came = searchset(ehr.search(type_.partition("?")[0], question), ehr)
    except StoreError:
        raise
    except BridgeError:
        return
    if came.total is not None:
        evidence = _recounted(now.evidence, came, came.total)
        source.shelf.turn(Page(replace(now, evidence=evidence)))


def _has_no_use(evidence: Evidence) -> bool:
    agrees = any(c.witness == COUNT and c.said == evidence.obtained for c in evidence.counts)
    return bool(evidence.not_asked or evidence.refused) or (agrees and grade(evidence) in COMPLETE)


def _recounted(evidence: Evidence, came: bundle.Page, total: int) -> Evidence:
    ignored = bool(came.matches)
    lied = any(count.witness == TOTAL and not count.trusted for count in evidence.counts)
    known_liar = ignored and (lied or (came.next_link and total <= len(came.matches)))
    low = total < evidence.obtained
    wider = not WIDER.isdisjoint(evidence.findings)
    others = tuple(count for count in evidence.counts if count.witness != COUNT)
    trusted = not (low or known_liar or wider)
    return replace(
        _noted(evidence, *(["total-too-low"] if low else [])),
        counts=(*others, Count(COUNT, total, after=True, trusted=trusted)),
        warnings=evidence.warnings + sum(map(withholds, came.issues)),
    )
