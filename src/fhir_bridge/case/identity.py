"""Same patient: evidence, and who may decide (TRUTH 4, reliability 5.1)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

REPLACEMENT = "\ufffd"


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
    """Compare two descriptions; a missing or merely differently spelled fact is unknown."""
    return Comparison(
        identifier=_identifiers(case.identifiers, candidate.identifiers),
        family=_name(case.family, candidate.family),
        given=_name(case.given, candidate.given),
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
    mine = {i.system: i.value.strip() for i in ours if i.system and i.value.strip()}
    shared = [(mine[i.system], i.value.strip()) for i in theirs if i.system in mine]
    if not shared:
        return Match.UNKNOWN
    return Match.AGREE if any(a == b for a, b in shared) else Match.DISAGREE


def _name(ours: str, theirs: str) -> Match:
    if not ours.strip() or not theirs.strip() or REPLACEMENT in ours + theirs:
        return Match.UNKNOWN
    mine, other = _letters(ours), _letters(theirs)
    if mine == other:
        return Match.AGREE
    # Another alphabet or a transliteration proves nothing either way.
    plain = mine.isascii() and other.isascii() and ours.isascii() and theirs.isascii()
    return Match.DISAGREE if plain and mine[:1] != other[:1] else Match.UNKNOWN


def _letters(name: str) -> str:
    folded = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in folded if c.isalpha())


def _date(ours: str, theirs: str) -> Match:
    mine, other = ours.replace("-", ""), theirs.replace("-", "")
    if not mine or not other:
        return Match.UNKNOWN
    if len(mine) != len(other):
        short, long = sorted((mine, other), key=len)
        return Match.UNKNOWN if long.startswith(short) else Match.DISAGREE
    return Match.AGREE if mine == other else Match.DISAGREE


_SEX = {"m": "male", "f": "female", "o": "other"}


def _sex(ours: str, theirs: str) -> Match:
    mine, other = (_SEX.get(s.strip().lower(), s.strip().lower()) for s in (ours, theirs))
    if mine not in ("male", "female") or other not in ("male", "female"):
        return Match.UNKNOWN
    return Match.AGREE if mine == other else Match.DISAGREE
