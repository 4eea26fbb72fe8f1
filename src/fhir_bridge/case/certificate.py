"""The certificate: how complete a pull is, graded by evidence (TRUTH 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fhir_bridge.case.findings import FINDINGS, ordered


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
    `findings` are codes of case/findings.py; `page_size` is the largest page seen, in entries;
    `unreadable` counts entries that came and could not be read. Of the attachments that the
    records name, `attachments_failed` (within `missing`) were not handed over, and
    `attachments_empty` have neither address nor content. `gone` counts what an earlier run held and
    the source has no more.
    """

    obtained: int = 0
    counts: tuple[Count, ...] = ()
    missing: int = 0
    broken: str = ""
    warnings: int = 0
    not_asked: str = ""
    refused: str = ""
    findings: tuple[str, ...] = ()
    page_size: int = 0
    unreadable: int = 0
    attachments_failed: int = 0
    attachments_empty: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of the certificate: the slice, what they said, what came, the grade.

    `witnesses` are those that are trusted, `agreed` those of them that were asked after the pull
    and agree with what we hold, `findings` codes by weight, `reason` why the word *complete* may
    not be printed (empty when it may).
    """

    source: str
    type: str
    said: int | None
    got: int
    grade: Grade
    witnesses: tuple[str, ...] = ()
    reason: str = ""
    findings: tuple[str, ...] = ()
    agreed: tuple[str, ...] = ()
    counts: tuple[Count, ...] = ()
    attachments_failed: int = 0
    attachments_empty: int = 0
    gone: int = 0


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
    bad_news = (evidence.missing, evidence.unreadable, evidence.broken, evidence.warnings)
    return bool(more or disagree or any(bad_news))


def _confirms(count: Count, obtained: int) -> bool:
    return count.trusted and count.after and count.said == obtained and count.ids_agree is not False


def said(evidence: Evidence) -> int | None:
    """The number the source stands by: its highest trusted count, or None if it gave none."""
    trusted = [count.said for count in evidence.counts if count.trusted]
    return max(trusted) if trusted else None


def findings(evidence: Evidence) -> tuple[str, ...]:
    """
    What was noted while the slice was asked, and what follows from its numbers.

    >>> findings(Evidence(obtained=1, counts=(Count("Bundle.total", 2),), attachments_empty=1))
    ('total-too-high', 'attachments-empty')
    """
    return ordered((*evidence.findings, *_derived(evidence)))


def _derived(evidence: Evidence) -> Iterator[str]:
    told = {"looping", "records-missing"}
    found = {
        "chain-broken": evidence.broken and told.isdisjoint(evidence.findings),
        "outcome-warning": evidence.warnings and "outcome-error" not in evidence.findings,
        "records-unreadable": evidence.unreadable,
        "attachments-failed": evidence.attachments_failed,
        "attachments-empty": evidence.attachments_empty,
        "records-missing": evidence.missing > evidence.attachments_failed,
        "gone-at-source": evidence.gone,
        "total-too-high": any(c.trusted and c.said > evidence.obtained for c in evidence.counts),
        "lists-disagree": any(c.trusted and c.ids_agree is False for c in evidence.counts),
    }
    return (code for code, applies in found.items() if applies)


def line(source: str, type_: str, evidence: Evidence) -> Line:
    """The certificate line of a slice."""
    graded, found = grade(evidence), findings(evidence)
    return Line(
        source=source,
        type=type_,
        said=said(evidence),
        got=evidence.obtained,
        grade=graded,
        witnesses=tuple(c.witness for c in evidence.counts if c.trusted),
        reason="" if graded in COMPLETE else _reason(evidence, found),
        findings=found,
        agreed=tuple(c.witness for c in evidence.counts if _confirms(c, evidence.obtained)),
        counts=evidence.counts,
        attachments_failed=evidence.attachments_failed,
        attachments_empty=evidence.attachments_empty,
        gone=evidence.gone,
    )


def _reason(evidence: Evidence, found: tuple[str, ...]) -> str:
    """A clause, to stand behind a colon."""
    plain = evidence.not_asked or evidence.refused or evidence.broken
    if plain or not found:
        return plain or "nothing independent confirms that this is everything"
    words = FINDINGS[found[0]].nurse.rstrip(".")
    return words[0].lower() + words[1:]


def worst(grades: Iterable[Grade]) -> Grade:
    """
    The grade of a source or case: the worst of its parts, `not-asked` set aside.

    >>> worst([Grade.PROVEN, Grade.SHORT, Grade.NOT_ASKED])
    <Grade.SHORT: 'short'>
    """
    asked = [_ORDER.index(grade) for grade in grades if grade is not Grade.NOT_ASKED]
    return _ORDER[min(asked)] if asked else Grade.NOT_ASKED
