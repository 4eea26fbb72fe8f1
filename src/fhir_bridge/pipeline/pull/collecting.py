"""
Collecting: pages, second witnesses, what the pages refer to and what they attach, all at once, for
a bounded while.

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

from fhir_bridge.errors import ProviderBusy
from fhir_bridge.pipeline.pull import attachments, pages, plan, references, witness
from fhir_bridge.pipeline.pull.source import Ehr, Source

# Hands for one source; how many of them the hospital bears at once is for the client's manners.
WIDTH = 16
AHEAD = 4 * WIDTH
ROUND_SECONDS = 5.0
GLANCE_SECONDS = 0.02


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
    open: deque[tuple[Hashable, Callable[[], object]]] = field(default_factory=deque)
    in_hand: dict[Future[object], Hashable] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    rest_seconds: float = 0.0
    news: bool = True
    moved: bool = False

    def over(self) -> bool:
        """Whether nothing more is begun in this round."""
        return bool(self.rest_seconds) or time.monotonic() >= self.until

    def refill(self) -> None:
        """Look up what is open and not in hand."""
        self.news = False
        taken = set(self.in_hand.values())
        at_most = AHEAD + len(taken)
        for lookup in (self._slices(), self._attachments(at_most), self._references(at_most)):
            self.open.extend(one for one in lookup if one[0] not in taken)

    def _slices(self) -> Iterator[tuple[Hashable, Callable[[], object]]]:
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
            yield (kind, id_), partial(references.read, self.source, self.ehr, kind, id_)

    def _chain(self, type_: str) -> None:
        """The pages of one slice, one after the other."""
        while pages.turn(self.source, self.ehr, type_):
            self.news = self.moved = True
            if self.over():
                return
        ended = self.source.shelf.slice(self.source.case.id, self.source.id, type_)
        if ended is not None and pages.demands_more(ended):
            self.news = plan.split(self.source, ended)

    def _witness(self, type_: str) -> None:
        """The second witness of one slice, until it has said all."""
        while witness.check(self.source, self.ehr, type_):
            self.news = self.moved = True
            if self.over():
                return
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
        self.news = self.news or bool(done)

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
    with ThreadPoolExecutor(WIDTH, thread_name_prefix="collect") as pool:
        work = _Work(source, ehr, time.monotonic() + seconds, pool)
        work.refill()
        while work.in_hand or (work.open and not work.over()):
            if not work.over():
                work.begin()
            if work.in_hand:
                work.finish()
            if work.news and not work.open and not work.over():
                work.refill()
        work.open.clear()
        work.refill()
    return Round(bool(work.open), work.moved, work.rest_seconds)
