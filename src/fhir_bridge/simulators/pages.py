"""Search pages: a snapshot of what matched, cut into pages behind opaque tokens."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from fhir_bridge.simulators.chart import Chart
from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.wire import Refusal, Resource, outcome

_CONTROLS = frozenset({"_count", "_summary", "_format", "_page"})


@dataclass(frozen=True, slots=True)
class Query:
    """One search as this server understood it."""

    kind: str
    used: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A place in a snapshot: the ids that matched, and the first that is not yet shown."""

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
        """The searchset for a query; raises Refusal 400 (values), 410 (a forgotten page)."""
        controls = {name: value for name, value in asked if name in _CONTROLS}
        if "_page" in controls:
            return self._page(self._recall(kind, controls["_page"]))
        found = self._chart.search(kind, [pair for pair in asked if pair[0] not in _CONTROLS])
        if strict and found.ignored:
            raise Refusal(400, "not-supported", "a search parameter is not known here")
        query = Query(kind, found.used, found.ignored, self._size(controls.get("_count")))
        if controls.get("_summary") == "count" or controls.get("_count") == "0":
            return self._count_only(query, len(found.matches))
        return self._page(Slice(query, tuple(one["id"] for one in found.matches), 0))

    def _size(self, count: str | None) -> int:
        default = min(self._rules.page_default, self._rules.page_max)
        if count is None or count == "0":
            return default
        if not count.isdecimal():
            raise Refusal(400, "value", "_count is no number")
        return min(int(count), self._rules.page_max)

    def _recall(self, kind: str, token: str) -> Slice:
        place = self._slices.get(token)
        if place is None or place.query.kind != kind:
            raise Refusal(410, "expired", "this search result is no longer kept; search again")
        return place

    def _page(self, place: Slice) -> Resource:
        query, end = place.query, place.start + place.query.size
        links = [("self", self._url(query) if not place.start else self._at(place))]
        if end < len(place.ids):
            links.append(("next", self._at(Slice(query, place.ids, end))))
        shown = (self._chart.read(query.kind, one) for one in place.ids[place.start : end])
        entries = [self._entry(resource) for resource in shown if resource is not None]
        if query.ignored and not place.start:
            entries.append(_ignored(query.ignored))
        return _searchset(len(place.ids), links, entries)

    def _count_only(self, query: Query, total: int) -> Resource:
        return _searchset(total, [("self", self._url(query, (("_summary", "count"),)))], [])

    def _entry(self, resource: Resource) -> Resource:
        url = f"{self._base}/{resource['resourceType']}/{resource['id']}"
        return {"fullUrl": url, "resource": resource, "search": {"mode": "match"}}

    def _url(self, query: Query, more: tuple[tuple[str, str], ...] = ()) -> str:
        # The self link says what was understood, not what was asked.
        pairs = [*query.used, *(more or (("_count", str(query.size)),))]
        return f"{self._base}/{query.kind}?{urlencode(pairs, safe='/|,:')}"

    def _at(self, place: Slice) -> str:
        digest = hashlib.sha256(self._secret + repr(place).encode()).hexdigest()[:32]
        self._slices[digest] = place
        return f"{self._base}/{place.query.kind}?_page={digest}"


def _ignored(names: tuple[str, ...]) -> Resource:
    words = f"not known here and left out: {', '.join(sorted(set(names)))}"
    body = outcome("warning", "not-supported", words)
    return {"resource": body, "search": {"mode": "outcome"}}


def _searchset(total: int, links: list[tuple[str, str]], entries: list[Resource]) -> Resource:
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": total}
    bundle["link"] = [{"relation": relation, "url": url} for relation, url in links]
    return bundle | ({"entry": entries} if entries else {})
