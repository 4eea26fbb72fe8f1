"""The judge: what is missing, and whether whoever pulled was told so. Pure, and tested red."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.chaos.chart import DOCUMENT, Truth

from fhir_bridge.case.certificate import COMPLETE, Grade, worst
from fhir_bridge.case.slice import REFERRED, kind_of

ATTACHMENTS = "attachments"
LOGGED = "log:"


class Verdict(StrEnum):
    """How a pull ended, by what its caller can know."""

    WHOLE = "whole"
    """All is there. It may still have been told as unsure."""
    TOLD = "told"
    """Something is missing and the caller was told: an error, an exit code, a grade, a file."""
    LOGGED = "logged"
    """Something is missing, and only a line of a log says that something went wrong."""
    LOST = "lost"
    """Something is missing and it was called a success: a silent loss."""
    HANGS = "hangs"
    """It did not end within its time; nothing was claimed."""
    BROKE = "broke"
    """It ended without saying anything: a fault of its own, or of this bench."""
    ABSENT = "absent"
    """It was not run: it cannot log in, or it is not installed here."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of a certificate: the slice's type as the bridge names it, and its grade."""

    type: str
    grade: Grade

    @property
    def kind(self) -> str:
        """The resource type that the line speaks of."""
        return kind_of(self.type)

    @property
    def complete(self) -> bool:
        """Whether it says *complete*."""
        return self.grade in COMPLETE


@dataclass(frozen=True, slots=True)
class Pulled:
    """What our puller came back with: exit code, certificate, ids by type, digests of bodies."""

    code: int
    claims: Sequence[Claim]
    ids: Mapping[str, frozenset[str]]
    files: frozenset[str]

    @property
    def grade(self) -> Grade:
        """The worst grade of the certificate."""
        return worst(claim.grade for claim in self.claims)


def missing(pulled: Pulled, truth: Truth) -> dict[str, int]:
    """How many of each type stand in the chart and are not held; attachments among them."""
    gaps = {kind: len(ids - pulled.ids.get(kind, frozenset())) for kind, ids in truth.ids.items()}
    gaps[ATTACHMENTS] = len(truth.files - pulled.files)
    return {kind: number for kind, number in gaps.items() if number}


def unconfessed(pulled: Pulled, truth: Truth) -> list[str]:
    """
    The types that are short in silence.

    A type is told when a line of the certificate that speaks of it stands below *complete*, or says
    that it was not asked. A type without a line of its own is judged by the line of the records
    that others refer to, an attachment by the lines of the documents. What no line speaks of is
    silent when the exit code is 0.
    """
    return sorted(kind for kind in missing(pulled, truth) if not _told(pulled, kind))


def _told(pulled: Pulled, kind: str) -> bool:
    about = [c for c in pulled.claims if c.kind == (DOCUMENT if kind == ATTACHMENTS else kind)]
    lines = about or [c for c in pulled.claims if c.type == REFERRED]
    if not lines:
        return pulled.code != 0
    return any(not claim.complete for claim in lines)


def judge_ours(pulled: Pulled, truth: Truth) -> Verdict:
    """The verdict on our puller."""
    if unconfessed(pulled, truth):
        return Verdict.LOST
    return Verdict.TOLD if missing(pulled, truth) else Verdict.WHOLE


def judge_rival(ids: Iterable[str], error: str | None, truth: Truth) -> Verdict:
    """
    The verdict on a rival that ended: only the ids of documents count, not their attachments.

    `error` is what it reported by an exception, its exit code, its answer or a file made for
    errors; one that starts with `log:` stands in its log alone.
    """
    if truth.ids[DOCUMENT] <= frozenset(ids):
        return Verdict.WHOLE
    if error is None:
        return Verdict.LOST
    return Verdict.LOGGED if error.startswith(LOGGED) else Verdict.TOLD
