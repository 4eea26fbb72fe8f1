"""Manners: how hard one provider's endpoint may be asked, by all our threads and cases together."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from fhir_bridge import clock
from fhir_bridge.case.profile import Profile, Standing
from fhir_bridge.clients.breaker import Breaker
from fhir_bridge.clients.window import Window
from fhir_bridge.errors import ProviderBusy, StoreError

THROTTLED, GATEWAY = frozenset({429, 503}), frozenset({502, 504})
# The server is there and says what it lacks: no sign that it is down.
NOT_DOWN = frozenset({500, 501, 505})
LONGEST_GUESSED_REST_SECONDS = 30.0
SAVE_EVERY_SECONDS = 30.0
# A shorter rest is over before another process could ask.
WORTH_REMEMBERING_SECONDS = 5.0


class Memory(Protocol):
    """What outlives the process (store.endpoints)."""

    def standing(self, id_: str) -> Standing:
        """What is known."""

    def learn(self, id_: str, *, at: datetime, **facts: object) -> None:
        """Add facts."""

    def failed(self, id_: str, *, at: datetime, next_attempt_at: datetime) -> None:
        """One more failure in a row."""

    def rests(self, id_: str, *, at: datetime, next_attempt_at: datetime) -> None:
        """It asked us to wait."""

    def succeeded(self, id_: str, *, at: datetime) -> None:
        """It answers again."""


@dataclass(frozen=True, slots=True)
class Rules:
    """
    `first` and `most` requests at once; so many `failures` in a row open the circuit breaker. A
    thread waits `longest_queue_seconds` for a place, while others' requests are under way.
    """

    first: int = 4
    most: int = 16
    failures: int = 8
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 900.0
    longest_queue_seconds: float = 120.0


PLAIN = Rules()


@dataclass(slots=True)
class Place:
    """
    Leave to make one request: told what came of it, then given back.

    `era` counts the strains before it began: of requests that suffer together one shrinks the
    window. Without `manners` (a stranger's server) nothing is governed.
    """

    manners: Manners | None = None
    began: float = 0.0
    era: int = 0
    full: bool = False
    trial: bool = False
    left: bool = False

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None:
        """The headers of the answer are here; Retry-After already read, None for none."""
        if self.manners:
            self.manners.answered(self, status, retry_after_seconds)

    def lost(self) -> None:
        """No connection, or no whole answer in time."""
        if self.manners:
            self.manners.lost(self)

    def until(self, close: Callable[[], None], *, flows: bool = False) -> Callable[[], None]:
        """
        Closes the answer, then gives the place back. What `flows` gives it back at once: a stream
        of images may last an hour, and other requests have their turn meanwhile.
        """
        if flows:
            self.leave()

        def ended() -> None:
            try:
                close()
            finally:
                self.leave()

        return ended

    def leave(self) -> None:
        """Give it back; a second time does nothing."""
        if self.manners and not self.left:
            self.left = True
            self.manners.leave(self)


class Manners:
    """
    One per endpoint and process, shared by its threads. A place is held for one exchange, from
    before its request to the end of its body, and nothing else is asked meanwhile: a token is
    fetched before the place is taken, so one place is enough for any number of threads.

    Requests wait their turn here while the window is full. A rest that the endpoint asked for
    (Retry-After), or that follows failures (circuit breaker), holds for everybody; is it longer
    than the caller will wait, ProviderBusy says how long, and no thread is held.

    `ticks` are monotonic seconds; what is remembered is written in `now`, UTC.
    """

    def __init__(
        self,
        id_: str,
        memory: Memory | None = None,
        *,
        rules: Rules = PLAIN,
        now: Callable[[], datetime] = clock.now,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._id, self._memory, self.rules = id_, memory, rules
        self._now, self._ticks = now, ticks
        self._changed = threading.Condition()
        self._writes: list[Callable[[Memory], None]] = []
        self._in_use, self._era, self._throttles = 0, 0, 0
        self._saved_at = ticks()
        self._recall(memory.standing(id_) if memory else Standing())

    def _recall(self, standing: Standing) -> None:
        """Take up where an earlier process stopped."""
        rules, profile = self.rules, Profile.of(standing)
        self._facts = dict(standing.facts)
        self._by_hour = Counter(profile.throttled_by_hour)
        self._window = Window(profile.window or rules.first, rules.most)
        self._breaker = Breaker(
            rules.failures, rules.first_pause_seconds, rules.longest_pause_seconds,
            openings=standing.failures,
        )  # fmt: skip
        self._troubled = standing.next_attempt_at is not None
        left = 0.0
        if standing.next_attempt_at is not None:
            left = (standing.next_attempt_at - self._now()).total_seconds()
        # The clock may have been set back meanwhile: no remembered rest outlasts a new one.
        self._rest_until = self._ticks() + min(max(left, 0.0), rules.longest_pause_seconds)
        if standing.failures:
            self._breaker.until = self._rest_until

    @property
    def window(self) -> int:
        """How many requests may be under way at once."""
        return self._window.size

    def rest_seconds(self) -> float:
        """How long nobody may ask; 0 when one may."""
        now = self._ticks()
        return max(0.0, self._rest_until - now, self._breaker.rest_seconds(now))

    def enter(self, longest_wait: float = 60.0) -> Place:
        """
        A place, waited for. Raises ProviderBusy when the endpoint rests longer than that, or no
        place became free in the longest time that one waits in the queue.
        """
        began = self._ticks()
        with self._changed:
            while (wait := self._wait(began, longest_wait)) is not None:
                self._changed.wait(wait)
            self._in_use += 1
            trial = self._breaker.is_open()
            self._breaker.on_trial = trial
            full = self._in_use >= self._window.size
            return Place(self, self._ticks(), self._era, full, trial)

    def _wait(self, began: float, longest_wait: float) -> float | None:
        """Seconds until it is worth looking again; None when there is a place."""
        waited, rest = self._ticks() - began, self.rest_seconds()
        if rest > longest_wait - waited:
            raise ProviderBusy("the endpoint rests", retry_after_seconds=rest)
        if rest:
            return rest
        room = not self._in_use if self._breaker.is_open() else self._in_use < self._window.size
        if room:
            return None
        left = self.rules.longest_queue_seconds - waited
        if left <= 0:
            raise ProviderBusy("no place became free", retry_after_seconds=longest_wait)
        return left

    def answered(self, place: Place, status: int, retry_after_seconds: float | None = None) -> None:
        """An answer began; see Place."""
        with self._changed:
            if status in THROTTLED:
                self._throttled(place, status, retry_after_seconds)
            elif status >= 500 and status not in NOT_DOWN:
                self._failed(place, strains=status in GATEWAY)
            else:
                self._coped(place)
            self._changed.notify_all()
        self._write()

    def lost(self, place: Place) -> None:
        """No answer, or half of one; see Place."""
        with self._changed:
            self._failed(place, strains=True)
            self._changed.notify_all()
        self._write()

    def leave(self, place: Place) -> None:
        """The place is free; see Place."""
        with self._changed:
            self._in_use -= 1
            # A trial of which nothing was heard proves nothing: the next one tries.
            self._breaker.on_trial = self._breaker.on_trial and not place.trial
            self._changed.notify_all()

    def _throttled(self, place: Place, status: int, asked: float | None) -> None:
        self._by_hour[self._now().hour] += 1
        self._throttles += self._strain(place)
        guess = self.rules.first_pause_seconds * 2.0 ** min(max(self._throttles - 1, 0), 10)
        rest = min(guess, LONGEST_GUESSED_REST_SECONDS) if asked is None else asked
        self._rest_until = max(self._rest_until, self._ticks() + rest)
        if status == 503 and asked is None:
            self._failed(place, strains=False)
        else:
            self._breaker.reached()
        if rest >= WORTH_REMEMBERING_SECONDS:
            self._troubled = True
            at, then = self._moments(rest)
            self._writes.append(lambda m: m.rests(self._id, at=at, next_attempt_at=then))

    def _failed(self, place: Place, *, strains: bool) -> None:
        if strains:
            self._strain(place)
        pause = self._breaker.failed(self._ticks(), trial=place.trial)
        if pause is not None:
            self._troubled = True
            at, then = self._moments(pause)
            self._writes.append(lambda m: m.failed(self._id, at=at, next_attempt_at=then))

    def _coped(self, place: Place) -> None:
        self._throttles = 0
        self._window.coped(self._ticks() - place.began, full=place.full)
        if self._window.is_slower():
            self._strain(place)
        self._breaker.reached()
        at = self._now()
        self._facts["last_success_at"] = at.isoformat(timespec="seconds")
        if self._troubled and not self.rest_seconds():
            self._troubled = False
            self._writes.append(lambda m: m.succeeded(self._id, at=at))
        if self._ticks() - self._saved_at >= SAVE_EVERY_SECONDS:
            self._writes.append(self._save)

    def _strain(self, place: Place) -> bool:
        """Shrink once for all requests that were under way together."""
        if place.era != self._era:
            return False
        self._window.strained()
        self._era += 1
        return True

    def _moments(self, seconds: float) -> tuple[datetime, datetime]:
        now = self._now()
        return now, now + timedelta(seconds=seconds)

    def learn(self, **facts: object) -> None:
        """Remember facts of the endpoint's profile, which are JSON values; news are written."""
        with self._changed:
            if any(self._facts.get(name) != value for name, value in facts.items()):
                self._facts.update(facts)
                self._writes.append(self._save)
        self._write()

    def fact(self, name: str) -> object:
        """What was learned under this name, in this process or before; None if nothing was."""
        return self._facts.get(name)

    def refused(self, code: str) -> None:
        """The endpoint refused something, with this code of our errors."""
        with self._changed:
            at = self._now().isoformat(timespec="seconds")
            self._facts.update(last_refusal_at=at, last_refusal_code=code)

    def save(self) -> None:
        """Write what was learned; at the end of a pull, and when the connections are closed."""
        with self._changed:
            self._writes.append(self._save)
        self._write()

    def _save(self, memory: Memory) -> None:
        with self._changed:
            median = self._window.median_seconds()
            facts = self._facts | {"window": self._window.size}
            if median is not None:
                facts["median_ms"] = round(median * 1000)
            if self._by_hour:
                facts["throttled_by_hour"] = {str(h): n for h, n in self._by_hour.items()}
            self._saved_at = self._ticks()
        memory.learn(self._id, at=self._now(), **facts)

    def _write(self) -> None:
        """Outside the lock, and never at the cost of the exchange that it was learned from."""
        if not self._writes:
            return
        with self._changed:
            writes, self._writes = self._writes, []
        if self._memory is None:
            return
        for write in writes:
            try:
                write(self._memory)
            except StoreError as error:
                kind = type(error).__name__
                logging.getLogger(__name__).warning("an endpoint is not remembered (%s)", kind)
