"""
Collecting: pages, second witnesses, references and attachments, all at once, for a bounded while.

Every piece of state is in rows, so a round that is killed is simply followed by another one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from fhir_bridge.case.slice import Slice
from fhir_bridge.errors import ProviderBusy
from fhir_bridge.pipeline.pull import attachments, pages, plan, references, witness
from fhir_bridge.pipeline.pull.ahead import Ahead
from fhir_bridge.pipeline.pull.source import Ehr, Source

# Hands for one source; how many of them the hospital bears at once is for the client's manners.
WIDTH = 16
AHEAD = 4 * WIDTH
ROUND_SECONDS = 5.0
GLANCE_SECONDS, LOOK_SECONDS = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class Round:
    """
    How a round ended: whether anything is left, whether anything was done, and how long the
    hospital has us rest.
    """

    more: bool
    moved: bool = False
    rest_seconds: float = 0.0


@dataclass(slots=True)
class _Work:
    """What is open at a source, what is in hand, and until when more is begun."""

    source: Source
    ehr: Ehr
    until: float
    pool: ThreadPoolExecutor
    ahead: ThreadPoolExecutor
    open: deque[tuple[Hashable, Callable[[], object]]] = field(default_factory=deque)
    in_hand: dict[Future[object], Hashable] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    rest_seconds: float = 0.0
    look_at: float = 0.0
    # Whether the rows may name more than was looked up, and whether slices are to be looked up.
    news: bool = True
    replanned: bool = True
    moved: bool = False

    def over(self) -> bool:
        """Whether nothing more is begun in this round."""
        now = time.monotonic()
        if now >= self.look_at:
            self.look_at = now + LOOK_SECONDS
            if self.source.halted():
                self.until = now
        return bool(self.rest_seconds) or now >= self.until

    def run(self) -> bool:
        """Work until the round is over or nothing is left; whether anything is left."""
        # Something is begun in every round, however short it is: else none would be the last.
        self.refill()
        self.begin()
        while self.in_hand:
            self.finish()
            if not self.over():
                self.go_on()
        if not self.over():
            return False
        self.open.clear()
        self.replanned = True
        self.refill()
        return bool(self.open)

    def go_on(self) -> None:
        """More to do, looked up where there may be more than is known."""
        if not self.open and (self.news or not self.in_hand):
            # With empty hands nothing is taken for granted: the slices are looked at again.
            self.replanned |= not self.in_hand
            self.refill()
        self.begin()

    def refill(self) -> None:
        """Look up what is open and not in hand."""
        self.news = False
        taken = set(self.in_hand.values())
        at_most = AHEAD + len(taken)
        lookups = (self._slices(), self._attachments(at_most), self._references(at_most))
        for lookup in lookups:
            self.open.extend(one for one in lookup if one[0] not in taken)
        self.news |= len(self.open) >= AHEAD

    def _slices(self) -> Iterator[tuple[Hashable, Callable[[], object]]]:
        if not self.replanned:
            return
        self.replanned = False
        for now in self.source.shelf.slices(self.source.case.id, self.source.id):
            if now.question and not now.ended:
                yield now.type, partial(self._chain, now.type)
            elif witness.wanted(now) and now.type not in self.heard:
                yield now.type, partial(self._witness, now.type)

    def _attachments(self, at_most: int) -> Iterator[tuple[Hashable, Callable[[], object]]]:
        files, case_id = self.source.files, self.source.case.id
        waiting = files.unsettled(case_id, self.source.id, keys=at_most)
        ordered = sorted(waiting, key=lambda a: a.key)
        for key, group in groupby(ordered, key=lambda a: a.key):
            yield key, partial(attachments.settle, self.source, self.ehr, list(group))

    def _references(self, at_most: int) -> Iterator[tuple[Hashable, Callable[[], object]]]:
        shelf, case_id = self.source.shelf, self.source.case.id
        for kind, id_ in shelf.unread(case_id, self.source.id, limit=at_most):
            yield (kind, id_), partial(self._reference, kind, id_)

    def _reference(self, kind: str, id_: str) -> None:
        references.read(self.source, self.ehr, kind, id_)
        self.news = True

    def _chain(self, type_: str) -> None:
        """
        The pages of one slice, one after the other; then the source's own count of it, and further
        witnesses where that proves nothing.
        """
        ehr = Ahead(self.ehr, self.ahead)

        def expect(url: str, previous: str) -> None:
            if not self.over():
                ehr.expect(url, previous)

        while pages.turn(self.source, ehr, type_, expect):
            self.news = self.moved = True
            if self.over() and not ehr.coming:
                return
        self.news = True
        ended = self._ended(type_)
        if ended is not None and pages.demands_more(ended):
            self.replanned |= plan.split(self.source, ended)
        elif ended is not None and witness.wanted(ended) and not self.over():
            self._witness(type_)

    def _ended(self, type_: str) -> Slice | None:
        if self.over():
            return self.source.shelf.slice(self.source.case.id, self.source.id, type_)
        return pages.recount(self.source, self.ehr, type_)

    def _witness(self, type_: str) -> None:
        """The second witness of one slice, until it has said all."""
        while witness.check(self.source, self.ehr, type_):
            self.news = self.moved = True
            if self.over():
                return
        self.news = True
        self.heard.add(type_)

    def begin(self) -> None:
        """Take up work while there are hands for it."""
        while self.open and len(self.in_hand) < WIDTH:
            key, work = self.open.popleft()
            self.in_hand[self.pool.submit(work)] = key

    def finish(self) -> None:
        """A glance at what is done; raises what went wrong by our own fault."""
        done, _ = wait(self.in_hand, GLANCE_SECONDS, FIRST_COMPLETED)
        for future in done:
            del self.in_hand[future]
            self._note(future)

    def _note(self, future: Future[object]) -> None:
        try:
            future.result()
            self.moved = True
        except ProviderBusy as busy:
            self.rest_seconds = max(self.rest_seconds, busy.retry_after_seconds or 1.0)


def collect(source: Source, ehr: Ehr, *, seconds: float) -> Round:
    """
    One round: begin work for at most `seconds`, and end what was begun.

    Raises StoreError; what goes wrong at the hospital stands in the rows.
    """
    with (
        ThreadPoolExecutor(WIDTH, thread_name_prefix="ahead") as ahead,
        ThreadPoolExecutor(WIDTH, thread_name_prefix="collect") as pool,
    ):
        work = _Work(source, ehr, time.monotonic() + seconds, pool, ahead)
        more = work.run()
    return Round(more, work.moved, work.rest_seconds)
