"""A server that sends what no standard foresees: no crash, each record has its end, no way out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.standards.fhir import json

from ..doors import Desk, free_port

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "urn:mrn", "value": "4711"}],
    "name": [{"family": "Strange", "given": ["Day"]}],
    "birthDate": "1961-03-14",
}


class Elsewhere(ThreadingHTTPServer):
    """Answers each path with what was put there, and writes down who came."""

    daemon_threads = True

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answering(BaseHTTPRequestHandler):
    server: Elsewhere

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        found = self.server.pages.get(path)
        body = json.dumps(found or {"resourceType": "OperationOutcome", "issue": []})
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""


@contextmanager
def listening() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def foreign() -> Iterator[Elsewhere]:
    """A server that nobody may be sent to."""
    with listening() as server:
        yield server


@pytest.fixture
def hospital() -> Iterator[Elsewhere]:
    """An EHR with one patient and empty lists."""
    with listening() as server:
        types = ("Patient", "DocumentReference", "DiagnosticReport", "ImagingStudy")
        search = [{"code": "read"}, {"code": "search-type"}]
        rest = [{"resource": [{"type": type_, "interaction": search} for type_ in types]}]
        server.pages["/fhir/metadata"] = {
            "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest,
        }  # fmt: skip
        server.pages["/fhir/Patient/_search"] = searchset(PATIENT)
        server.pages["/fhir/Patient/p1"] = PATIENT
        for type_ in types[1:]:
            server.pages[f"/fhir/{type_}"] = searchset()
        yield server


def searchset(*resources: Any) -> dict[str, Any]:
    entries = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


def document(number: int, attachment: Any) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": f"d{number}",
        "meta": {"versionId": "1"},
        "status": "current",
        "description": f"letter {number}",
        "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": attachment}],
    }


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    data = tmp_path / "a store ä"
    ports = {"FHIR_BRIDGE_PORT": str(free_port()), "FHIR_BRIDGE_DIMSE_PORT": "0"}
    return Desk(data, {"FHIR_BRIDGE_DATA": str(data), **ports})


def opened(desk: Desk, hospital: Elsewhere) -> str:
    desk.type("provider", "add", "Strange", "--fhir", f"{hospital.url}/fhir")
    patient = desk.data.parent / "patient.json"
    patient.write_bytes(json.dumps(PATIENT))
    words = ("--patient", patient, "--specialty", "oncology", "--question", "Is it?")
    return str(desk.type("case", "new", *words, "--provider", "strange", "--json").json["case"])


def states(desk: Desk, case: str) -> dict[str, int]:
    told = desk.type("case", "ledger", case, "--json").json
    found = {state: count for state, count in told["states"].items() if count}
    assert sum(found.values()) == told["seen"]
    assert "pending" not in found
    return found


def test_whatever_stands_as_an_address_is_settled_and_leads_nowhere_else(
    desk: Desk, hospital: Elsewhere, foreign: Elsewhere
) -> None:
    addresses: list[Any] = [
        "http://[bad", "http://\u2100.example/x", "http://127.0.0.1:99999999/x", " ", "#nothing",
        "data:text/plain,hello", "file:///etc/hostname", "javascript:alert(1)", "x" * 70_000,
        f"{foreign.url}/steal", f"//127.0.0.1:{foreign.server_port}/steal",
        f"{hospital.url}@127.0.0.1:{foreign.server_port}/steal", "Binary/a b\r\nX-Evil: 1",
        "Binary/../../admin", "Binary/nul\0", 5, True, ["Binary/1"], {"a": 1},
    ]  # fmt: skip
    letters = [document(n, {"url": url}) for n, url in enumerate(addresses)]
    hospital.pages["/fhir/DocumentReference"] = searchset(*letters)
    case = opened(desk, hospital)
    desk.type("pull", case, code=3)
    assert states(desk, case)["failed"] == 12  # two lead to the same place
    grades = {r["type"]: r["grade"] for r in desk.type("case", "certificate", case, "--json").json}
    assert grades["DocumentReference"] == "short"
    assert desk.type("case", "record", case, "--out", desk.data.parent / "record.json").code == 0
    assert foreign.asked == []


def test_a_mistyped_patient_number_makes_no_empty_complete_case(
    desk: Desk, hospital: Elsewhere
) -> None:
    hospital.pages["/fhir/DocumentReference"] = searchset(document(1, {"data": "aGVsbG8="}))
    case = opened(desk, hospital)
    desk.type("case", "confirm", case, "--provider", "strange", "--patient-id", "p11")
    desk.type("pull", case, code=4)
    assert "/fhir/DocumentReference" not in hospital.asked
    assert "not ready" in desk.type("case", "record", case, code=3).err
