"""What one answer to a search brought: records, what they name, and what is odd about it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fhir_bridge.case.ledger import READ_ENTRY, LedgerRow, RecordKey, RecordState
from fhir_bridge.case.original import Answer
from fhir_bridge.case.record import HeldAttachment, Json
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import NotFhir, ProviderRefused, Unreadable
from fhir_bridge.pipeline.pull.attachments import named
from fhir_bridge.pipeline.pull.obeying import (
    Question,
    dropped,
    is_checked,
    is_strangers,
    strays,
)
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.pipeline.pull.targets import targets
from fhir_bridge.pipeline.pull.withheld import refuses, withholds
from fhir_bridge.standards.fhir import bundle, json, salvage

IS_AN_ERROR = "a list that is an error"
# With one of these, what the server counts is not what was asked.
WIDER = frozenset({"filter-ignored", "another-patient"})


@dataclass(frozen=True, slots=True)
class Brought:
    """
    What an answer brought. `listed` are the ids that answer the question, `odd` the marks of
    entries that could not be read, `entries` how many matches the page held, `warnings` how many
    outcome entries say that more may exist.
    """

    came: bundle.Page
    listed: frozenset[str] = frozenset()
    odd: frozenset[str] = frozenset()
    findings: frozenset[str] = frozenset()
    entries: int = 0
    warnings: int = 0
    seen: tuple[LedgerRow, ...] = ()
    bases: tuple[str, ...] = ()
    attachments: tuple[HeldAttachment, ...] = ()
    targets: frozenset[tuple[str, str]] = frozenset()

    def page(self, slice_: Slice) -> Page:
        """What is committed, with the slice as it stands after it."""
        return Page(
            slice=slice_,
            seen=self.seen,
            bases=self.bases,
            listed=self.listed | self.odd,
            attachments=self.attachments,
            targets=self.targets,
        )


def searchset(answer: Answer, ehr: Ehr, *, tolerant: bool = False) -> bundle.Page:
    """
    An answer to a search, read; `tolerant` does without the entries that cannot be read.

    Raises NotFhir, Unreadable or Hostile.
    """
    load = salvage.load if tolerant else json.load_object
    return bundle.read_searchset(load(answer.body or b""), ehr.base)


def read(
    source: Source, ehr: Ehr, kind: str, question: Question, answer: Answer, came: bundle.Page
) -> Brought:
    """
    Take an answer apart, and filter it again by the question.

    Raises ProviderRefused or NotFhir for a list that holds nothing but an error.
    """
    fatal = next((issue for issue in came.issues if issue.failed), None)
    if fatal is not None and not came.matches:
        if refuses(fatal):
            raise ProviderRefused(f"{fatal.code}: {IS_AN_ERROR}")
        raise NotFhir(IS_AN_ERROR)
    patient = source.pin().patient_id
    pairs = [(key_of(source.id, e.resource), e) for e in (*came.matches, *came.included)]
    answers = [p for p in pairs[: len(came.matches)] if p[0].kind == kind]
    own = [p for p in answers if not is_strangers(p[1].resource, patient)]
    fitting = [p for p in own if not strays(p[1].resource, question)]
    odd = list(_odd(source.id, kind, answer, came))
    return Brought(
        came=came,
        listed=frozenset(key.id for key, _ in fitting),
        odd=frozenset(row.key.id for row in odd),
        findings=frozenset(_findings(came, question, answers, own, fitting)),
        entries=len(came.matches),
        warnings=sum(map(withholds, came.issues)),
        seen=(*(_row(key, answer, entry) for key, entry in pairs), *odd),
        bases=(*(entry.base for _, entry in pairs), *([""] * len(odd))),
        attachments=tuple(a for key, e in pairs for a in named(key, e.resource, e.base)),
        targets=frozenset(
            t for _, e in pairs for t in targets(e.resource, e.base, ehr.base, patient=patient)
        ),
    )


Pairs = Sequence[tuple[RecordKey, bundle.PageEntry]]


def _findings(
    came: bundle.Page, question: Question, answers: Pairs, own: Pairs, fitting: Pairs
) -> Iterator[str]:
    if len(own) < len(answers):
        yield "another-patient"
    if len(fitting) < len(own) or _ignored(came, question, answers):
        yield "filter-ignored"
    if any(issue.failed for issue in came.issues):
        yield "outcome-error"
    elif any(map(withholds, came.issues)):
        yield "outcome-warning"


def _ignored(came: bundle.Page, question: Question, answers: Pairs) -> bool:
    """Whether a parameter was dropped, and the answer does not obey it all the same."""
    return any(
        not is_checked(name, entry.resource)
        for name in dropped(question, came.self_link)
        for _, entry in answers
    )


def _row(key: RecordKey, answer: Answer, entry: bundle.PageEntry) -> LedgerRow:
    return LedgerRow(key, original=answer.original.id, position=str(entry.position))


def _odd(source: str, kind: str, answer: Answer, came: bundle.Page) -> Iterator[LedgerRow]:
    """One failed row for each entry that holds no record that can be read."""
    written = salvage.entries(answer.body or b"") if came.unreadable else ()
    for position in came.unreadable:
        digest = hashlib.sha256(written[position]).hexdigest()
        yield LedgerRow(
            RecordKey(source, kind, digest, digest),
            RecordState.FAILED,
            original=answer.original.id,
            position=str(position),
            rule=READ_ENTRY,
            reason=Unreadable.advice,
            error_code=Unreadable.code,
            attempts=1,
        )


def key_of(source: str, resource: Json) -> RecordKey:
    """The ledger key of a resource; what has no id, or no version, is known by its bytes alone."""
    id_, version = resource.get("id"), resource.get("meta")
    version = version.get("versionId") if isinstance(version, dict) else None
    named_ = isinstance(id_, str) and bool(id_)
    numbered = isinstance(version, str | int) and bool(version)
    digest = "" if named_ and numbered else hashlib.sha256(json.dumps(resource)).hexdigest()
    kind = str(resource.get("resourceType", "unknown"))
    return RecordKey(
        source, kind, str(id_) if named_ else digest, str(version) if numbered else digest
    )
