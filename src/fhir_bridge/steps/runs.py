"""Pulls as people order them: begin, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from fhir_bridge.case.case import Case, CaseState
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.errors import UsageError, WrongMoment
from fhir_bridge.security.access import BRIDGE, Access, Actor, Purpose
from fhir_bridge.steps.pulling import CANCEL, PAUSE
from fhir_bridge.store.shelves import Store
from fhir_bridge.workflows import Engine, pull_id


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a case's pull; a resumed run goes on from the page where it was put down."""

    store: Store
    access: Access
    engine: Engine
    now: Callable[[], datetime]

    def begin(self, actor: Actor, case_id: str, source: str | None, *, full: bool = False) -> str:
        """
        Pull from every source, or from one; returns the workflow that a caller may wait for.

        A pull that still runs, or is paused, goes on. `full` asks for whole lists where the changes
        since the last run would do.
        """
        case = self.access.open_case(actor, case_id, Purpose.COLLECT)
        if self.engine.unfinished(newest_pull(case)):
            return newest_pull(case)
        sources = self._sources(case, source)
        paused = [name for name in sources if self.store.cases.told(case_id, name) == PAUSE]
        if paused:
            return self._take_up(actor, case, paused, Happened.PULL_RESUMED)
        return self._start(actor, case, sources, full=full)

    def again(self, case_id: str, run: int, sources: Sequence[str]) -> None:
        """Ask sources that failed once more, unless a newer run has begun."""
        case = self.access.open_case(BRIDGE, case_id, Purpose.COLLECT)
        if _run_of(case) == run and not self.engine.unfinished(newest_pull(case)):
            self._start(BRIDGE, case, sources)

    def _start(
        self, actor: Actor, case: Case, sources: Sequence[str], *, full: bool = False
    ) -> str:
        for name in sources:
            self.store.cases.tell(case.id, name, "")
            self.store.ledgers.reopen(case.id, name)
        facts = {"full": "yes" if full else ""}
        run = _run_of(case) + 1
        return self._enqueue(actor, case, sources, Happened.PULL_STARTED, run, 0, facts)

    def pause(self, actor: Actor, case_id: str, source: str | None) -> None:
        """Put the pull down after what is in hand; `resume` goes on from there."""
        case = self.access.open_case(actor, case_id, Purpose.COLLECT)
        if not self.engine.unfinished(newest_pull(case)):
            raise WrongMoment("no pull of this case is running")
        for name in self._sources(case, source):
            fact = self._event(Happened.PULL_PAUSED, case_id, actor, source=name)
            self.store.cases.tell(case_id, name, PAUSE, fact)

    def resume(self, actor: Actor, case_id: str, source: str | None) -> None:
        """Go on with a paused pull, from the page where it was put down."""
        case = self.access.open_case(actor, case_id, Purpose.COLLECT)
        sources = self._sources(case, source)
        paused = [name for name in sources if self.store.cases.told(case_id, name) == PAUSE]
        if not paused:
            raise WrongMoment("no pull of this case is paused")
        self._take_up(actor, case, paused, Happened.PULL_RESUMED)

    def cancel(self, actor: Actor, case_id: str, source: str | None) -> None:
        """End a running or paused pull; what came stays, and the certificate says what did not."""
        case = self.access.open_case(actor, case_id, Purpose.COLLECT)
        sources = self._sources(case, source)
        running = self.engine.unfinished(newest_pull(case))
        if not running:
            sources = [name for name in sources if self.store.cases.told(case_id, name) == PAUSE]
        if not sources:
            raise WrongMoment("no pull of this case is running or paused")
        for name in sources:
            fact = self._event(Happened.PULL_CANCELLED, case_id, actor, source=name)
            self.store.cases.tell(case_id, name, CANCEL, fact)
        if not running:
            self._take_up(actor, case, sources, Happened.PULL_RESUMED, told=CANCEL)

    def _take_up(
        self, actor: Actor, case: Case, sources: Sequence[str], name: Happened, told: str = ""
    ) -> str:
        """Hand the same run out once more; a pull that is still being put down is waited for."""
        for source in sources:
            self.store.cases.tell(case.id, source, told)
        if self.engine.unfinished(newest_pull(case)):
            return newest_pull(case)
        resumed = int(case.facts.get("resumed", "0")) + 1
        return self._enqueue(actor, case, sources, name, _run_of(case), resumed)

    def _enqueue(
        self, actor: Actor, case: Case, sources: Sequence[str], name: Happened, run: int,
        resumed: int, facts: Mapping[str, str] = MappingProxyType({}),
    ) -> str:  # fmt: skip
        self.store.cases.move(
            case.id,
            CaseState.COLLECTING,
            self._event(name, case.id, actor, run=run),
            facts={
                "run": str(run),
                "resumed": str(resumed),
                "began": case.facts.get("began", self.now().isoformat()),
                **facts,
            },
            outbox=lambda connection: self.engine.pull_in(
                connection, case.id, run, sources, resumed
            ),
        )
        return pull_id(case.id, run, resumed)

    def _sources(self, case: Case, source: str | None) -> Sequence[str]:
        sources = [source] if source else list(case.providers)
        if not set(sources) <= set(case.providers):
            raise UsageError("the case has no such provider")
        return sources

    def _event(self, name: Happened, case_id: str, actor: Actor, **facts: str | int) -> Event:
        return Event(name, case_id, actor.name, self.now(), facts)


def _run_of(case: Case) -> int:
    return int(case.facts.get("run", "0"))


def newest_pull(case: Case) -> str:
    """The workflow of the case's newest pull."""
    return pull_id(case.id, _run_of(case), int(case.facts.get("resumed", "0")))
