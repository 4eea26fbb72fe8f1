"""Chains of search pages that go wrong: pages fail, links lead astray, windows move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.edges import Answer, Ask, Edge, Ending, next_of, with_next
from fhir_bridge.simulators.faults.fault import (
    Fault,
    every_page,
    follow_up,
    small_pages,
    with_rules,
)
from fhir_bridge.simulators.rules import PAGE_PARAMETERS
from fhir_bridge.simulators.wire import Resource, outcome

SLOW_PAGE_SECONDS = 0.15
SUPPRESSED = 2
SHIFT = 2
INTERNAL = "http://fhir-server:8080"


def _token(bundle: Resource) -> str:
    query = edges.query_of(next_of(bundle))
    return next((query[name] for name in PAGE_PARAMETERS if name in query), "")


def drop_next() -> Edge:
    """Page 2 has no next link. Page 2 is the page that a first page's next link names."""
    second: set[str] = set()

    def change(ask: Ask, bundle: Resource) -> Resource:
        if not ask.page:
            second.add(_token(bundle))
        return with_next(bundle, "") if ask.page in second else bundle

    return edges.rewrites(change)


def _self_of(bundle: Resource) -> str:
    return next(str(one["url"]) for one in bundle["link"] if one["relation"] == "self")


def loop_next() -> Edge:
    """The next link of a follow-up page leads to that page again."""
    return edges.rewrites(lambda _ask, bundle: with_next(bundle, _self_of(bundle)))


def loop_two() -> Edge:
    """Page 3 leads back to page 2."""
    second: dict[str, str] = {}
    third: dict[str, str] = {}

    def change(ask: Ask, bundle: Resource) -> Resource:
        if not ask.page:
            second[_token(bundle)] = next_of(bundle)
        elif ask.page in second:
            third[_token(bundle)] = second[ask.page]
        elif ask.page in third:
            return with_next(bundle, third[ask.page])
        return bundle

    return edges.rewrites(change)


def ever_new() -> Edge:
    """Follow-up pages lead to themselves, each time by another address."""
    numbers = count(1)

    def change(_ask: Ask, bundle: Resource) -> Resource:
        url = _self_of(bundle).partition("&_again=")[0]
        return with_next(bundle, f"{url}&_again={next(numbers)}")

    return edges.rewrites(change)


def _relink(change: Callable[[str, Ask], str]) -> Callable[[], Edge]:
    """Every next link is another."""

    def rewrite(ask: Ask, bundle: Resource) -> Resource:
        link = next_of(bundle)
        return with_next(bundle, change(link, ask)) if link else bundle

    return lambda: edges.rewrites(rewrite)


def _below(url: str) -> str:
    """Path and query."""
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


def _without_first_slash(url: str, _ask: Ask) -> str:
    return _below(url).rpartition("/")[2]


def _suppressed(ask: Ask, bundle: Resource) -> Resource:
    entries = bundle.get("entry", [])
    words = f"{min(SUPPRESSED, len(entries))} results suppressed"
    said = {"resource": outcome("warning", "suppressed", words), "search": {"mode": "outcome"}}
    return bundle | {"entry": [*entries[:-SUPPRESSED], said]} if ask.page else bundle


def _shifted(ids: tuple[str, ...], size: int) -> tuple[str, ...]:
    # Two newer records push the window: page 2 shows the end of page 1 again.
    return ids[:size] + ids[size - SHIFT : -SHIFT] if len(ids) > size + SHIFT else ids


def _one_twice(ids: tuple[str, ...], size: int) -> tuple[str, ...]:
    return ids[:size] + ids[size - 1 :] if len(ids) > size else ids


def _mixed(ids: tuple[str, ...], _size: int) -> tuple[str, ...]:
    return ids[1::2] + ids[::-2] if len(ids) % 2 else ids[1::2] + ids[-2::-2]


def newer_version() -> Edge:
    """The first record of page 1 comes again at the end of page 2, one version on."""
    first: dict[str, dict[str, Any]] = {}

    def change(ask: Ask, bundle: Resource) -> Resource:
        entries = bundle.get("entry", [])
        if not ask.page and entries and next_of(bundle):
            first[_token(bundle)] = entries[0]
        moved = [_next_version(first[ask.page])] if ask.page in first else []
        return bundle | {"entry": [*entries, *moved]} if moved else bundle

    return edges.rewrites(change)


def _next_version(entry: dict[str, Any]) -> dict[str, Any]:
    resource = entry["resource"]
    meta = resource.get("meta", {})
    version = str(int(meta["versionId"]) + 1) if meta.get("versionId", "").isdecimal() else "2"
    return entry | {"resource": resource | {"meta": {**meta, "versionId": version}}}


def barren_page() -> Edge:
    """Page 2 is put off: in its place an empty page that leads to it."""
    shown: set[str] = set()

    def change(ask: Ask, bundle: Resource) -> Resource:
        if ask.page in shown:
            return bundle
        shown.add(ask.page)
        empty = {key: value for key, value in bundle.items() if key != "entry"}
        return with_next(empty, f"{_self_of(bundle)}&_again=1")

    return edges.rewrites(change)


def _later() -> Answer:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    return edges.refusal(429, "throttled", "not now", (b"retry-after", soon.encode()))


def _failing(status: int, code: str, words: str, *headers: tuple[bytes, bytes]) -> Answer:
    return edges.refusal(status, code, words, *headers)


LOGIN_PAGE = edges.said(
    200, "text/html; charset=utf-8",
    b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form></form></body></html>",
)  # fmt: skip
_EXPIRED = "this search result is no longer kept; search again"
_SOON = (b"retry-after", b"1")

FAILING = (
    follow_up("page-500-once", "the first follow-up page fails once with 500",
              lambda: edges.once(lambda: _failing(500, "transient", "not now"))),
    follow_up("page-500", "every follow-up page fails with 500",
              lambda: edges.refuses(500, "exception", "the server failed")),
    follow_up("page-410-once", "the first follow-up page is 410 once: the search expired",
              lambda: edges.once(lambda: _failing(410, "expired", _EXPIRED))),
    follow_up("page-410", "every follow-up page is 410: the search expired, each time anew",
              lambda: edges.refuses(410, "expired", _EXPIRED)),
    follow_up("page-404-expired", "the first follow-up page is 404 once: paging session expired",
              lambda: edges.once(lambda: _failing(404, "not-found", "paging session expired"))),
    follow_up("page-429-once", "the first follow-up page is refused once, Retry-After: 1",
              lambda: edges.once(lambda: _failing(429, "throttled", "not now", _SOON))),
    follow_up("page-429-date", "the first follow-up page is refused once, Retry-After is a date",
              lambda: edges.once(_later)),
    follow_up("page-503-once", "the first follow-up page is 503 once, Retry-After: 1",
              lambda: edges.once(lambda: _failing(503, "transient", "busy", _SOON))),
    follow_up("page-401-once", "the first follow-up page is 401 once, though the token lives",
              lambda: edges.once(lambda: _failing(401, "login", "log in again"))),
    follow_up("truncated-page", "follow-up pages break off in their middle",
              lambda: edges.ends(Ending.CUT)),
    follow_up("page-without-length", "follow-up pages have no length and break off in the middle",
              lambda: edges.ends(Ending.BARE)),
    follow_up("page-reset", "the connection is reset in place of the first follow-up page, once",
              lambda: edges.once(lambda: Answer(0, (), b"", Ending.RESET))),
    follow_up("page-outcome", "follow-up pages are 200 with an OperationOutcome",
              lambda: edges.rewrites(
                  lambda _ask, _bundle: outcome("error", "timeout", "it took too long"))),
    follow_up("page-html-login", "follow-up pages are 200 with a gateway's HTML login",
              lambda: edges.answers(LOGIN_PAGE)),
    follow_up("page-empty-body", "follow-up pages are 200 without a body",
              lambda: edges.changes(lambda _ask, answer: replace(answer, body=b""))),
)  # fmt: skip

LINKS = (
    Fault("drop-next", "page 2 has no next link although total says more", "search pages",
          small_pages, edges.record_searches, drop_next),
    Fault("drop-next-no-total", "page 2 has no next link, and nothing ever says how many there are",
          "search pages", with_rules(small=True, total=lambda _all, _shown: None,
          count=lambda _all, _shown: None), edges.record_searches, drop_next),
    Fault("drop-next-total-agrees", "page 2 has no next link, and every total says what came",
          "search pages", with_rules(small=True, total=lambda every, _: min(every, 10),
          count=lambda every, _: min(every, 10)), edges.record_searches, drop_next),
    follow_up("loop-next", "page 2's next link leads to page 2 again", loop_next),
    every_page("loop-two-pages", "page 3's next link leads back to page 2", loop_two),
    follow_up("next-ever-new", "page 2 leads to itself for ever, each time by a new address",
              ever_new),
    every_page("next-internal-host", "next links name a host that only the hospital knows",
               _relink(lambda url, _: INTERNAL + _below(url))),
    every_page("next-internal-path", "next links name an internal host and another path",
               _relink(lambda url, _: f"{INTERNAL}/hapi{_below(url)}")),
    every_page("next-respelled", "next links spell their origin with HTTP:// and a padded port",
               _relink(lambda url, _: edges.respelled(url))),
    every_page("next-other-origin", "next links lead to somebody else's server",
               _relink(lambda url, ask: ask.foreign + _below(url)), foreign=True),
    every_page("next-other-scheme", "next links change between http and https",
               _relink(lambda url, _: url.replace("http://", "https://", 1))),
    every_page("next-relative", "next links are relative to the base",
               _relink(_without_first_slash)),
    follow_up("page-empty-with-next", "an empty page comes first, and leads to the real page 2",
              barren_page),
)  # fmt: skip

WINDOWS = (
    Fault("window-shifts", f"page 2 repeats {SHIFT} records, and {SHIFT} are never sent",
          "search pages", with_rules(small=True, arrange=_shifted)),
    Fault("record-twice", "the last record of page 1 comes again on page 2", "search pages",
          with_rules(small=True, arrange=_one_twice)),
    Fault("out-of-order", "the pages show the records in no order", "search pages",
          with_rules(small=True, arrange=_mixed)),
    every_page("version-moves", "a record of page 1 comes again on page 2, one version on",
               newer_version),
    every_page("page-suppressed",
               f"follow-up pages lack {SUPPRESSED} records: an outcome says they are suppressed",
               lambda: edges.rewrites(_suppressed)),
    Fault("slow-pages", "every search page takes 150 ms longer", "search pages", small_pages,
          edges.search_pages, lambda: edges.slow(SLOW_PAGE_SECONDS)),
    Fault("page-size-ignored", "_count is ignored: three to a page", "search pages",
          with_rules(page_default=3, heeds_count=False)),
)  # fmt: skip

ROWS = (*FAILING, *LINKS, *WINDOWS)
