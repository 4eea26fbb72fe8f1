"""Same patient: evidence, and who may decide (TRUTH 4, reliability 5.1)."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

REPLACEMENT = "\ufffd"
# Plain family names less alike than this are two names, not two spellings: Smith and Stevens, but
# not Smyth. Given names have no such leeway: Jean and Joan may be twins.
ALIKE, EXACTLY = 0.5, 1.0


class Match(StrEnum):
    """How one fact of two descriptions compares; unknown is not agree."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What follows from the evidence."""

    ACCEPT = "accept"
    ASK = "ask"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Identifier:
    """A number with its issuer; the issuer is a system URI or a DICOM IssuerOfPatientID."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Person:
    """A patient as one source describes them. Dates are literals and keep their precision."""

    identifiers: tuple[Identifier, ...] = ()
    family: str = ""
    given: str = ""
    birth_date: str = ""
    sex: str = ""
    id: str = ""
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Fact by fact: what agrees, what contradicts, what cannot be told."""

    identifier: Match
    family: Match
    given: Match
    birth_date: Match
    sex: Match


def compare(case: Person, candidate: Person) -> Comparison:
    """
    Compare two descriptions, either way round with the same result.

    A missing, incomplete or merely differently spelled fact is unknown, never a contradiction.
    """
    return Comparison(
        identifier=_identifiers(case.identifiers, candidate.identifiers),
        family=_name(case.family, candidate.family),
        given=_name(case.given, candidate.given, alike=EXACTLY),
        birth_date=_date(case.birth_date, candidate.birth_date),
        sex=_sex(case.sex, candidate.sex),
    )


def decide(case: Person, candidates: Sequence[Person], *, truncated: bool) -> Outcome:
    """
    What the first contact with a source may conclude without a person.

    `candidates` is what the source answered; `truncated` says that it may know more than that.
    Accept needs exactly one candidate with a strong identifier, birth date and family name that
    agree and nothing that disagrees. Adding a contradicting fact never moves toward accept.
    """
    if truncated or len(candidates) != 1 or candidates[0].replaced:
        return Outcome.ASK
    seen = compare(case, candidates[0])
    if seen.birth_date is Match.DISAGREE and seen.family is Match.DISAGREE:
        return Outcome.REFUSE
    strong = (seen.identifier, seen.birth_date, seen.family)
    facts = (*strong, seen.given, seen.sex)
    if all(fact is Match.AGREE for fact in strong) and Match.DISAGREE not in facts:
        return Outcome.ACCEPT
    return Outcome.ASK


def contradicts(case: Person, found: Person) -> bool:
    """Whether an item that arrived by itself names somebody else (header, section, image)."""
    seen = compare(case, found)
    return Match.DISAGREE in (seen.identifier, seen.birth_date, seen.family)


def _identifiers(ours: Iterable[Identifier], theirs: Iterable[Identifier]) -> Match:
    """Within one system any common number agrees; one system that contradicts outweighs others."""
    mine, other = _numbers(ours), _numbers(theirs)
    agreed = [bool(mine[system] & other[system]) for system in mine.keys() & other.keys()]
    if not agreed:
        return Match.UNKNOWN
    return Match.AGREE if all(agreed) else Match.DISAGREE


def _numbers(identifiers: Iterable[Identifier]) -> Mapping[str, set[str]]:
    # Leading zeros and inner blanks belong to a number; blanks around it are padding (PS3.5 6.2).
    found: dict[str, set[str]] = defaultdict(set)
    for identifier in identifiers:
        if identifier.system and identifier.value.strip():
            found[identifier.system].add(identifier.value.strip())
    return found


def _name(ours: str, theirs: str, *, alike: float = ALIKE) -> Match:
    mine, other = sorted((_plain(ours), _plain(theirs)))
    if not mine or not other or REPLACEMENT in mine + other:
        return Match.UNKNOWN
    if mine == other:
        return Match.AGREE
    # Another alphabet, an accent or a curly quote proves nothing either way.
    if not (mine.isascii() and other.isascii()):
        return Match.UNKNOWN
    if other.startswith(mine) or _shared_part(ours, theirs):
        return Match.UNKNOWN
    spelling = SequenceMatcher(None, mine, other, autojunk=False).ratio() >= alike
    return Match.UNKNOWN if spelling and mine[0] == other[0] else Match.DISAGREE


_NO_LETTERS = re.compile(r"[\x00-@\[-`{-\x7f\s]+")


def _plain(name: str) -> str:
    """A name without case, blanks and ASCII punctuation: O'BRIEN-SMITH and O'Brien Smith agree."""
    return _NO_LETTERS.sub("", unicodedata.normalize("NFC", name.casefold()))


def _shared_part(ours: str, theirs: str) -> bool:
    """Whether one part of a double name or of a name with a particle is in the other name too."""
    mine, other = (set(_NO_LETTERS.split(name.casefold())) for name in (ours, theirs))
    return any(len(part) > 2 for part in mine & other)


_DATE = re.compile(r"\d{4}(\d{2}(\d{2})?)?")


def _date(ours: str, theirs: str) -> Match:
    """`1961-03-14` and DICOM's `19610314` agree; a date known in part, or none, tells nothing."""
    mine, other = sorted((d.strip().replace("-", "") for d in (ours, theirs)), key=len)
    if not (_DATE.fullmatch(mine) and _DATE.fullmatch(other)):
        return Match.UNKNOWN
    if mine == other:
        return Match.AGREE
    return Match.UNKNOWN if other.startswith(mine) else Match.DISAGREE


_SEX = {"m": "male", "f": "female", "o": "other"}


def _sex(ours: str, theirs: str) -> Match:
    mine, other = (_SEX.get(s.strip().lower(), s.strip().lower()) for s in (ours, theirs))
    if mine not in ("male", "female") or other not in ("male", "female"):
        return Match.UNKNOWN
    return Match.AGREE if mine == other else Match.DISAGREE
