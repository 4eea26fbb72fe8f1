"""The whole job as the peer tests run it: a fixture case, a real bridge, pull to read-back."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from fhir_bridge.case.case import PinState
from fhir_bridge.case.ledger import ATTACHMENT, INSTANCE, RecordState, count_states
from fhir_bridge.errors import NotReady
from fhir_bridge.pipeline.pull.patient import RULE
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.standards.fhir import json
from fhir_bridge.steps.pulling import is_complete, lines

from .charts import LISTED, Json, LoadedChart, attachments
from .peer import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from fhir_bridge.bridge import Bridge
    from fhir_bridge.case.delivery import Delivery
    from fhir_bridge.case.ledger import RecordKey

    from .fhir_server import FhirServer
    from .validator import Judges

SPECIALTIES = ("oncology", "neurology", "neurosurgery", "cardiology", "gastroenterology")
OURS = frozenset({"Composition", "Organization", "Patient", "Provenance"})
"""Entries that the bridge makes; an Organization and a Patient may be the hospital's as well."""
NO_ERRORS: Mapping[str, list[str]] = {"hapi": [], "medplum": [], "fhirkit": []}


@contextmanager
def running_bridge(folder: Path, **settings: Any) -> Iterator[Bridge]:
    """A whole bridge in this process; one at a time, because the job engine is the process's."""
    given = {"data": folder, "port": free_port(), "dimse_port": free_port(), "log_level": "WARNING"}
    with serving(Settings.load(**{**given, **settings})) as bridge:
        yield bridge


class Chart(LoadedChart):
    """One fixture case: what its treating hospital holds, and what the programme knows of it."""

    def __init__(self, specialty: str) -> None:
        self.specialty = specialty
        self.folder = ROOT / "fixtures" / "cases" / specialty
        self.opinion = (self.folder / "opinion.md").read_bytes()
        super().__init__(self._resources(), self._files())

    def _resources(self) -> Iterator[Json]:
        """Everything of the EHR but its files, digits as in the fixture."""
        for file in sorted((self.folder / "ehr").glob("[A-Z]*.json")):
            yield from json.loads(file.read_bytes())

    def _files(self) -> Mapping[str, tuple[str, bytes]]:
        with (self.folder / "ehr" / "binaries.csv").open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        folder = self.folder / "files"
        return {
            f"Binary/{row['id']}": (row["content_type"], (folder / row["file"]).read_bytes())
            for row in rows
        }


def open_case(bridge: Bridge, chart: Chart, *sources: str, case_id: str | None = None) -> str:
    """What the nurse types: the patient, the question, who treats."""
    case = json.load_object((chart.folder / "case.json").read_bytes())
    patient = json.load_object((chart.folder / "patient.json").read_bytes())
    return bridge.new_case(
        LOCAL, patient, case["specialty"], case["question"], sources, case_id=case_id
    )


def pull(bridge: Bridge, case_id: str) -> Mapping[str, Any]:
    """Pull every source of a case and wait for the end; the result of the workflow."""
    return bridge.engine.result(bridge.begin_pull(LOCAL, case_id, None))


def grades(bridge: Bridge, case_id: str) -> dict[str, str]:
    """Type -> grade, of a case with one source."""
    return {line["type"]: line["grade"] for line in bridge.certificate(case_id)}


def whole_job(
    bridge: Bridge, chart: Chart, server: FhirServer, source: str, judges: Judges
) -> Mapping[str, str]:
    """
    One case from an empty bridge to the confirmed opinion, looked at from all sides.

    The server gets the chart first and keeps the opinion. Returns the grades of the pull.
    """
    chart.load_into(server)
    case_id = open_case(bridge, chart, source)
    (end,) = pull(bridge, case_id)["sources"]
    assert end["state"] == "done", end
    check_patient(bridge, case_id, chart)
    check_records(bridge, case_id, chart)
    check_attachments(bridge, case_id, chart)
    check_ledger(bridge, case_id)
    found = grades(bridge, case_id)
    release(bridge, case_id)
    check_delivered(bridge, case_id, chart, server)
    check_judged(bridge, case_id, judges)
    return found


def release(bridge: Bridge, case_id: str) -> None:
    """What is complete is released by rule; for anything less a person says why."""
    complete = is_complete(lines(bridge.store, case_id), bridge.store.cases.get(case_id))
    if not complete:
        with pytest.raises(NotReady):
            bridge.release(LOCAL, case_id, "")
        bridge.release(LOCAL, case_id, "what is missing does not bear on the question")
        check_ledger(bridge, case_id)
    record = bridge.store.records.get(case_id)
    assert record.released_by == ("rule" if complete else LOCAL.name)


def documents(bridge: Bridge, case_id: str) -> tuple[bytes, bytes]:
    """The newest case record and the newest opinion, as FHIR documents."""
    record = bridge.store.records.get(case_id)
    opinion = bridge.store.opinions.of_case(case_id)[0]
    return bridge.store.records.document(record), bridge.store.opinions.read(opinion.document)


def check_judged(bridge: Bridge, case_id: str, judges: Judges) -> None:
    """No judge finds an error in the case record or in the opinion."""
    for document in documents(bridge, case_id):
        assert judges.judge(document) == NO_ERRORS


def check_patient(bridge: Bridge, case_id: str, chart: Chart) -> None:
    """The right patient was accepted, and by the rule: no person was asked."""
    (pin,) = bridge.store.cases.pins(case_id)
    assert (pin.state, pin.patient_id) == (PinState.ACCEPTED, chart.patient)
    assert pin.decided_by == RULE


def check_ledger(bridge: Bridge, case_id: str) -> None:
    """Every record has an end, and every entry of the case record that is not ours has a row."""
    rows = bridge.store.ledgers.rows(case_id)
    states = count_states(rows)
    assert states[RecordState.PENDING] == 0
    assert sum(states.values()) == len(rows)
    entries = case_record(bridge, case_id)["entry"]
    kept = {row.entry for row in rows if row.state is RecordState.KEPT}
    assert kept <= {entry["fullUrl"] for entry in entries}
    ours = {e["resource"]["resourceType"] for e in entries if e["fullUrl"] not in kept}
    assert ours <= OURS


def case_record(bridge: Bridge, case_id: str) -> Json:
    """The newest case record."""
    return json.load_object(bridge.store.records.document(bridge.store.records.get(case_id)))


def check_records(bridge: Bridge, case_id: str, chart: LoadedChart) -> None:
    """
    What was pulled is what was loaded: ids per listed type, and all that they lead to.

    What they refer to and the hospital does not have is named as missing, one by one.
    """
    rows = bridge.store.ledgers.rows(case_id)
    records = [row for row in rows if row.key.kind not in (ATTACHMENT, INSTANCE)]
    failed = {_reference(row.key) for row in records if row.state is RecordState.FAILED}
    came = {_reference(row.key) for row in records} - failed
    assert {kind: _ids(came, kind) for kind in LISTED} == {
        kind: _ids(chart.reachable, kind) for kind in LISTED
    }
    assert came == chart.reachable
    assert failed == chart.absent


def _reference(key: RecordKey) -> str:
    return f"{key.kind}/{key.id}"


def _ids(references: AbstractSet[str], kind: str) -> set[str]:
    return {one.removeprefix(f"{kind}/") for one in references if one.startswith(f"{kind}/")}


def check_attachments(bridge: Bridge, case_id: str, chart: LoadedChart) -> None:
    """Every content that the hospital has is held, byte for byte, under the record it is of."""
    held: dict[str, Counter[str]] = {}
    for one in bridge.store.ledgers.attachments(case_id):
        if one.sha256:
            assert hashlib.sha256(bridge.store.originals.read(one.sha256)).hexdigest() == one.sha256
            held.setdefault(f"{one.parent.kind}/{one.parent.id}", Counter())[one.sha256] += 1
    assert held == dict(chart.attachments)


def finish(bridge: Bridge, case_id: str, chart: Chart) -> Delivery:
    """Sign the prepared opinion and wait for the end of its delivery."""
    bridge.desk.finish(LOCAL, case_id, chart.opinion, kind="md")
    bridge.desk.wait(case_id)
    (delivery,) = bridge.store.opinions.deliveries(case_id)
    return delivery


def check_delivered(bridge: Bridge, case_id: str, chart: Chart, server: FhirServer) -> None:
    """Confirmed; once in the chart, with the signed bytes; and a second click adds nothing."""
    first = finish(bridge, case_id, chart)
    assert (first.state.value, first.read_back, first.attempts) == ("confirmed", "equal", 1)
    assert opinions_in_chart(server, chart.patient, first.identifier) == [first.location]
    signed = bridge.store.opinions.of_case(case_id)[0]
    shown = [_shown(server, one) for one in attachments(server.read(f"/{first.location}"))]
    assert [hashlib.sha256(body).hexdigest() for body in shown] == [signed.pdf, signed.document]
    again = finish(bridge, case_id, chart)
    assert again == first
    assert opinions_in_chart(server, chart.patient, first.identifier) == [first.location]


def _shown(server: FhirServer, attachment: Mapping[str, Any]) -> bytes:
    if "data" in attachment:
        return base64.b64decode(attachment["data"])
    path = attachment["url"].removeprefix(server.base).removeprefix("/")
    return base64.b64decode(server.read(f"/{path}")["data"])


def opinions_in_chart(server: FhirServer, patient: str, identifier: str) -> list[str]:
    """`DocumentReference/id` of every document of the patient that carries our identifier."""
    found, path = [], f"/DocumentReference?patient={patient}&_count=50"
    while path:
        page = server.read(path)
        for entry in page.get("entry", ()):
            document = entry["resource"]
            named = [document.get("masterIdentifier", {}), *document.get("identifier", ())]
            if identifier in [one.get("value") for one in named]:
                found.append(f"DocumentReference/{document['id']}")
        links = {link["relation"]: link["url"] for link in page.get("link", ())}
        path = links.get("next", "").removeprefix(server.base)
    return found
