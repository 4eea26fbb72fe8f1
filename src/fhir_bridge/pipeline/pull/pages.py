"""Turning pages: a slice goes on from its cursor, and ends in a verdict that has no default."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from fhir_bridge.case.certificate import Count, Evidence
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
from fhir_bridge.pipeline.pull import again
from fhir_bridge.pipeline.pull.counting import COUNT, TOTAL, recount
from fhir_bridge.pipeline.pull.reading import IS_AN_ERROR, WIDER, Brought, key_of, read, searchset
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.standards.fhir import bundle

__all__ = ["COUNT", "TOTAL", "demands_more", "key_of", "mark", "recount", "turn"]

PAGE_SIZE = 50
MAX_PAGES = 10_000
# So many pages may bring nothing new; a chain under ever new addresses has no other end.
BARREN_PAGES = 100
TRIES = 2
RESTARTS = 1
# Epic says 400 (4113) of a paging session that ran out, others 404 or 410.
_GONE = ("HTTP 400", "HTTP 404", "HTTP 410")
# US Core lets a server demand a category or a status, and answer 400 without it.
_DEMANDS = ("HTTP 400", "HTTP 422", "required")
DEMANDED = "parameter-demanded"


Expect = Callable[[str, str], None]


def turn(source: Source, ehr: Ehr, type_: str, expect: Expect = lambda *_: None) -> bool:
    """
    Ask for the slice's next page and commit what it brought; True while there is more.

    `expect` hears the address of the page after it, and the original that names it, as soon as
    both are known: it may be asked for while this one is taken apart.

    Raises ProviderBusy when the hospital wants us to wait, and StoreError; the slice then stands
    where it stood.
    """
    now = source.shelf.slice(source.case.id, source.id, type_)
    if now is None or now.ended:
        return False
    page = _page(source, ehr, now, expect)
    _commit(source, page)
    return not page.slice.ended


def _page(source: Source, ehr: Ehr, now: Slice, expect: Expect) -> Page:
    """What the next page brings; behind the last one, what it says beside earlier runs."""
    if again.to_read(now):
        return again.read_lost(source, ehr, now)
    try:
        answer, came = _ask(ehr, now)
        if came.next_link and mark(came.next_link) not in _known(now, answer):
            expect(came.next_link, answer.original.id)
        brought = read(source, ehr, now.kind, now.question, answer, came)
        page = brought.page(_advanced(source, now, answer, brought))
    except (StoreError, ProviderBusy):
        raise  # our own fault, or nobody's: the step is taken again
    except BridgeError as error:
        page = Page(_stopped(now, error))
    return again.concluded(source, ehr, page) if page.slice.ended else page


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
    if page.gone:
        fact = source.event(Happened.RECORD_GONE, type=page.slice.type, count=len(page.gone))
        events.append(fact)
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
    told = ("outcome-error",) if IS_AN_ERROR in error.detail else ()
    if not refused:
        evidence = replace(_noted(now.evidence, *told), broken=f"{error.code} {error.advice}")
        return replace(now, ended=True, evidence=evidence)
    demands = (DEMANDED,) if error.detail.startswith(_DEMANDS) else ()
    evidence = replace(_noted(now.evidence, *told, *demands), refused=error.advice)
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
    began = now.began or again.began(answer, source.now())
    return replace(
        now,
        cursor=cursor,
        pages=now.pages + 1,
        visited=(*now.visited, mark(now.cursor or answer.url)),
        previous=answer.original.id,
        ended=not cursor,
        evidence=evidence,
        began=began,
        full_at=now.full_at or began,
    )


def _next(now: Slice, answer: Answer, came: bundle.Page, obtained: int) -> tuple[str, bool]:
    """The address of the next page, empty where the chain ends; and whether it went in circles."""
    cursor = came.next_link
    barren = now.pages + 1 >= min(MAX_PAGES, BARREN_PAGES + 4 * obtained)
    looping = bool(cursor) and (mark(cursor) in _known(now, answer) or barren)
    return ("" if looping else cursor), looping


def _known(now: Slice, answer: Answer) -> frozenset[str]:
    """The pages turned; what was asked for, because a redirect may hide that it came before."""
    return frozenset({*now.visited, mark(now.cursor or answer.url), mark(answer.url)})


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
