"""What the durable order asks of the rooms around it, and the names that it goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

# Bumped only for an incompatible change, after draining: another version neither recovers nor
# dequeues the work of this one.
APPLICATION_VERSION = "fb-2"
CASES, SOURCES, DELIVERIES = "fb-cases", "fb-sources", "fb-deliveries"
MAX_RECOVERY_ATTEMPTS = 5
MAX_STEPS = 1_500
MAX_RESTS = 8
MAX_RUNGS = 500
LONGEST_REST = 900.0
POLL_SECONDS = 0.2
UNFINISHED = ("PENDING", "ENQUEUED", "DELAYED")


class PullSteps(Protocol):
    """The steps of a pull. Each may run twice: it finds out by itself what is done already."""

    def connect(self, case_id: str, source: str, run: int) -> Mapping[str, Any]:
        """Log in, settle the patient, begin the slices: `{"ready": bool, "error": code}`."""

    def collect(self, case_id: str, source: str, impatient: bool) -> Mapping[str, Any]:
        """
        A round of pages, referred records, attachments and second looks:
        `{"more": bool, "moved": bool, "rest": seconds, "told": "" | "pause" | "cancel"}`.

        An impatient one takes a hospital that is still busy for one that does not answer.
        """

    def image(self, case_id: str, source: str, run: int) -> int:
        """Fetch one study; how many remain."""

    def close(self, case_id: str, source: str) -> str:
        """Ask for the counts again and grade; returns the source's grade."""

    def again(self, case_id: str, source: str, error: str) -> float:
        """In how many seconds a source that failed is asked again by itself; 0 for never."""


class CaseSteps(Protocol):
    """The steps after the pull."""

    def assemble(self, case_id: str) -> int:
        """Normalize and assemble; returns the version of the case record."""

    def advance(self, delivery_id: str) -> Mapping[str, Any]:
        """Move a delivery one rung: `{"done": bool, "wait": seconds}`."""

    def retry(self, case_id: str, run: int, sources: Sequence[str]) -> None:
        """Begin the next run for these sources, unless somebody else has."""

    def stopped(self, case_id: str, source: str, error: str) -> None:
        """Tell the nurse that a source (or, without one, the case) stopped by our own fault."""


class Slots(Protocol):
    """Who is alive, by the database's rows."""

    def beat(self, slot: str, *, at: datetime, serving: str = "") -> None:
        """Say that this slot is alive."""

    def leave(self, slot: str) -> None:
        """Say that this slot is alive no more."""

    def dead(self, *, at: datetime) -> Sequence[str]:
        """Slots whose lease has run out."""

    def bury(self, slot: str, *, at: datetime) -> bool:
        """Remove a slot if it is still dead; True for the one that removed it."""

    def count_takeover(self, slot: str) -> None:
        """Note that this slot took a dead one's work."""


def pull_id(case_id: str, run: int, resumed: int = 0) -> str:
    """The workflow of one run of a case's pull; `resumed` tells how often it was taken up again."""
    return f"pull:{case_id}:{run}" + (f".{resumed}" if resumed else "")


def deliver_id(delivery_id: str, again: str = "") -> str:
    """The workflow that carries a delivery; `again` tells a later one from the first."""
    return f"deliver:{delivery_id}:{again}" if again else f"deliver:{delivery_id}"
