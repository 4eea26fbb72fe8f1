"""The sources of a case as the nurse sees them: state, progress, and the certificate's lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fhir_bridge.case.case import Case, Pin, PinState, TreatingProvider
from fhir_bridge.case.certificate import Evidence, Grade, Line, line, worst
from fhir_bridge.case.slice import IMAGES, REFERRED, Slice
from fhir_bridge.pipeline.pull.certify import judged
from fhir_bridge.servers.console import troubles, words
from fhir_bridge.servers.console.words import Saying, State
from fhir_bridge.store.shelves import Store

# Steps at which nothing is under way: before the first, and after the last.
_OVER = ("", "done")
_FILES_OF_A_HUNDRED = 25
_ORDER = ("DocumentReference", "DiagnosticReport", "ImagingStudy", IMAGES)


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
        return words.things(self.line.type).capitalize()


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a source is, and the same in words.

    Files take the first quarter and images the rest, because images are listed last: with items
    alone a bar would be full before the first image, and would have to run backwards.
    """

    done: int
    total: int
    text: str

    @property
    def percent(self) -> int:
        """Whole percent; 0 while nothing is known."""
        return 100 * self.done // self.total if self.total else 0


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a source at work has given: files settled of files, images held of images listed."""

    files: int = 0
    settled: int = 0
    images: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One treating provider within one case."""

    id: str
    name: str
    saying: Saying
    pin: Pin
    since: datetime | None
    error_code: str
    step: str
    progress: Progress | None
    parts: tuple[Part, ...]
    working: bool = False

    @property
    def grade(self) -> Grade:
        """The worst of its parts."""
        return worst(part.line.grade for part in self.parts if part.ended)

    @property
    def ended(self) -> bool:
        """Whether every part has its verdict and none is begun any more."""
        return bool(self.parts) and not self.working and all(part.ended for part in self.parts)


def lines(store: Store, case_id: str) -> Sequence[Part]:
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
        counted = words.counted(found.got, slice_.type)
        saying = Saying(State.WORKING, f"{counted} so far.")
    return Part(found, slice_.evidence, slice_.ended, saying, question)


def source_lines(
    store: Store, case: Case, providers: Mapping[str, TreatingProvider]
) -> Sequence[SourceLine]:
    """Every source of a case in its order."""
    steps, parts = store.cases.steps(case.id), lines(store, case.id)
    found = []
    for pin in store.cases.pins(case.id):
        step, error, since = steps.get(pin.source, ("", "", None))
        own = sorted((p for p in parts if p.line.source == pin.source), key=_position)
        over = step in _OVER and all(part.ended for part in own)
        working = bool(own or step) and not over and not error
        known = providers.get(pin.source)
        arrived = _arrived(store, case.id, pin.source) if working else Arrived()
        own = [_not_yet(part, arrived) for part in own] if working else own
        found.append(
            SourceLine(
                id=pin.source,
                name=known.name if known else pin.source,
                saying=_saying(pin, step, error, own, working=working),
                pin=pin,
                since=since,
                error_code=error,
                step=words.step(step),
                progress=_progress(own, arrived, known) if working else None,
                parts=tuple(own),
                working=working,
            )
        )
    return found


def _not_yet(part: Part, arrived: Arrived) -> Part:
    """While a source is at work, the count that could confirm a part has not been asked for."""
    if part.line.type == IMAGES and not part.ended:
        text = f"{words.counted(arrived.held, IMAGES)} so far."
        return replace(part, saying=Saying(State.WORKING, text))
    if part.line.grade is not Grade.UNKNOWN or not part.ended:
        return part
    text = f"{words.counted(part.line.got, part.line.type)} so far; counted again at the end."
    return replace(part, saying=Saying(State.WORKING, text))


def _position(part: Part) -> int:
    return _ORDER.index(part.line.type) if part.line.type in _ORDER else len(_ORDER)


def _saying(pin: Pin, step: str, error: str, parts: Sequence[Part], *, working: bool) -> Saying:
    if pin.state is PinState.ASKED:
        number = len(pin.candidates)
        who = f"{number} patients there could be ours" if number > 1 else "A patient was found"
        return Saying(State.NEEDS, f"{who}; it is not certain. Please choose. Nothing was fetched.")
    if pin.state is PinState.REFUSED:
        text = "A person said that none of the patients there is ours. Nothing is fetched."
        return Saying(State.LEFT, text)
    if error and not (pin.state is PinState.ACCEPTED and troubles.is_identity(error)):
        return troubles.failure(error)
    if parts and not working and all(part.ended for part in parts):
        return words.overall(worst(part.line.grade for part in parts))
    if step or parts:
        return Saying(State.WORKING, words.step(step) if step else "Listing what is there.")
    return Saying(State.WAITING, "Not started.")


def _arrived(store: Store, case_id: str, source: str) -> Arrived:
    files = len(store.ledgers.attachments(case_id, source))
    listed = store.ledgers.claims(case_id, source)
    images = max((len(claims) for claims in listed.values()), default=0)
    return Arrived(
        files=files,
        settled=files - len(store.ledgers.unsettled(case_id, source)),
        images=images,
        held=min(len(store.images.held(case_id, source)), images),
    )


def _progress(
    parts: Sequence[Part], arrived: Arrived, provider: TreatingProvider | None
) -> Progress:
    here, said = arrived, []
    if here.files:
        said.append(f"{here.settled:,} of {here.files:,} files")
    if here.images:
        said.append(f"{here.held:,} of {here.images:,} images")
    if not said:
        records = Counter({part.line.type: part.line.got for part in parts})
        said = [words.counted(number, kind) + " so far" for kind, number in records.items()]
    has_images = provider is not None and bool(provider.dimse or provider.dicomweb)
    for_files = _share_of_files(here, images_follow=has_images)
    done = for_files * here.settled // here.files if here.files else 0
    done += (100 - for_files) * here.held // here.images if here.images else 0
    total = 100 if here.files + here.images else 0
    return Progress(done, total, ", ".join(said) or "Logging in")


def _share_of_files(here: Arrived, *, images_follow: bool) -> int:
    if not here.files and here.images:
        return 0
    return _FILES_OF_A_HUNDRED if images_follow or here.images else 100
