"""Everything that the pulled records refer to, read one by one until nothing new is named."""

from __future__ import annotations

from fhir_bridge.case.events import Happened
from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState
from fhir_bridge.errors import BridgeError, Hostile, NotFhir
from fhir_bridge.pipeline.pull.attachments import named
from fhir_bridge.pipeline.pull.pages import key_of
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.pipeline.pull.targets import targets
from fhir_bridge.standards.fhir import json

# No chart refers to so much; a server that makes up a new reference in every answer would.
MAX_READS = 20_000


def read(source: Source, ehr: Ehr, kind: str, id_: str) -> None:
    """
    Read one record that others refer to, and note what it names in its turn.

    Raises StoreError; what goes wrong at the hospital stands in the rows.
    """
    try:
        if source.files.reads(source.case.id, source.id) >= MAX_READS:
            raise Hostile(f"more than {MAX_READS} references")
        answer = ehr.read(f"{kind}/{id_}")
        resource = json.load_object(answer.body or b"")
        if (resource.get("resourceType"), resource.get("id")) != (kind, id_):
            raise NotFhir(f"a {kind} was asked for and another record came")
    except BridgeError as error:
        if source.waits_out(error):
            raise
        source.shelf.see(source.case.id, _failed(source.id, kind, id_, error))
        return
    key = key_of(source.id, resource)
    source.shelf.see(
        source.case.id,
        LedgerRow(key, original=answer.original.id),
        source.event(Happened.RECORDS_SEEN, type=kind, count=1),
        base=ehr.base,
        attachments=tuple(named(key, resource, ehr.base)),
        targets=frozenset(targets(resource, ehr.base, ehr.base, patient=source.pin().patient_id)),
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
