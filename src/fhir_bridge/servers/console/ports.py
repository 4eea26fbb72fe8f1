"""What the console asks of the rest of the bridge; the composition root ties it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fhir_bridge.security.access import Actor


class Actions(Protocol):
    """What a person can make happen to a case."""

    def new_case(
        self,
        actor: Actor,
        patient: Mapping[str, object],
        specialty: str,
        question: str,
        providers: Sequence[str],
    ) -> str:
        """Open a case and return its id."""

    def start_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        """Pull from every source of the case, or from one."""

    def pause_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        """Put the pull down after what is in hand; raises WrongMoment when none runs."""

    def resume_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        """Go on with a paused pull; raises WrongMoment when none is paused."""

    def cancel_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        """End a running or paused pull; what came stays; raises WrongMoment when there is none."""

    def confirm_patient(self, actor: Actor, case_id: str, source: str, patient_id: str) -> None:
        """Say who the patient is at a source; an empty id says: none of them."""

    def assign(self, actor: Actor, study_uid: str, case_id: str) -> None:
        """Give an unassigned study to a case."""

    def release(self, actor: Actor, case_id: str, reason: str) -> None:
        """Let the specialist open the case record; below *complete* the reason is kept in it."""


class Desk(Protocol):
    """Where an opinion is written."""

    def draft(self, case_id: str) -> str:
        """The prepared text (Markdown), or an empty template."""

    def preview_pdf(self, actor: Actor, case_id: str, text: str) -> bytes:
        """The PDF as it would be delivered."""

    def finish_opinion(self, actor: Actor, case_id: str, text: str) -> str:
        """Sign the opinion and send it on its way; returns its id."""


class Preview(Protocol):
    """Draws an image small; it lives in a stage and is handed in."""

    def __call__(self, path: Path, *, size: int, deadline_seconds: float) -> bytes:
        """A PNG of at most `size` pixels a side; raises BridgeError when it cannot be drawn."""
