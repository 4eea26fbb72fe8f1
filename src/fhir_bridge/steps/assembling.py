"""The step after the pull: normalize every record of a case, assemble the case record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fhir_bridge import tables
from fhir_bridge.case.case import Case, CaseState, PinState
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.imaging import Instance
from fhir_bridge.case.ledger import INSTANCE, LedgerRow, RecordKey, RecordState, imbalance
from fhir_bridge.case.record import CaseRecord, End, Normalized, Sighted
from fhir_bridge.errors import BridgeError, NotReady
from fhir_bridge.pipeline.assemble import assemble
from fhir_bridge.pipeline.normalize import normalize
from fhir_bridge.standards.dicom.header import Facts, read_facts
from fhir_bridge.standards.dicom.imaging_study import imaging_study
from fhir_bridge.standards.fhir.lenient import objects
from fhir_bridge.standards.fhir.references import classify
from fhir_bridge.steps.pulling import is_complete, lines
from fhir_bridge.store.records import StoredRecord
from fhir_bridge.store.shelves import Store

DOCUMENT = "DocumentReference"
RULE = "complete by the hospitals' own counts"
Study = tuple[dict[str, Any], tuple[RecordKey, ...]]


@dataclass(frozen=True, slots=True)
class Assembling:
    """Makes case records (one half of workflows.CaseSteps)."""

    store: Store
    now: Callable[[], datetime]

    def assemble(self, case_id: str) -> int:
        """
        Make the case record of what is here; returns its version.

        The same evidence gives the same bytes and no new version. Raises NotReady when the ledger
        does not balance; the sentence names the row. A complete record is released by rule, any
        other one waits for a person.
        """
        made = self._make(case_id, released="")
        case = self.store.cases.get(case_id)
        if is_complete(lines(self.store, case_id), case):
            fact = self._event(Happened.RECORD_RELEASED, case_id, version=made.version)
            self.store.records.release(made, fact, by="rule", reason=RULE)
        return made.version

    def stopped(self, case_id: str, error: str) -> None:
        """The record could not be made: the case is open again, and says why."""
        fact = self._event(Happened.RECORD_FAILED, case_id, code=error)
        self.store.cases.move(case_id, CaseState.OPEN, fact)

    def assemble_released(self, case_id: str, *, by: str, reason: str) -> StoredRecord:
        """A version that states who released it below *complete*, and why."""
        return self._make(case_id, released=f"Released by {by}: {reason}")

    def _make(self, case_id: str, *, released: str) -> StoredRecord:
        case, rows = self.store.cases.get(case_id), self.store.ledgers.rows(case_id)
        normalized = self._normalized(case)
        ends = {**normalized.ends, **_rest(rows, normalized.ends)}
        record = self._record(case, normalized, released)
        problems = imbalance(
            [_ended(row, ends) for row in rows], record.entries, record.bridge_made
        )
        if problems:
            raise NotReady(problems[0])
        fact = self._event(
            Happened.RECORD_ASSEMBLED, case_id, version=record.version, entries=len(record.entries)
        )
        return self.store.records.add(record, ends, normalized.unresolved, fact, at=self.now())

    def _normalized(self, case: Case) -> Normalized:
        sighted = self.store.ledgers.sighted(case.id)
        return normalize(
            case,
            sighted,
            self.store.ledgers.attachments(case.id),
            self._studies(case),
            accepted(self.store, case.id),
            own=self._own(case.id, sighted),
        )

    def _own(self, case_id: str, sighted: Sequence[Sighted]) -> Collection[tuple[str, str, str]]:
        """The documents among these that are opinions which we filed there ourselves."""
        deliveries = self.store.opinions.deliveries(case_id)
        numbers = {delivery.identifier for delivery in deliveries}
        places = {(d.destination, classify(d.location).id) for d in deliveries if d.location}
        return {
            (one.key.source, one.key.kind, one.key.id)
            for one in sighted
            if one.key.kind == DOCUMENT
            and ((one.key.source, one.key.id) in places or numbers & set(_numbers(one.resource)))
        }

    def _record(self, case: Case, normalized: Normalized, released: str) -> CaseRecord:
        def assembled(version: int) -> CaseRecord:
            return assemble(
                case,
                accepted(self.store, case.id),
                normalized,
                lines(self.store, case.id),
                version=version,
                tables=tables.fingerprint(),
                read_blob=self.store.originals.read,
                released=released,
            )

        if case.record_version:
            again = assembled(case.record_version)
            before = self.store.records.get(case.id, case.record_version)
            if again.sha256 == before.sha256:
                return again
        return assembled(case.record_version + 1)

    def _studies(self, case: Case) -> Sequence[Study]:
        groups: dict[str, list[Instance]] = defaultdict(list)
        for instance in self.store.images.of_case(case.id):
            if not instance.quarantined:
                groups[instance.study_uid].append(instance)
        claimed = _claimed(self.store, case)
        built = (self._study(group, claimed) for _, group in sorted(groups.items()))
        return [study for study in built if study is not None]

    def _study(self, group: Sequence[Instance], claimed: Mapping[str, set[str]]) -> Study | None:
        held = {instance.sop_uid for instance in group}
        expected = claimed.get(group[0].study_uid, set())
        facts = [found for instance in group if (found := self._facts(instance)) is not None]
        if not facts:
            return None
        # Available says "proven here": only when a source listed the study and nothing is missing.
        complete = bool(expected) and expected <= held
        study = imaging_study(facts, subject={}, complete=complete)
        return study, tuple(_key(instance) for instance in group)

    def _facts(self, instance: Instance) -> Facts | None:
        try:
            with self.store.originals.path(instance.sha256).open("rb") as part10:
                return read_facts(part10)
        except BridgeError:
            return None

    def _event(self, name: Happened, case_id: str, **facts: str | int) -> Event:
        return Event(name, case_id, "bridge", self.now(), facts)


def _numbers(document: Mapping[str, Any]) -> Iterator[str]:
    """The identifiers of a DocumentReference."""
    for found in (document.get("masterIdentifier"), *objects(document.get("identifier"))):
        if isinstance(found, Mapping) and isinstance(found.get("value"), str):
            yield found["value"]


def accepted(store: Store, case_id: str) -> Mapping[str, str]:
    """Source -> the patient's id there, where that is settled."""
    pins = store.cases.pins(case_id)
    return {pin.source: pin.patient_id for pin in pins if pin.state is PinState.ACCEPTED}


def _key(instance: Instance) -> RecordKey:
    return RecordKey(instance.source, INSTANCE, instance.sop_uid, instance.dataset_sha256)


def _claimed(store: Store, case: Case) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for source in case.providers:
        for claims in store.ledgers.claims(case.id, source).values():
            for claim in claims:
                found[claim.study_uid].add(claim.sop_uid)
    return found


def _rest(rows: Sequence[LedgerRow], ends: Mapping[RecordKey, End]) -> Mapping[RecordKey, End]:
    """
    The ends of rows that normalization never saw: what failed and came later after all, what
    failed for good, and what waits in quarantine.
    """
    came = {(row.key.source, row.key.kind, row.key.id): row.key for row in rows if row.original}
    found: dict[RecordKey, End] = {}
    for row in rows:
        if row.key in ends:
            continue
        later = came.get((row.key.source, row.key.kind, row.key.id))
        if later is not None and later != row.key and not row.original:
            found[row.key] = End(
                RecordState.MERGED_INTO, "came-later", "it came on a later try", target=str(later)
            )
        elif row.state in (RecordState.FAILED, RecordState.QUARANTINED):
            found[row.key] = End(row.state, row.rule, row.reason)
        elif not row.original:
            found[row.key] = End(RecordState.FAILED, row.rule or "fetch", row.reason)
    return found


def _ended(row: LedgerRow, ends: Mapping[RecordKey, End]) -> LedgerRow:
    end = ends.get(row.key)
    if end is None:
        return row
    return replace(
        row, state=end.state, rule=end.rule, reason=end.reason, target=end.target, entry=end.entry
    )
