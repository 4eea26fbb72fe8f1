"""Everything that the pulled records refer to, read one by one until nothing new is named."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from fhir_bridge.case.events import Happened
from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import Sighted
from fhir_bridge.errors import BridgeError, NotFhir
from fhir_bridge.pipeline.pull.attachments import named
from fhir_bridge.pipeline.pull.pages import key_of
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.references import Form, literal, references

BATCH = 40
PARALLEL = 4
MAX_READS = 5_000


def read_some(source: Source, ehr: Ehr) -> int:
    """Read a batch of records that are referred to and unknown; returns how many remain."""
    wanted = _wanted(source, ehr)
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(lambda reference: _read(source, ehr, *reference), wanted[:BATCH]))
    return max(len(wanted) - BATCH, 0) or len(_wanted(source, ehr))


def _wanted(source: Source, ehr: Ehr) -> list[tuple[str, str]]:
    """
    (type, id) of every record that something refers to on this server and that was never asked.

    Another patient is never followed, and neither is a Binary: that is an attachment.
    """
    patient = source.pin().patient_id
    known = {
        (row.key.kind, row.key.id)
        for row in source.shelf.rows(source.case.id)
        if row.key.source == source.id and not _asked_again(row)
    }
    if len(known) > MAX_READS:
        return []
    named_by_records = {
        target
        for sighted in source.shelf.sighted(source.case.id)
        if sighted.key.source == source.id
        for target in _targets(sighted, ehr.base)
    }
    return sorted(
        (kind, id_)
        for kind, id_ in named_by_records | {("Patient", patient)}
        if (kind, id_) not in known and kind != "Binary" and (kind != "Patient" or id_ == patient)
    )


def _targets(sighted: Sighted, server: str) -> Iterator[tuple[str, str]]:
    """What a record refers to on its own server, relative or absolute."""
    for _, reference in references(sighted.resource):
        target = literal(reference)
        here = target.form is Form.RELATIVE and sighted.base == server
        if here or (target.form is Form.ABSOLUTE and target.base == server):
            yield target.type, target.id


def _asked_again(row: LedgerRow) -> bool:
    """A record that failed in an earlier run and was reopened: nothing of it has come yet."""
    return row.state is RecordState.PENDING and not row.original


def _read(source: Source, ehr: Ehr, kind: str, id_: str) -> None:
    try:
        answer = ehr.read(f"{kind}/{id_}")
        resource = json.load_object(answer.body or b"")
        if resource.get("resourceType") != kind:
            raise NotFhir(f"a {kind} was asked for and something else came")
    except BridgeError as error:
        source.shelf.see(source.case.id, _failed(source.id, kind, id_, error))
        return
    key = key_of(source.id, resource)
    source.shelf.see(
        source.case.id,
        LedgerRow(key, original=answer.original.id),
        source.event(Happened.RECORDS_SEEN, type=kind, count=1),
        base=ehr.base,
        attachments=tuple(named(key, resource, ehr.base)),
    )


def _failed(source: str, kind: str, id_: str, error: BridgeError) -> LedgerRow:
    return LedgerRow(
        RecordKey(source, kind, id_),
        RecordState.FAILED,
        rule="read",
        reason=error.advice,
        error_code=error.code,
        attempts=1,
    )
