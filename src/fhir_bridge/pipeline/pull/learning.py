"""What the slices of a pull teach about the endpoint: its page size, and its counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fhir_bridge.case.slice import Slice

TOTAL = "Bundle.total"
LIES, TRUSTED, ABSENT, UNPROVEN = "lies", "trusted", "absent", "unproven"
# The first that one slice of a type shows is what is said of the type.
_WORST_FIRST = (LIES, ABSENT, UNPROVEN, TRUSTED)


def learned(slices: Iterable[Slice]) -> Mapping[str, object]:
    """
    Facts for the profile of one source's endpoint (case.profile) from its ended slices, as JSON
    values: `page_size` and `totals` by resource type, `refused` and `not_offered` types.

    Only what was seen is in it: a pull of few records teaches nothing of the page size.
    """
    ended = [s for s in slices if s.ended]
    answered = [s for s in ended if s.pages and s.question]
    found: dict[str, object] = {
        "page_size": _page_sizes(answered),
        "totals": _totals(answered),
        "not_offered": _types(s for s in ended if s.evidence.not_asked),
    }
    seen = {name: value for name, value in found.items() if value}
    # An access that was widened is news as well: nothing is refused any more.
    refused = _types(s for s in ended if s.evidence.refused)
    return {**seen, "refused": refused} if refused or answered else seen


def liars(facts: Mapping[str, object]) -> frozenset[str]:
    """The types whose totals an earlier pull saw lie, from what `learned` taught."""
    totals = facts.get("totals")
    known = totals.items() if isinstance(totals, Mapping) else ()
    return frozenset(str(kind) for kind, word in known if word == LIES)


def _types(slices: Iterable[Slice]) -> Sequence[str]:
    return sorted({s.type for s in slices})


def _page_sizes(slices: Iterable[Slice]) -> Mapping[str, int]:
    """The largest page of each type, where more followed or more came than was asked for."""
    sizes: dict[str, int] = {}
    for now in slices:
        size = now.evidence.page_size
        if now.pages > 1 or size > _asked(now) > 0:
            sizes[now.kind] = max(size, sizes.get(now.kind, 0))
    return {kind: size for kind, size in sorted(sizes.items()) if size}


def _asked(now: Slice) -> int:
    counts = (value for name, value in now.question if name == "_count" and value.isdecimal())
    return int(next(counts, "0"))


def _totals(slices: Iterable[Slice]) -> Mapping[str, str]:
    """Whether `Bundle.total` can be believed: it lies as soon as it once did not add up."""
    said: dict[str, set[str]] = {}
    for now in slices:
        said.setdefault(now.kind, set()).update(_told(now))
    return {kind: min(told, key=_WORST_FIRST.index) for kind, told in sorted(said.items()) if told}


def _told(now: Slice) -> Iterator[str]:
    if now.since:
        return  # its totals count changes, and were believed before
    counts = [count for count in now.evidence.counts if count.witness == TOTAL]
    if not counts:
        yield ABSENT
    for count in counts:
        if not count.trusted or count.said < now.evidence.obtained:
            yield LIES
        else:
            yield TRUSTED if count.said == now.evidence.obtained else UNPROVEN
