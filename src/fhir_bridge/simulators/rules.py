"""How this hospital behaves: every habit that a fault or a vendor may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fhir_bridge.simulators.images import Instance
from fhir_bridge.simulators.wire import Resource

# Under which name a page token travels: ours, then HAPI's, Epic's, Oracle Health's, MEDITECH's
# and athena's.
PAGE_PARAMETERS = ("_page", "_getpages", "sessionID", "-pageContext", "continue", "cursor")
Asked = Sequence[tuple[str, str]]


def as_sent(resource: Resource) -> Resource:
    """The healthy way to store a document: nothing in it is touched."""
    return resource


def everything(instances: Sequence[Instance]) -> Sequence[Instance]:
    """The healthy way to hand out a study: all that is listed."""
    return instances


def in_order(ids: tuple[str, ...], _size: int) -> tuple[str, ...]:
    """The healthy way to cut a result into pages of `size`: each match once, in its order."""
    return ids


def exactly(matched: int, _shown: int) -> int | None:
    """The healthy `Bundle.total`: how many matched."""
    return matched


def anything(_kind: str, _asked: Asked) -> None:
    """The healthy search takes any parameters; others raise Refusal."""


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Pages in entries, times in seconds; a token that is used up is answered with 401.

    `page_link` is a template of `base`, `kind`, `token`, `start` and `size`. `total` and `count`
    make `Bundle.total` of a page, and of an answer to `_summary=count`, from the number of matches
    and the number of entries on a page. `deaf_to` names parameters that are silently left out;
    a hospital that `parrots` has them in its self link all the same. `software` and `security` are
    what its CapabilityStatement says of it, or leaves out.
    """

    page_default: int = 10
    page_max: int = 50
    heeds_count: bool = True
    page_link: str = "{base}/{kind}?_page={token}"
    arrange: Callable[[tuple[str, ...], int], tuple[str, ...]] = in_order
    total: Callable[[int, int], int | None] = exactly
    count: Callable[[int, int], int | None] = exactly
    counts: bool = True
    deaf_to: frozenset[str] = frozenset()
    parrots: bool = False
    demand: Callable[[str, Asked], None] = anything
    absent: frozenset[str] = frozenset()
    token_uses: int | None = None
    clock_ahead_seconds: float = 0.0
    index_lag_seconds: float = 0.0
    shows_decoy: bool = False
    keep_document: Callable[[Resource], Resource] = as_sent
    hand_out: Callable[[Sequence[Instance]], Sequence[Instance]] = everything
    image_delay_seconds: float = 0.0
    offers_get: bool = True
    software: str = "General Hospital EHR (simulated)"
    security: tuple[str, ...] = ("SMART-on-FHIR",)
