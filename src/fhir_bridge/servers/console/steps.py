"""Where a case stands: its one next action, what it still needs, and how urgent it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from fhir_bridge.case.calendar import business_days_after
from fhir_bridge.case.case import Case, CaseState, PinState
from fhir_bridge.case.certificate import COMPLETE, Grade, worst
from fhir_bridge.case.delivery import Delivery, DeliveryState
from fhir_bridge.servers.console import words
from fhir_bridge.servers.console.sources import SourceLine
from fhir_bridge.servers.console.words import Saying, State

DAYS = 10
_STUCK = frozenset({DeliveryState.HELD, DeliveryState.MANUAL, DeliveryState.REFUSED})


@dataclass(frozen=True, slots=True)
class NextStep:
    """
    The one button. `post` says that it acts at once; otherwise it leads to a page. Without a
    label there is nothing to do and `saying` tells why.
    """

    saying: Saying
    label: str = ""
    href: str = ""
    post: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist: what, its state, who owes it."""

    title: str
    saying: Saying


def grade(sources: Sequence[SourceLine]) -> Grade:
    """The worst of the sources."""
    return worst(source.grade for source in sources)


def due(case: Case) -> date:
    """The day by which the opinion is promised."""
    return business_days_after(case.opened_at.date(), DAYS)


def next_step(
    case: Case, sources: Sequence[SourceLine], deliveries: Sequence[Delivery]
) -> NextStep:
    """What a person does next with this case."""
    base = f"/cases/{case.id}"
    asked = next((s for s in sources if s.pin.state is PinState.ASKED), None)
    if asked is not None:
        saying = Saying(State.NEEDS, f"{asked.name} is not certain who the patient is.")
        return NextStep(saying, "Choose the patient", f"{base}/identity/{asked.id}")
    return {
        CaseState.OPEN: lambda: _pull(base, words.CASE[CaseState.OPEN]),
        CaseState.COLLECTING: lambda: _collecting(base, sources),
        CaseState.ASSEMBLED: lambda: _release(base, sources),
        CaseState.RELEASED: lambda: _write(base),
        CaseState.OPINION_SIGNED: lambda: _signed(base, deliveries),
        CaseState.DELIVERED: lambda: NextStep(words.CASE[CaseState.DELIVERED]),
    }[case.state]()


def _write(base: str) -> NextStep:
    return NextStep(words.CASE[CaseState.RELEASED], "Finish and deliver", f"{base}/opinion")


def _pull(base: str, saying: Saying) -> NextStep:
    return NextStep(saying, "Pull records", f"{base}/pull", post=True)


def _collecting(base: str, sources: Sequence[SourceLine]) -> NextStep:
    if sources and all(source.saying.state is State.FAILED for source in sources):
        return _pull(base, Saying(State.FAILED, "No hospital could be reached as needed."))
    if any(s.paused for s in sources) and not any(s.working for s in sources):
        saying = Saying(State.WAITING, "The pull is paused. What came is kept.", "Paused")
        return NextStep(saying, "Resume the pull", f"{base}/pull/resume", post=True)
    if _all_ended(sources):
        text = "All that was offered is here. The case record is being put together."
        return NextStep(Saying(State.WORKING, text))
    text = "Records are arriving. You can leave this page; the bridge goes on."
    return NextStep(Saying(State.WORKING, text))


def _release(base: str, sources: Sequence[SourceLine]) -> NextStep:
    if grade(sources) in COMPLETE:
        text = "Everything the hospitals say they have is here."
        return NextStep(
            Saying(State.NEEDS, text), "Release to the specialist", f"{base}/release", post=True
        )
    text = "The case record is ready. Look at what is not confirmed before you release it."
    return NextStep(Saying(State.NEEDS, text), "Release to the specialist", f"{base}/release")


def _signed(base: str, deliveries: Sequence[Delivery]) -> NextStep:
    stuck = next((d for d in deliveries if d.state in _STUCK), None)
    if stuck is None:
        return NextStep(words.CASE[CaseState.OPINION_SIGNED])
    return NextStep(words.DELIVERY[stuck.state], "See the delivery", f"{base}/opinion")


def checklist(
    case: Case, sources: Sequence[SourceLine], deliveries: Sequence[Delivery]
) -> Sequence[Item]:
    """The steps from question to chart, each with its state."""
    return (
        Item("The patient is certain at every hospital", _identity(sources)),
        Item("Records are here", _records(sources)),
        Item(
            "Completeness is checked",
            words.overall(grade(sources))
            if _all_ended(sources)
            else Saying(State.WAITING, "Follows when all records are here."),
        ),
        Item(
            "Released to the specialist",
            _reached(case, CaseState.RELEASED, "Follows when the record is assembled."),
        ),
        Item(
            "The opinion is signed",
            _reached(
                case, CaseState.OPINION_SIGNED, "Follows after the specialist has read the record."
            ),
        ),
        Item("Readable in the hospital's chart", _delivered(deliveries)),
    )


def _identity(sources: Sequence[SourceLine]) -> Saying:
    if any(s.pin.state is PinState.ASKED for s in sources):
        return Saying(State.NEEDS, "A hospital has more than one possible patient.")
    if sources and all(s.pin.state in (PinState.ACCEPTED, PinState.REFUSED) for s in sources):
        return Saying(State.DONE, "Settled.")
    return Saying(State.WAITING, "Checked when the pull begins.")


def _all_ended(sources: Sequence[SourceLine]) -> bool:
    open_ = [s for s in sources if s.pin.state is not PinState.REFUSED]
    return bool(open_) and all(source.ended for source in open_)


def _records(sources: Sequence[SourceLine]) -> Saying:
    if _all_ended(sources):
        return Saying(State.DONE, "Every hospital has been asked to the end.")
    if any(source.working for source in sources):
        return Saying(State.WORKING, "Arriving now.")
    if any(source.paused for source in sources):
        return Saying(State.WAITING, "Paused.", "Paused")
    if any(source.error_code for source in sources):
        return Saying(State.FAILED, "A hospital did not give what was asked.")
    return Saying(State.WAITING, "Not pulled yet.")


_PATH = tuple(CaseState)


def _reached(case: Case, state: CaseState, wait: str) -> Saying:
    here, there = _PATH.index(case.state), _PATH.index(state)
    if here >= there:
        return Saying(State.DONE, "Done.")
    return Saying(State.NEEDS if here == there - 1 else State.WAITING, wait)


def _delivered(deliveries: Sequence[Delivery]) -> Saying:
    if not deliveries:
        return Saying(State.WAITING, "Follows when the opinion is signed.")
    newest = max(delivery.version for delivery in deliveries)
    sayings = [words.DELIVERY[d.state] for d in deliveries if d.version == newest]
    order = (State.NEEDS, State.FAILED, State.WAITING, State.WORKING, State.DONE, State.LEFT)
    return min(sayings, key=lambda saying: order.index(saying.state))


def urgency(step: NextStep, case: Case, today: date) -> int:
    """For the worklist: 0 needs a person, 1 is under way, 2 is finished."""
    if case.state is CaseState.DELIVERED:
        return 2
    late = due(case) < today + timedelta(days=1)
    return 0 if step.label or late else 1
