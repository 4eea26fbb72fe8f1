"""Search pages: a snapshot of what matched, cut into pages behind opaque tokens."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from fhir_bridge.simulators.chart import Chart
from fhir_bridge.simulators.rules import PAGE_PARAMETERS, Asked, Rules
from fhir_bridge.simulators.wire import Refusal, Resource, outcome

_CONTROLS = frozenset({"_count", "_summary", "_format", "_total", *PAGE_PARAMETERS})


@dataclass(frozen=True, slots=True)
class Query:
    """One search as this server understood it; `matched` is how many there are."""

    kind: str
    used: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    size: int
    matched: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A place in a snapshot: the ids as they are shown, and the first that is not yet shown."""

    query: Query
    ids: tuple[str, ...]
    start: int


class Pages:
    """
    Answers searches with Bundles (R4 http.html#paging).

    A page token stands for a snapshot and may be used again and again; the same search over the
    same chart gets the same tokens. A restart of the hospital forgets them (410).
    """

    def __init__(self, chart: Chart, base: str, rules: Rules) -> None:
        self._chart, self._base, self._rules = chart, base, rules
        self._secret = secrets.token_bytes(16)
        self._slices: dict[str, Slice] = {}

    def answer(self, kind: str, asked: list[tuple[str, str]], *, strict: bool = False) -> Resource:
        """
        The searchset for a query; raises Refusal 400 (values), 410 (a forgotten page).

        The type may be empty for a page token, which knows its own.
        """
        controls = {name: value for name, value in asked if name in _CONTROLS}
        if token := next((controls[name] for name in PAGE_PARAMETERS if name in controls), ""):
            return self._page(self._recall(kind, token))
        wanted = [pair for pair in asked if pair[0] not in _CONTROLS]
        self._rules.demand(kind, wanted)
        found = self._chart.search(kind, [p for p in wanted if p[0] not in self._rules.deaf_to])
        if strict and found.ignored:
            raise Refusal(400, "not-supported", "a search parameter is not known here")
        used = tuple(wanted) if self._rules.parrots else found.used
        size = self._size(controls.get("_count"))
        query = Query(kind, used, found.ignored, size, len(found.matches))
        only_counted = controls.get("_summary") == "count" and self._rules.counts
        if only_counted or controls.get("_count") == "0":
            return self._count_only(query)
        ids = self._rules.arrange(tuple(one["id"] for one in found.matches), size)
        return self._page(Slice(query, ids, 0))

    def _size(self, count: str | None) -> int:
        default = min(self._rules.page_default, self._rules.page_max)
        if count is None or count == "0" or not self._rules.heeds_count:
            return default
        if not count.isdecimal():
            raise Refusal(400, "value", "_count is no number")
        return min(int(count), self._rules.page_max)

    def _recall(self, kind: str, token: str) -> Slice:
        place = self._slices.get(token)
        if place is None or kind not in ("", place.query.kind):
            raise Refusal(410, "expired", "this search result is no longer kept; search again")
        return place

    def _page(self, place: Slice) -> Resource:
        query, end = place.query, place.start + place.query.size
        links = [("self", self._url(query) if not place.start else self._at(place))]
        if end < len(place.ids):
            links.append(("next", self._at(replace(place, start=end))))
        shown = (self._chart.read(query.kind, one) for one in place.ids[place.start : end])
        entries = [self._entry(resource) for resource in shown if resource is not None]
        total = self._rules.total(query.matched, len(entries))
        if query.ignored and not place.start:
            entries.append(_ignored(query.ignored))
        return _searchset(total, links, entries)

    def _count_only(self, query: Query) -> Resource:
        total = self._rules.count(query.matched, min(query.matched, query.size))
        return _searchset(total, [("self", self._url(query, (("_summary", "count"),)))], [])

    def _entry(self, resource: Resource) -> Resource:
        url = f"{self._base}/{resource['resourceType']}/{resource['id']}"
        return {"fullUrl": url, "resource": resource, "search": {"mode": "match"}}

    def _url(self, query: Query, more: Asked = ()) -> str:
        # The self link says what was understood, not what was asked.
        pairs = [*query.used, *(more or (("_count", str(query.size)),))]
        return f"{self._base}/{query.kind}?{urlencode(pairs, safe='/|,:')}"

    def _at(self, place: Slice) -> str:
        token = hashlib.sha256(self._secret + repr(place).encode()).hexdigest()[:32]
        self._slices[token] = place
        return self._rules.page_link.format(
            base=self._base, kind=place.query.kind, token=token, start=place.start,
            size=place.query.size,
        )  # fmt: skip


def _ignored(names: tuple[str, ...]) -> Resource:
    words = f"not known here and left out: {', '.join(sorted(set(names)))}"
    body = outcome("warning", "not-supported", words)
    return {"resource": body, "search": {"mode": "outcome"}}


def _searchset(
    total: int | None, links: list[tuple[str, str]], entries: list[Resource]
) -> Resource:
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        bundle["total"] = total
    bundle["link"] = [{"relation": relation, "url": url} for relation, url in links]
    return bundle | ({"entry": entries} if entries else {})
