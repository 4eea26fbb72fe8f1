"""Progress: how far the pull of a source is, counted from rows; and how long it may still take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any

# What came within this window tells the pace; less than `_FEW` arrivals tell nothing.
WINDOW = timedelta(seconds=60)
_FEW, _LEAST_SECONDS = 3, 2.0
_DEFAULT_PAGE = 100
# Of a hundred, when images follow: they are listed last, and a bar must not run backwards.
_LISTS, _IMAGES = 0.25, 0.6


class Standing(StrEnum):
    """Where the pull of a source stands."""

    NOT_BEGUN = "not-begun"
    WORKING = "working"
    WAITING = "waiting"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    NEEDS_PERSON = "needs-person"
    FAILED = "failed"
    DONE = "done"


AT_WORK = frozenset({Standing.WORKING, Standing.WAITING, Standing.PAUSING, Standing.CANCELLING})
ASKS = "asks who the patient is"
_OVER = {
    "": Standing.NOT_BEGUN,
    "done": Standing.DONE,
    "paused": Standing.PAUSED,
    "cancelled": Standing.CANCELLED,
    ASKS: Standing.NEEDS_PERSON,
    "failed": Standing.FAILED,
}
_TOLD = {"pause": Standing.PAUSING, "cancel": Standing.CANCELLING}


def standing(step: str, told: str = "") -> Standing:
    """
    Where a source stands, from its step and what a person told its pull.

    >>> standing("fetching documents"), standing("fetching documents", "pause")
    (<Standing.WORKING: 'working'>, <Standing.PAUSING: 'pausing'>)
    """
    if step in _OVER:
        return _OVER[step]
    waiting = Standing.WAITING if step == "waiting" else Standing.WORKING
    return _TOLD.get(told, waiting)


@dataclass(frozen=True, slots=True)
class Listing:
    """
    How far one search is: ids `got` of `said` (None: the hospital gives no count that is
    believed), in pages of `page_size`.
    """

    ended: bool
    got: int
    said: int | None = None
    page_size: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1; a list without a count is at 0 until it ends."""
        if self.ended:
            return 1.0
        return min(self.got / self.said, 0.99) if self.said else 0.0

    @property
    def pages_left(self) -> int | None:
        """How many pages are still to be turned, or None when nobody knows."""
        if self.ended:
            return 0
        if self.said is None:
            return None
        return max(1, ceil((self.said - self.got) / (self.page_size or _DEFAULT_PAGE)))


@dataclass(frozen=True, slots=True)
class Pace:
    """How many answers and images arrived within the last so many seconds."""

    arrivals: int = 0
    seconds: float = 0.0

    def seconds_for(self, arrivals: int) -> float | None:
        """How long as many again would take; None when too little came to tell."""
        if self.arrivals < _FEW or self.seconds < _LEAST_SECONDS:
            return None
        return arrivals * self.seconds / self.arrivals


@dataclass(frozen=True, slots=True)
class Progress:
    """
    One source of a case, in numbers.

    `step` and `since` say what it does, `told` what a person ordered (`pause`, `cancel`), `error`
    and `waits_until` why and until when it rests. Of `referred` records `referred_left` are
    unread, of `files` and `images` so many are `settled` and `held`. `images_follow` says that
    images are fetched from this hospital and were not listed yet. `requests` and `bytes` arrived
    since the collection began.
    """

    source: str
    step: str = ""
    since: datetime | None = None
    error: str = ""
    told: str = ""
    waits_until: datetime | None = None
    lists: tuple[Listing, ...] = ()
    referred: int = 0
    referred_left: int = 0
    files: int = 0
    settled: int = 0
    images: int = 0
    held: int = 0
    images_follow: bool = False
    requests: int = 0
    bytes: int = 0
    pace: Pace = Pace()

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        return standing(self.step, self.told)

    @property
    def at_work(self) -> bool:
        """Whether something is under way, or will be without anybody's help."""
        return self.standing in AT_WORK

    @property
    def records(self) -> int:
        """Distinct records that the searches brought."""
        return sum(one.got for one in self.lists)

    @property
    def said(self) -> int | None:
        """How many the hospital says there are; None unless every list has a count or an end."""
        known = [one.got if one.ended and one.said is None else one.said for one in self.lists]
        numbers = [number for number in known if number is not None]
        return sum(numbers) if known and len(numbers) == len(known) else None

    @property
    def percent(self) -> int | None:
        """
        Whole percent of everything that is known of; None before anything is.

        Files and what records refer to count as far as the lists that name them are read, and
        images last, so that it hardly ever runs backwards.
        """
        begun = self.lists or self.files or self.images
        if not begun or self.standing is Standing.NOT_BEGUN or self.step == "connecting":
            return None
        images = _IMAGES if self.images or self.images_follow else 0.0
        lists = sum(one.share for one in self.lists) / len(self.lists) if self.lists else 1.0
        named = self.files + self.referred
        named_done = self.settled + self.referred - self.referred_left
        rest = lists * (named_done / named if named else lists)
        share = (1 - images) * (_LISTS * lists + (1 - _LISTS) * rest)
        share += images * (self.held / self.images if self.images else 0.0)
        return min(100, int(100 * share + 1e-9))

    def seconds_left(self, now: datetime) -> float | None:
        """An estimate from the pace of the last minute and the rest asked for; None: unknown."""
        pages = [one.pages_left for one in self.lists]
        known = [number for number in pages if number is not None]
        if not self.at_work or self.images_follow or len(known) < len(pages):
            return None
        left = sum(known) + self.referred_left
        left += self.files - self.settled + self.images - self.held
        working = self.pace.seconds_for(left)
        rest = (self.waits_until - now).total_seconds() if self.waits_until else 0.0
        return None if working is None else working + max(rest, 0.0)

    def facts(self, now: datetime) -> dict[str, Any]:
        """Counts and codes only, as JSON values; times are ISO 8601, sizes bytes."""
        left = self.seconds_left(now)
        return {
            "source": self.source,
            "state": self.standing.value,
            "step": self.step,
            "since": _iso(self.since),
            "error": self.error,
            "waits_until": _iso(self.waits_until),
            "percent": self.percent,
            "seconds_left": None if left is None else round(left),
            "lists": {"ended": sum(one.ended for one in self.lists), "begun": len(self.lists)},
            "records": {"got": self.records, "said": self.said},
            "referred": {"read": self.referred - self.referred_left, "named": self.referred},
            "files": {"settled": self.settled, "named": self.files},
            "images": {"held": self.held, "listed": self.images},
            "requests": self.requests,
            "bytes": self.bytes,
        }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")
