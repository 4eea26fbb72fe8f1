"""The sentences of the console: from grades, states, codes and counts to what a nurse reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fhir_bridge.case.case import CaseState
from fhir_bridge.case.certificate import COMPLETE, Evidence, Grade, Line
from fhir_bridge.case.delivery import Delivery, DeliveryState, ReadBack
from fhir_bridge.case.events import Happened
from fhir_bridge.case.findings import FINDINGS
from fhir_bridge.case.identity import Match
from fhir_bridge.case.ledger import RecordState
from fhir_bridge.servers.console.nouns import counted, listed, things


class State(StrEnum):
    """The same six everywhere: icon, word and colour."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    NEEDS = "needs"
    FAILED = "failed"
    LEFT = "left"


WORD: Mapping[State, str] = {
    State.WAITING: "Waiting",
    State.WORKING: "Working",
    State.DONE: "Done",
    State.NEEDS: "Needs you",
    State.FAILED: "Failed",
    State.LEFT: "Left out",
}


@dataclass(frozen=True, slots=True)
class Saying:
    """A state with the sentence that explains it; `word` is what stands beside the icon."""

    state: State
    text: str
    word: str = ""

    @property
    def label(self) -> str:
        """The word beside the icon."""
        return self.word or WORD[self.state]


def sentence(text: str) -> str:
    """Start with a capital and end with a full stop."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def certificate(line: Line, evidence: Evidence) -> Saying:
    """One line of the certificate in the words of TRUTH 3."""
    what, got = things(line.type), f"{line.got:,}"
    match line.grade:
        case Grade.NOT_ASKED:
            why = line.reason or f"this hospital does not offer {what} this way"
            return Saying(State.LEFT, sentence(f"not asked: {why}"), "Not asked")
        case Grade.REFUSED:
            text = f"Refused by the hospital: our access does not cover {what}."
            return Saying(State.FAILED, text, "Refused")
        case Grade.SHORT:
            return Saying(State.NEEDS, _short(line, evidence), "Missing")
        case Grade.UNKNOWN:
            text = f"All that was offered is here ({got}); "
            text += "the hospital does not say how much it has."
            return Saying(State.WAITING, text, "Not confirmed")
        case Grade.CONSISTENT:
            text = f"Complete by the hospital's own count ({got} of {got})."
            return Saying(State.DONE, text, "Complete")
        case Grade.PROVEN:
            return Saying(State.DONE, f"Complete, checked twice ({got} of {got}).", "Complete")


def _short(line: Line, evidence: Evidence) -> str:
    what = things(line.type)
    if line.said is not None and line.said > line.got:
        absent = line.said - line.got
        verb = "is" if absent == 1 else "are"
        return f"{absent:,} of {line.said:,} {what} {verb} missing."
    if evidence.missing:
        return _missing(line, evidence)
    if evidence.broken:
        return f"The hospital's list of {what} broke off; more may exist."
    if evidence.warnings:
        return f"The hospital says that more {what} may exist."
    code = line.findings[0] if line.findings else "lists-disagree"
    return FINDINGS[code].nurse


def _missing(line: Line, evidence: Evidence) -> str:
    verb = "is" if evidence.missing == 1 else "are"
    if evidence.missing == evidence.attachments_failed:
        files = counted(evidence.missing, "Attachment")
        return f"{files} of the {things(line.type)} {verb} listed and not here."
    return f"{counted(evidence.missing, line.type)} {verb} listed and not here."


# What a sentence of the certificate says already.
_TOLD = {Grade.UNKNOWN: {"total-absent"}, Grade.SHORT: {"total-too-high"}}
_WITNESSES = {
    "Bundle.total": "the number on its list",
    "_summary=count": "its count, asked for afterwards",
    "by date": "its list, asked for again by date",
    "by status": "its list, asked for again by status",
    "by category": "its list, asked for again by category",
    "by id": "its records, asked for one by one",
    "$everything": "its list of everything about the patient",
    "$export manifest": "the list of what it exported",
    "QIDO instances": "the list of its image archive by web",
    "C-FIND IMAGE": "the list of its image archive",
    "ImagingStudy": "the images that its studies name",
}


def odd(line: Line) -> tuple[str, ...]:
    """What was noticed while a part was pulled, beyond what its sentence says."""
    told = _TOLD.get(line.grade, set())
    return tuple(FINDINGS[code].nurse for code in line.findings if code not in told)


def proof(line: Line) -> str:
    """Which witnesses confirm a complete part, beyond what its sentence says."""
    names = list(dict.fromkeys(line.agreed))
    if line.grade not in COMPLETE or names == ["_summary=count"]:
        return ""
    confirmed = [_WITNESSES.get(name, name) for name in names]
    return f"Confirmed by {listed(confirmed)}." if confirmed else ""


def overall(grade: Grade) -> Saying:
    """The grade of a whole source or case."""
    return {
        Grade.NOT_ASKED: Saying(State.WAITING, "Nothing has been asked yet.", "Not asked"),
        Grade.REFUSED: Saying(State.FAILED, "A part was refused by the hospital.", "Refused"),
        Grade.SHORT: Saying(State.NEEDS, "Something is missing.", "Missing"),
        Grade.UNKNOWN: Saying(
            State.WAITING,
            "All that was offered is here; nobody confirms that it is everything.",
            "Not confirmed",
        ),
        Grade.CONSISTENT: Saying(State.DONE, "Complete by the hospital's own count.", "Complete"),
        Grade.PROVEN: Saying(State.DONE, "Complete, checked twice.", "Complete"),
    }[grade]


RECORD: Mapping[RecordState, Saying] = {
    RecordState.PENDING: Saying(
        State.WORKING, "Received; its place in the case record is not settled yet.", "Received"
    ),
    RecordState.KEPT: Saying(State.DONE, "Stands in the case record.", "Kept"),
    RecordState.MERGED_INTO: Saying(
        State.LEFT, "The same as a record that is kept.", "Same as another"
    ),
    RecordState.SUPERSEDED: Saying(State.LEFT, "A newer version stands in its place.", "Replaced"),
    RecordState.QUARANTINED: Saying(State.NEEDS, "Set aside: a person has to decide.", "Set aside"),
    RecordState.EXCLUDED: Saying(State.LEFT, "Left out on purpose.", "Left out"),
    RecordState.FAILED: Saying(
        State.FAILED, "It exists, and it could not be obtained or read.", "Failed"
    ),
}

CASE: Mapping[CaseState, Saying] = {
    CaseState.OPEN: Saying(State.NEEDS, "Records have not been pulled yet."),
    CaseState.COLLECTING: Saying(State.WORKING, "Records are arriving."),
    CaseState.ASSEMBLED: Saying(State.NEEDS, "The case record is ready to be released."),
    CaseState.RELEASED: Saying(State.NEEDS, "The specialist can read it; the opinion is open."),
    CaseState.OPINION_SIGNED: Saying(State.WORKING, "The opinion is on its way to the chart."),
    CaseState.DELIVERED: Saying(State.DONE, "The opinion is readable in the hospital's chart."),
}

DELIVERY: Mapping[DeliveryState, Saying] = {
    DeliveryState.DRAFTED: Saying(State.WAITING, "The opinion is a draft.", "Draft"),
    DeliveryState.SIGNED: Saying(State.WORKING, "The opinion is signed.", "Signed"),
    DeliveryState.QUEUED: Saying(
        State.WORKING, "The opinion waits for its turn to be sent.", "Queued"
    ),
    DeliveryState.SENT: Saying(
        State.WORKING, "The opinion left; the hospital has not answered yet.", "Sent"
    ),
    DeliveryState.ACCEPTED: Saying(
        State.WORKING,
        "The hospital took the opinion. It is not known yet whether it can be read there.",
        "Accepted",
    ),
    DeliveryState.READ_BACK: Saying(
        State.WORKING, "The opinion was fetched again and compared.", "Read back"
    ),
    DeliveryState.CONFIRMED: Saying(
        State.DONE, "Delivered: the opinion is readable in the hospital's chart.", "Delivered"
    ),
    DeliveryState.OPENED: Saying(State.DONE, "Delivered, and opened by the physician.", "Opened"),
    DeliveryState.REFUSED: Saying(
        State.FAILED,
        "The hospital refused this form of the opinion. Another form is tried, or you are asked.",
        "Refused",
    ),
    DeliveryState.UNKNOWN: Saying(
        State.WAITING,
        "It is not known whether the opinion arrived. The bridge looks before it repeats.",
        "Not known",
    ),
    DeliveryState.HELD: Saying(
        State.NEEDS, "The delivery is held: a person has to decide.", "Held"
    ),
    DeliveryState.MANUAL: Saying(
        State.NEEDS, "The opinion goes by paper. Note here when it has arrived.", "By paper"
    ),
}

READ_BACK: Mapping[ReadBack, str] = {
    ReadBack.EQUAL: "What the chart shows is the same, byte for byte.",
    ReadBack.REWRITTEN: "The chart keeps every word of the opinion, in a form of its own.",
    ReadBack.DIFFERENT: "The chart shows something other than the opinion. Call the hospital.",
}

_RUNGS = (
    (DeliveryState.SIGNED, "Signed"),
    (DeliveryState.QUEUED, "Queued"),
    (DeliveryState.SENT, "Sent"),
    (DeliveryState.ACCEPTED, "Accepted"),
    (DeliveryState.READ_BACK, "Read back"),
    (DeliveryState.CONFIRMED, "Confirmed"),
)
# Off the ladder: on which rung a delivery stopped.
_STOPPED = {
    DeliveryState.DRAFTED: 0,
    DeliveryState.REFUSED: 3,
    DeliveryState.UNKNOWN: 3,
    DeliveryState.MANUAL: 5,
}


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of a delivery's ladder."""

    state: State
    label: str


def ladder(delivery: Delivery) -> tuple[Rung, ...]:
    """
    The six rungs with the state of each: everything up to the current one is done.

    >>> d = Delivery("d", "c", "o", 1, "gh", "urn:x", state=DeliveryState.SENT)
    >>> [rung.state.value for rung in ladder(d)]
    ['done', 'done', 'done', 'working', 'waiting', 'waiting']
    """
    order = [state for state, _ in _RUNGS]
    if delivery.state in order:
        reached, at = order.index(delivery.state) + 1, State.WORKING
    elif delivery.state is DeliveryState.OPENED:
        reached, at = len(order), State.DONE
    elif delivery.state is DeliveryState.HELD:
        reached, at = _held_at(delivery), State.NEEDS
    else:
        reached, at = _STOPPED[delivery.state], DELIVERY[delivery.state].state
    return tuple(
        Rung(State.DONE if n < reached else at if n == reached else State.WAITING, label)
        for n, (_, label) in enumerate(_RUNGS)
    )


def _held_at(delivery: Delivery) -> int:
    if delivery.read_back is not None:
        return 5 if delivery.read_back is not ReadBack.DIFFERENT else 4
    if delivery.location:
        return 4
    return 3 if delivery.attempts else 2


HAPPENED: Mapping[Happened, str] = {
    Happened.CASE_OPENED: "Case opened",
    Happened.CASE_READ: "Case read",
    Happened.PULL_STARTED: "Pull of records started",
    Happened.PULL_PAUSED: "Pull of records paused",
    Happened.PULL_RESUMED: "Pull of records taken up again",
    Happened.PULL_CANCELLED: "Pull of records cancelled",
    Happened.SOURCE_CONNECTED: "Hospital's system reached",
    Happened.PATIENT_PINNED: "Patient settled",
    Happened.PATIENT_ASKED: "Choice of the patient asked for",
    Happened.PAGE_STORED: "Page of records stored",
    Happened.RECORDS_SEEN: "Records seen",
    Happened.RECORD_GONE: "Record withdrawn by the hospital",
    Happened.ATTACHMENT_STORED: "Document stored",
    Happened.INSTANCE_STORED: "Image stored",
    Happened.INSTANCE_RECEIVED: "Image received",
    Happened.SLICE_ENDED: "Part of a pull ended",
    Happened.SOURCE_ENDED: "Hospital finished",
    Happened.SOURCE_FAILED: "Hospital failed",
    Happened.RECORD_ASSEMBLED: "Case record assembled",
    Happened.RECORD_FAILED: "Case record could not be made",
    Happened.RECORD_RELEASED: "Case record released to the specialist",
    Happened.ASSIGNED: "Images assigned to a case",
    Happened.OPINION_SIGNED: "Opinion signed",
    Happened.DELIVERY_MOVED: "Delivery moved on",
    Happened.DELIVERY_RESUMED: "Delivery taken up again",
}

MATCH: Mapping[Match, Saying] = {
    Match.AGREE: Saying(State.DONE, "The same as in the case.", "Same"),
    Match.DISAGREE: Saying(State.FAILED, "Differs from the case.", "Differs"),
    Match.UNKNOWN: Saying(State.WAITING, "Cannot be told.", "Cannot tell"),
}


# What the pull notes of a source, and how it is told; an unknown step is told as it is.
_STEPS = {
    "": "Not started.",
    "connecting": "Logging in, and looking for the patient.",
    "listing": "Listing what the hospital has.",
    "fetching documents": "Fetching documents.",
    "fetching images": "Fetching images.",
    "checking": "Checking that everything is here.",
    "waiting": "Waiting, because the hospital asks us to.",
    "paused": "Paused.",
    "cancelled": "Cancelled.",
    "failed": "Stopped.",
    "done": "Finished.",
}


def step(name: str) -> str:
    """What a source is doing now."""
    return _STEPS.get(name.lower(), sentence(name.replace("-", " ")))


def duration(seconds: float) -> str:
    """
    A rough length of time.

    >>> duration(12), duration(75), duration(4000)
    ('less than a minute', 'about 1 min', 'about 1 h 7 min')
    """
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    hours, rest = divmod(minutes, 60)
    return f"about {hours} h {rest} min" if hours else f"about {minutes} min"


def size(number: int) -> str:
    """
    Bytes for people.

    >>> size(900), size(1_300_000)
    ('900 bytes', '1.3 MB')
    """
    if number < 1000:
        return f"{number} bytes"
    for unit, scale in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if number < scale * 1000 or unit == "GB":
            return (
                f"{number / scale:.1f} {unit}"
                if number < scale * 10
                else (f"{number / scale:,.0f} {unit}")
            )
    return ""
