"""The certificate: how complete a pull is, graded by evidence (TRUTH 3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """From worst to best; `not-asked` stands beside and is never averaged away."""

    NOT_ASKED = "not-asked"
    REFUSED = "refused"
    SHORT = "short"
    UNKNOWN = "unknown"
    CONSISTENT = "consistent"
    PROVEN = "proven"


_ORDER = (Grade.REFUSED, Grade.SHORT, Grade.UNKNOWN, Grade.CONSISTENT, Grade.PROVEN)
COMPLETE = frozenset({Grade.CONSISTENT, Grade.PROVEN})


@dataclass(frozen=True, slots=True)
class Count:
    """
    One count or list that a source gave.

    `witness` says where (`Bundle.total`, `_summary=count`, `QIDO instances`, `C-FIND IMAGE`,
    `ImagingStudy`), `said` the number, `after` whether it was asked after the pull, `trusted`
    whether the source has not yet been seen to lie with it (a list that lacks what we hold is no
    witness). `ids_agree` is None for a bare number and tells for a list whether it equals the set
    of ids that we hold.
    """

    witness: str
    said: int
    after: bool = False
    trusted: bool = True
    ids_agree: bool | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What is known of one slice = (source, type, question asked), from which the grade follows.

    `obtained` counts what we hold; `missing` what is listed and not held (ids, instances, failed
    attachments); `broken` says why a page chain ended early; `warnings` counts outcome entries
    that say suppressed, incomplete or more may exist; `not_asked` and `refused` are reasons.
    """

    obtained: int = 0
    counts: tuple[Count, ...] = ()
    missing: int = 0
    broken: str = ""
    warnings: int = 0
    not_asked: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the certificate: the slice, what they said, what came, the grade."""

    source: str
    type: str
    said: int | None
    got: int
    grade: Grade
    witnesses: tuple[str, ...] = ()
    reason: str = ""


def grade(evidence: Evidence) -> Grade:
    """
    The first rule of TRUTH 3 that applies.

    >>> grade(Evidence(obtained=31, counts=(Count("_summary=count", 31, after=True),)))
    <Grade.CONSISTENT: 'consistent'>
    >>> grade(Evidence(obtained=20, counts=(Count("Bundle.total", 31),)))
    <Grade.SHORT: 'short'>
    >>> grade(Evidence(obtained=20))
    <Grade.UNKNOWN: 'unknown'>
    """
    if evidence.not_asked:
        return Grade.NOT_ASKED
    if evidence.refused:
        return Grade.REFUSED
    if _shows_more(evidence):
        return Grade.SHORT
    lists = {c.witness for c in evidence.counts if c.trusted and c.after and c.ids_agree}
    if len(lists) >= 2:
        return Grade.PROVEN
    if any(_confirms(count, evidence.obtained) for count in evidence.counts):
        return Grade.CONSISTENT
    return Grade.UNKNOWN


def _shows_more(evidence: Evidence) -> bool:
    more = any(c.trusted and c.said > evidence.obtained for c in evidence.counts)
    disagree = any(c.trusted and c.ids_agree is False for c in evidence.counts)
    return bool(more or disagree or evidence.missing or evidence.broken or evidence.warnings)


def _confirms(count: Count, obtained: int) -> bool:
    return count.trusted and count.after and count.said == obtained and count.ids_agree is not False


def said(evidence: Evidence) -> int | None:
    """The number the source stands by: its highest trusted count, or None if it gave none."""
    trusted = [count.said for count in evidence.counts if count.trusted]
    return max(trusted) if trusted else None


def line(source: str, type_: str, evidence: Evidence) -> Line:
    """The certificate line of a slice."""
    return Line(
        source=source,
        type=type_,
        said=said(evidence),
        got=evidence.obtained,
        grade=grade(evidence),
        witnesses=tuple(c.witness for c in evidence.counts if c.trusted),
        reason=evidence.not_asked or evidence.refused or evidence.broken,
    )


def worst(grades: Iterable[Grade]) -> Grade:
    """
    The grade of a source or case: the worst of its parts, `not-asked` set aside.

    >>> worst([Grade.PROVEN, Grade.SHORT, Grade.NOT_ASKED])
    <Grade.SHORT: 'short'>
    """
    asked = [_ORDER.index(grade) for grade in grades if grade is not Grade.NOT_ASKED]
    return _ORDER[min(asked)] if asked else Grade.NOT_ASKED
