"""The sources of a case as the nurse sees them: state, progress, what a person may order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_bridge.case.case import Case, Pin, PinState, TreatingProvider
from fhir_bridge.case.certificate import Grade, worst
from fhir_bridge.case.progress import ASKS, Progress, Standing
from fhir_bridge.errors import ProviderBusy
from fhir_bridge.servers.console import parts as parts_
from fhir_bridge.servers.console import show, troubles, words
from fhir_bridge.servers.console.parts import Part, Shown, parts_of
from fhir_bridge.servers.console.words import Saying, State
from fhir_bridge.store.shelves import Store

# Steps of which everything is said without counting.
_SETTLED = ("", "done", "cancelled", ASKS)
_PUT_DOWN = (Standing.PAUSED, Standing.CANCELLED)
_ORDERS: Mapping[Standing, tuple[str, ...]] = {
    Standing.WORKING: ("pause", "cancel"),
    Standing.WAITING: ("pause", "cancel"),
    Standing.PAUSED: ("resume", "cancel"),
}
_ORDERED = {
    Standing.PAUSING: Saying(
        State.WORKING, "Pausing: what is in hand is brought to its end.", "Pausing"
    ),
    Standing.CANCELLING: Saying(
        State.WORKING, "Cancelling: what is in hand is brought to its end.", "Cancelling"
    ),
    Standing.PAUSED: Saying(
        State.WAITING, "Paused by a person. What came is kept; the pull can be resumed.", "Paused"
    ),
    Standing.CANCELLED: Saying(
        State.LEFT, "Cancelled by a person. What came is kept; the rest was not fetched.",
        "Cancelled",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """How far a source is: whole percent (None while nothing is known), and the same in words."""

    percent: int | None
    text: str


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One treating provider within one case; `orders` is what a person may tell its pull."""

    id: str
    name: str
    saying: Saying
    pin: Pin
    since: datetime | None
    error_code: str
    step: str
    progress: Bar | None
    parts: tuple[Part, ...]
    working: bool = False
    orders: tuple[str, ...] = ()
    came: str = ""

    @property
    def grade(self) -> Grade:
        """The worst of its parts."""
        return worst(part.line.grade for part in self.parts if part.ended)

    @property
    def ended(self) -> bool:
        """Whether every part has its verdict and none is begun any more."""
        return bool(self.parts) and not self.working and all(part.ended for part in self.parts)

    @property
    def paused(self) -> bool:
        """Whether a person put its pull down."""
        return "resume" in self.orders

    @property
    def shown(self) -> Sequence[Shown]:
        """The short list of its parts."""
        return parts_.short_list(self.parts)

    @property
    def asked(self) -> Sequence[Part]:
        """The parts that were asked for, and those of the core that were not."""
        return parts_.asked(self.parts)

    @property
    def not_asked(self) -> Sequence[Saying]:
        """Why the rest was not asked for."""
        return parts_.not_asked(self.parts)


def source_lines(
    store: Store, case: Case, providers: Mapping[str, TreatingProvider], now: datetime
) -> Sequence[SourceLine]:
    """Every source of a case in its order."""
    steps, parts = store.cases.steps(case.id), parts_of(store, case.id)
    numbers: dict[str, Progress] = {}
    if any(step not in _SETTLED for step, _, _ in steps.values()):
        numbers = {one.source: one for one in store.progress.of_case(case.id, now=now)}
    found = []
    for pin in store.cases.pins(case.id):
        step, error, since = steps.get(pin.source, ("", "", None))
        far = numbers.get(pin.source) or Progress(pin.source, step, since, error)
        own = sorted((p for p in parts if p.line.source == pin.source), key=lambda p: p.place)
        found.append(_line(pin, far, own, providers.get(pin.source), now))
    return found


def _line(
    pin: Pin, far: Progress, own: Sequence[Part], known: TreatingProvider | None, now: datetime
) -> SourceLine:
    unfinished = far.step in ("", "done") and not all(part.ended for part in own)
    working = far.at_work or unfinished
    if working:
        own = [parts_.not_yet(part, far.held) for part in own]
    elif far.standing in _PUT_DOWN:
        own = [parts_.put_down(part, far.held) for part in own]
    return SourceLine(
        id=pin.source,
        name=known.name if known else pin.source,
        saying=_saying(pin, far, own, now, working=working),
        pin=pin,
        since=far.since,
        error_code=far.error,
        step=words.step(far.step),
        progress=_bar(far, now) if working or far.standing is Standing.PAUSED else None,
        parts=tuple(own),
        working=working,
        orders=_ORDERS.get(far.standing, ()),
        came=f"{far.requests:,} answers, {words.size(far.bytes)}" if far.requests else "",
    )


def _saying(
    pin: Pin, far: Progress, parts: Sequence[Part], now: datetime, *, working: bool
) -> Saying:
    if pin.state in (PinState.ASKED, PinState.REFUSED):
        return _whose(pin)
    if far.standing in _ORDERED:
        return _ORDERED[far.standing]
    if far.error and not (pin.state is PinState.ACCEPTED and troubles.is_identity(far.error)):
        return _trouble(far, now)
    if parts and not working and all(part.ended for part in parts):
        return words.overall(worst(part.line.grade for part in parts))
    if far.step or parts:
        return Saying(State.WORKING, words.step(far.step) if far.step else words.step("listing"))
    return Saying(State.WAITING, "Not started.")


def _whose(pin: Pin) -> Saying:
    """A person has to choose the patient, or has refused all candidates."""
    if pin.state is PinState.REFUSED:
        text = "A person said that none of the patients there is ours. Nothing is fetched."
        return Saying(State.LEFT, text)
    number = len(pin.candidates)
    who = f"{number} patients there could be ours" if number > 1 else "A patient was found"
    return Saying(State.NEEDS, f"{who}; it is not certain. Please choose. Nothing was fetched.")


def _trouble(far: Progress, now: datetime) -> Saying:
    """Why it waits or stopped, and when it goes on."""
    saying = troubles.failure(far.error)
    if far.waits_until is None or far.waits_until <= now:
        return saying
    until = show.clock(far.waits_until, now)
    if far.error == ProviderBusy.code and far.standing is Standing.WAITING:
        return Saying(State.WAITING, f"The hospital asks us to wait until {until}.", "Waiting")
    return Saying(saying.state, f"{saying.text} The bridge asks again at {until}.", saying.word)


def _bar(far: Progress, now: datetime) -> Bar:
    said = []
    if far.records and not far.images:
        said.append(_of(far.records, far.said, "records"))
    if far.files:
        said.append(_of(far.settled, far.files, "files"))
    if far.images:
        said.append(_of(far.held, far.images, "images"))
    if not said:
        said = ["Logging in" if far.step in ("", "connecting") else "Nothing has come yet"]
    left = far.seconds_left(now)
    if left is not None:
        said.append(f"{words.duration(left)} left")
    return Bar(far.percent, ", ".join(said))


def _of(number: int, total: int | None, what: str) -> str:
    return f"{number:,} {what}" if total is None else f"{number:,} of {total:,} {what}"
