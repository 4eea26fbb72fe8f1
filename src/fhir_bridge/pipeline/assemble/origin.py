"""Where everything comes from: one Provenance a source, and the programme that put it together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_bridge.case.ids import bridge_id, urn
from fhir_bridge.case.ledger import ATTACHMENT, INSTANCE, RecordKey
from fhir_bridge.case.record import Entry

SOURCE_SYSTEM = "urn:fhir-bridge:source:"
PROGRAMME_NAME = "Second opinion programme"
_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
# A version of 64 hex digits is a hash of the entry, which may hold addresses with ports.
_LONGEST_VERSION = 63


def programme() -> Entry:
    """The organisation that assembled the record."""
    id_ = bridge_id("fhir-bridge", "Organization", "programme")
    resource = {"resourceType": "Organization", "id": id_, "name": PROGRAMME_NAME}
    return Entry(urn(id_), resource)


def provenances(
    case_id: str, entries: Sequence[Entry], *, recorded: str, tables: str, author: str
) -> list[Entry]:
    """
    One Provenance for each source: which entries stand on which of its records (R4 6.3).

    `recorded` is the time of the evidence; `tables` the hash of the tables that decided, cited as
    the policy of the activity; `author` the fullUrl of the programme.
    """
    common = {
        "resourceType": "Provenance",
        "recorded": recorded,
        "policy": [f"urn:sha256:{tables}"],
    }
    assembler = {"type": _role("assembler"), "who": {"reference": author}}
    made = []
    for source in sorted({key.source for entry in entries for key in entry.sources}):
        id_ = bridge_id(case_id, "Provenance", source)
        custodian = {"type": _role("custodian"), "who": {"display": source}}
        resource = {**common, "id": id_, "agent": [assembler, custodian]}
        made.append(Entry(urn(id_), {**resource, **_stands_on(source, entries)}))
    return made


def _stands_on(source: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """The entries that come from a source, and what it calls the records behind them."""
    theirs = [e for e in entries if any(key.source == source for key in e.sources)]
    keys = sorted({key for e in theirs for key in e.sources if key.source == source})
    entities = [_entity(key) for key in keys if key.kind not in (ATTACHMENT, INSTANCE)]
    targets = [{"reference": entry.full_url} for entry in theirs]
    return {"target": targets, **({"entity": entities} if entities else {})}


def _role(code: str) -> dict[str, Any]:
    return {"coding": [{"system": _AGENT, "code": code}]}


def _entity(key: RecordKey) -> dict[str, Any]:
    version = f"/_history/{key.version}" if 0 < len(key.version) <= _LONGEST_VERSION else ""
    identifier = {
        "system": SOURCE_SYSTEM + key.source,
        "value": f"{key.kind}/{key.id}{version}",
    }
    return {"role": "source", "what": {"identifier": identifier}}
