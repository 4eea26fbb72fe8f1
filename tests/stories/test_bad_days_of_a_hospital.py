"""
Every bad day of a hospital: what a pull and a delivery make of it, told with the right word.

One bridge serves all hospitals of this file at the same time, each with a fault of its own.
"""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import exits
from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import Auth, TreatingProvider
from fhir_bridge.case.delivery import Delivery
from fhir_bridge.case.ledger import LedgerRow
from fhir_bridge.case.slice import kind_of
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital
from fhir_bridge.standards.fhir import json
from fhir_bridge.store.cases import parse_node

from .. import small_case as small
from ..doors import free_port
from ..small_case import DOCUMENTS, IMAGES, REPORTS

DOCUMENT, REPORT, IMAGE = "DocumentReference", "DiagnosticReport", "DICOM images"
BOTH = (DOCUMENT, REPORT)
COMPLETE = {"consistent", "proven"}


@dataclass(frozen=True, slots=True)
class Day:
    """
    A fault and what must be told of it: exit code, and the grade of what it spoils.

    The lists of `mended` types lose records, all of which are found by asking in another way.
    """

    fault: str
    code: int
    grades: Mapping[str, str] = field(default_factory=dict)
    images: bool = False
    mended: tuple[str, ...] = ()


BAD_DAYS = (
    Day("drop-next", 0, {DOCUMENT: "consistent", REPORT: "consistent"}, mended=(DOCUMENT,)),
    Day("loop-next", 0, {DOCUMENT: "consistent", REPORT: "consistent"}, mended=BOTH),
    Day("truncated-page", 0, {DOCUMENT: "consistent", REPORT: "consistent"}, mended=BOTH),
    Day("page-outcome", 0, {DOCUMENT: "consistent", REPORT: "consistent"}, mended=BOTH),
    Day(
        "drop-next-no-total", 0, {DOCUMENT: "consistent", REPORT: "consistent"}, mended=(DOCUMENT,)
    ),
    Day("drop-next-total-agrees", 0, {DOCUMENT: "consistent"}, mended=(DOCUMENT,)),
    Day("page-suppressed", 3, {DOCUMENT: "short", REPORT: "short"}),
    Day("more-data-may-exist", 3, {DOCUMENT: "short", REPORT: "short"}),
    Day("page-500-once", 0, {DOCUMENT: "consistent", REPORT: "consistent"}),
    Day("page-429-once", 0, {DOCUMENT: "consistent", REPORT: "consistent"}),
    Day("slow-pages", 0, {DOCUMENT: "consistent"}),
    Day("total-lies", 0, {DOCUMENT: "consistent"}),
    Day("other-patient-in-page", 3, {DOCUMENT: "unknown", REPORT: "consistent"}),
    Day("refuse-diagnostic-reports", 3, {REPORT: "refused", DOCUMENT: "consistent"}),
    Day("token-expires", 0, {DOCUMENT: "consistent", REPORT: "consistent"}),
    Day("foreign-attachment", 3, {DOCUMENT: "short", REPORT: "consistent"}),
    Day("two-candidates", 4),
    Day("no-get", 0, {IMAGE: "proven"}, images=True),
    Day("no-wado", 0, {IMAGE: "proven"}, images=True),
    Day("wado-broken-stream", 0, {IMAGE: "proven"}, images=True),
    Day("slow-images", 0, {IMAGE: "proven"}, images=True),
)
DELIVERIES = {
    "accept-then-timeout": (0, "confirmed", "equal", 1),
    "create-500-after-commit": (0, "confirmed", "equal", 1),
    "index-lag": (0, "confirmed", "equal", 1),
    "rewrites-document": (0, "confirmed", "rewritten", 1),
    "create-refused": (4, "held", None, 0),
}


@dataclass(slots=True)
class Stay:
    """One hospital, its case, and what came of it."""

    bridge: Bridge
    hospital: RunningHospital
    source: str
    case: str
    charted: Mapping[str, frozenset[str]]
    workflow: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int:
        return exits.of_pull(self.result, self.bridge.certificate(self.case))

    @property
    def lines(self) -> dict[str, dict[str, Any]]:
        return {line["type"]: line for line in self.bridge.certificate(self.case)}

    @property
    def rows(self) -> list[LedgerRow]:
        return list(self.bridge.store.ledgers.rows(self.case))

    def missing(self, kind: str) -> frozenset[str]:
        """The ids of the chart that the ledger of the case does not know."""
        return self.charted.get(kind, frozenset()) - {
            row.key.id for row in self.rows if row.key.kind == kind
        }

    @property
    def delivery(self) -> Delivery:
        [only] = self.bridge.store.opinions.deliveries(self.case)
        return only

    def control(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.hospital.urls['control']}/{path}") as answer:
            return json.loads(answer.read())

    def asked_for(self) -> Counter[str]:
        """How often each kind of thing was asked of its FHIR endpoint."""
        paths = [one["path"].split("/") for one in self.control("requests")]
        return Counter(path[2] for path in paths if path[1] == "fhir")


Ward = Mapping[str, Stay]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    folder = tmp_path_factory.mktemp("ward") / "bridge"
    ports = {"port": free_port(), "dimse_port": free_port()}
    with serving(Settings.load(data=folder, workers=8, log_level="ERROR", **ports)) as opened:
        yield opened


@pytest.fixture(scope="module")
def ward(
    bridge: Bridge, small_case: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ward]:
    """All hospitals at once: their pulls run beside each other, then their deliveries."""
    papers = small.write(tmp_path_factory.mktemp("papers") / "case", images=False)
    days = [*BAD_DAYS, *(Day(fault, 0) for fault in DELIVERIES)]
    running: list[RunningHospital] = []
    with ThreadPoolExecutor(4) as pool:

        def admit(day: Day) -> Stay:
            state = tmp_path_factory.mktemp(day.fault)
            data = small_case if day.images else papers
            hospital = start_hospital(_options(bridge, data, state, day))
            running.append(hospital)
            return _introduced(bridge, hospital, data, day.fault)

        stays = {day.fault: stay for day, stay in zip(days, pool.map(admit, days), strict=True)}
        for stay in stays.values():
            stay.workflow = bridge.begin_pull(LOCAL, stay.case, None)
        for stay in stays.values():
            stay.result = bridge.engine.result(stay.workflow)
        opinion = (small_case / "opinion.md").read_bytes()
        for fault in DELIVERIES:
            bridge.desk.finish(LOCAL, stays[fault].case, opinion, kind="md")
        for fault in DELIVERIES:
            bridge.desk.wait(stays[fault].case)
        yield stays
        list(pool.map(RunningHospital.stop, running))


def _options(bridge: Bridge, data: Path, state: Path, day: Day) -> Options:
    return Options(
        data=data,
        state=state,
        client_id="ward",
        jwks_url=f"{bridge.public_url}/.well-known/jwks.json",
        bridge_dimse=f"FHIRBRIDGE@127.0.0.1:{bridge.dimse_port}",
        only=None if day.images else "ehr",
        faults=(day.fault,),
    )


def _introduced(bridge: Bridge, hospital: RunningHospital, data: Path, name: str) -> Stay:
    urls = hospital.urls
    provider = TreatingProvider(
        id=name,
        name=name,
        fhir=str(urls["fhir"]),
        auth=Auth.PRIVATE_KEY_JWT,
        client_id="ward",
        dimse=parse_node(urls["dimse"] or ""),
        dicomweb=urls["dicomweb"] or "",
    )
    bridge.add_provider(provider)
    patient = json.load_object((data / "patient.json").read_bytes())
    case = bridge.new_case(LOCAL, patient, "oncology", "Is it so?", [name])
    return Stay(bridge, hospital, name, case, _charted(data))


def _charted(data: Path) -> dict[str, frozenset[str]]:
    """The ids of all that a hospital's chart holds, by resource type, before any fault."""
    folder = data / "ehr"
    files = [file for file in folder.glob("*.json") if file.stem != "decoy-patient"]
    return {
        file.stem: frozenset(one["id"] for one in json.loads(file.read_bytes())) for file in files
    }


@pytest.mark.parametrize("day", BAD_DAYS, ids=lambda day: day.fault)
def test_a_bad_day_is_told_by_its_exit_code_and_its_grades(ward: Ward, day: Day) -> None:
    stay = ward[day.fault]
    grades = {type_: line["grade"] for type_, line in stay.lines.items()}
    assert (stay.code, {type_: grades[type_] for type_ in day.grades}) == (day.code, day.grades)


@pytest.mark.parametrize("day", BAD_DAYS, ids=lambda day: day.fault)
def test_no_bad_day_is_called_complete_when_something_is_missing(ward: Ward, day: Day) -> None:
    """What the chart holds is the truth, whatever the hospital answers, for every type."""
    stay = ward[day.fault]
    assert (len(stay.charted[DOCUMENT]), len(stay.charted[REPORT])) == (DOCUMENTS, REPORTS)
    for type_, line in stay.lines.items():
        kind = kind_of(type_)
        there = IMAGES * day.images if kind == IMAGE else len(stay.charted.get(kind, ()))
        if line["got"] < there or stay.missing(kind):
            assert line["grade"] not in COMPLETE, line


@pytest.mark.parametrize("day", [day for day in BAD_DAYS if day.mended], ids=lambda day: day.fault)
def test_what_a_broken_list_left_out_is_found_and_told(ward: Ward, day: Day) -> None:
    stay = ward[day.fault]
    for type_ in day.mended:
        line = stay.lines[type_]
        assert {one["code"] for one in line["findings"]} & {"found-by-witness", "chain-mended"}
        assert "by date" in line["agreed"]
        assert not stay.missing(type_)


@pytest.mark.parametrize("day", BAD_DAYS, ids=lambda day: day.fault)
def test_the_sums_of_every_bad_day_balance(ward: Ward, day: Day) -> None:
    states = Counter(row.state.value for row in ward[day.fault].rows)
    if day.code != 4:
        assert states["kept"] > 0
    assert states["pending"] == 0
    assert all(row.reason or row.rule for row in ward[day.fault].rows if row.state.value != "kept")


def test_what_the_hospital_refuses_does_not_stop_the_rest(ward: Ward) -> None:
    lines = ward["refuse-diagnostic-reports"].lines
    assert lines[DOCUMENT]["got"] == DOCUMENTS
    assert lines[REPORT]["got"] == 0
    assert "refused" in lines[REPORT]["reason"].lower()


def test_a_record_of_somebody_else_is_set_aside_alone(ward: Ward) -> None:
    """A list that holds a stranger's record proves nothing; the case names it and leaves it out."""
    stay = ward["other-patient-in-page"]
    [aside] = [row for row in stay.rows if row.state.value == "quarantined"]
    assert (aside.key.kind, aside.entry) == (DOCUMENT, "")
    kept = [row for row in stay.rows if row.key.kind == DOCUMENT and row.state.value == "kept"]
    assert len(kept) == DOCUMENTS
    record = stay.bridge.store.records.document(stay.bridge.store.records.get(stay.case))
    entries = [entry["resource"] for entry in json.load_object(record)["entry"]]
    assert sum(entry["resourceType"] == DOCUMENT for entry in entries) == DOCUMENTS
    assert f"{DOCUMENT}/{aside.key.id}" in entries[0]["section"][-1]["text"]["div"]


def test_no_login_goes_to_a_foreign_server(ward: Ward) -> None:
    stay = ward["foreign-attachment"]
    assert stay.hospital.urls["foreign"]
    seen = stay.control("foreign")
    assert not seen["authorization"]
    assert all("authorization" not in visit["headers"] for visit in seen["visits"])
    failed = [row for row in stay.rows if row.state.value == "failed"]
    assert [row.error_code for row in failed] == ["FB-2009"]


def test_nothing_but_patients_is_asked_for_before_a_person_has_chosen(ward: Ward) -> None:
    """Then the choice is made, and the pull goes through."""
    stay = ward["two-candidates"]
    assert set(stay.asked_for()) <= {"Patient", "metadata", ".well-known"}
    assert stay.rows == []
    bridge, candidates = stay.bridge, stay.bridge.store.cases.pins(stay.case)[0].candidates
    assert sorted(candidate.id for candidate in candidates) == ["decoy", "p-1"]
    bridge.confirm_patient(LOCAL, stay.case, stay.source, "p-1")
    result = bridge.engine.result(bridge.begin_pull(LOCAL, stay.case, None))
    assert exits.of_pull(result, bridge.certificate(stay.case)) == 0
    assert stay.lines[DOCUMENT]["got"] == DOCUMENTS


@pytest.mark.parametrize("fault", DELIVERIES)
def test_an_opinion_stands_once_in_the_chart_or_waits_for_a_person(ward: Ward, fault: str) -> None:
    code, state, read_back, documents = DELIVERIES[fault]
    stay, delivery = ward[fault], ward[fault].delivery
    assert (delivery.state.value, delivery.read_back) == (state, read_back), delivery.reason
    assert len(stay.control("chart.json")["delivered"]) == documents
    assert exits.of_delivery(stay.bridge.deliveries(stay.case)) == code


def test_an_opinion_that_waits_says_why(ward: Ward) -> None:
    assert ward["create-refused"].delivery.reason
