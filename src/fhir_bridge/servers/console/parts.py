"""The parts of a pull as the nurse reads them: one line each where it matters, the rest folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from fhir_bridge.case.certificate import Evidence, Grade, Line, line
from fhir_bridge.case.slice import IMAGES, REFERRED, Slice, kind_of
from fhir_bridge.pipeline.pull.certify import judged
from fhir_bridge.pipeline.pull.plan import BY_PARTS, NOT_OFFERED
from fhir_bridge.servers.console import words
from fhir_bridge.servers.console.nouns import counted, listed, things
from fhir_bridge.servers.console.words import Saying, State
from fhir_bridge.store.shelves import Store

_CORE = ("DocumentReference", "DiagnosticReport", "ImagingStudy", IMAGES)


@dataclass(frozen=True, slots=True)
class Part:
    """One slice of a pull: its line of the certificate and the sentence for it."""

    line: Line
    evidence: Evidence
    ended: bool
    saying: Saying
    question: str

    @property
    def title(self) -> str:
        """What was asked for, as a heading."""
        return things(self.line.type).capitalize()

    @property
    def is_core(self) -> bool:
        """Whether it brings documents, reports or images, and not what stands beside them."""
        return kind_of(self.line.type) in _CORE

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands: documents, reports, studies, images, then the rest by name."""
        kind = kind_of(self.line.type)
        return (_CORE.index(kind) if kind in _CORE else len(_CORE), self.line.type)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed, and which witnesses confirm it."""
        if not self.ended:
            return ()
        proof = words.proof(self.line)
        return (*words.odd(self.line), *([proof] if proof else []))


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of the short list: a part, or several that are told together."""

    key: str
    title: str
    saying: Saying


def parts_of(store: Store, case_id: str) -> Sequence[Part]:
    """Every line of a case's certificate, with the words for it."""
    ledgers = store.ledgers
    found = ledgers.slices(case_id)
    # While a pull runs its files are still on their way: only at the end do they count as missing.
    over = judged(found, ledgers.attachments(case_id), ledgers.failed_reads(case_id))
    settled = {(one.source, one.type): one for one in over}
    return [_part(settled[s.source, s.type] if s.ended else s) for s in found] + [
        _part(one) for one in over if one.type == REFERRED
    ]


def _part(slice_: Slice) -> Part:
    found = line(slice_.source, slice_.type, slice_.evidence)
    question = " · ".join(f"{name}={value}" for name, value in slice_.question)
    if slice_.ended:
        saying = words.certificate(found, slice_.evidence)
    else:
        saying = Saying(State.WORKING, f"{counted(found.got, slice_.type)} so far.")
    return Part(found, slice_.evidence, slice_.ended, saying, question)


def not_yet(part: Part, images: int) -> Part:
    """While a source is at work, the count that could confirm a part has not been asked for."""
    if part.line.type == IMAGES and not part.ended:
        return replace(part, saying=Saying(State.WORKING, f"{counted(images, IMAGES)} so far."))
    if part.line.grade is not Grade.UNKNOWN or not part.ended:
        return part
    text = f"{counted(part.line.got, part.line.type)} so far; counted again at the end."
    return replace(part, saying=Saying(State.WORKING, text))


def put_down(part: Part, images: int) -> Part:
    """A part of a pull that somebody paused or cancelled."""
    if part.ended:
        return part
    number = images if part.line.type == IMAGES else part.line.got
    text = f"{counted(number, part.line.type)} came; the list was not read to its end."
    return replace(part, saying=Saying(State.LEFT, text, "Not finished"))


def asked(parts: Iterable[Part]) -> Sequence[Part]:
    """Without the types beside that were not asked: they are told together (`not_asked`)."""
    return [part for part in parts if part.is_core or part.line.grade is not Grade.NOT_ASKED]


def not_asked(parts: Sequence[Part]) -> Sequence[Saying]:
    """One sentence for each reason why types beside the documents were not asked for."""
    left = [p for p in parts if not p.is_core and p.line.grade is Grade.NOT_ASKED]
    found = []
    for reason, group in _grouped(left, lambda part: part.line.reason):
        names = listed(_names(group))
        if reason == NOT_OFFERED:
            text = f"Not asked: this hospital does not offer {names} by FHIR."
        else:
            text = words.sentence(f"not asked ({names}): {reason}")
        found.append(Saying(State.LEFT, text, "Not asked"))
    return found


def short_list(parts: Sequence[Part]) -> Sequence[Shown]:
    """Documents, reports and images line by line, and what is missing; the rest in groups."""
    plain = [p for p in parts if p.line.reason != BY_PARTS]
    alone = [p for p in plain if p.is_core or (p.ended and p.line.grade is Grade.SHORT)]
    beside = [p for p in asked(plain) if p not in alone]
    shown = [Shown(part.line.type, part.title, part.saying) for part in alone]
    for label, group in _grouped(beside, lambda part: part.saying.label):
        key = group[0].line.type if len(group) == 1 else f"beside {label}"
        shown.append(Shown(key, *_told_together(group)))
    shown += [Shown(f"not asked {n}", "Further records", s) for n, s in enumerate(not_asked(plain))]
    return shown


def _told_together(group: Sequence[Part]) -> tuple[str, Saying]:
    first = group[0]
    if len(group) == 1:
        return first.title, first.saying
    if first.ended and first.line.grade is Grade.REFUSED:
        text = f"Refused by the hospital: our access does not cover {listed(_names(group))}."
        return "Other records", replace(first.saying, text=text)
    return "Other records", replace(first.saying, text=_amounts(group))


def _amounts(group: Sequence[Part]) -> str:
    """What came of each; and once what holds for all of them."""
    here = [counted(part.line.got, part.line.type) for part in group if part.line.got]
    # Before a list has ended nobody can say that there is nothing.
    none = _names([part for part in group if part.ended and not part.line.got])
    text = f"{words.sentence(listed(here))} " if here else ""
    text += f"No {listed(none).replace(' and ', ' or ')}. " if none else ""
    return text + _FOR_ALL.get(group[0].saying.label, "")


_FOR_ALL = {
    "Complete": "Complete by the hospital's own counts.",
    "Not confirmed": "The hospital does not say how much it has.",
    "Working": "More may come.",
    "Not finished": "These lists were not read to their ends.",
}


def _names(group: Sequence[Part]) -> Sequence[str]:
    return list(dict.fromkeys(things(part.line.type) for part in group))


def _grouped(parts: Iterable[Part], by: Callable[[Part], str]) -> list[tuple[str, list[Part]]]:
    ordered = sorted(parts, key=by)
    return [(name, list(group)) for name, group in groupby(ordered, key=by)]
