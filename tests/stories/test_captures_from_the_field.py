"""
Answers captured from other systems pass from the store to the ledger, each to an end with a reason.

They are read where they lie (FHIR_BRIDGE_CAPTURES, or `../shared/payloads` beside the project) and
are no part of it. Each capture has a hospital of its own, which answers the search for documents
with it as records or as a file, and the search for reports with its bare bytes.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.case.certificate import COMPLETE
from fhir_bridge.case.imaging import Arrival
from fhir_bridge.case.ledger import LedgerRow
from fhir_bridge.case.original import How
from fhir_bridge.case.slice import Slice
from fhir_bridge.errors import BridgeError
from fhir_bridge.security.access import LOCAL
from fhir_bridge.settings import Settings
from fhir_bridge.standards.fhir import json

from .. import small_case as small

BESIDE = Path(__file__).parents[3] / "shared" / "payloads"
CAPTURES = Path(os.environ.get("FHIR_BRIDGE_CAPTURES", BESIDE))
FILES = sorted(p for p in CAPTURES.rglob("*") if p.is_file() and p.name != "INDEX.md")
EMPTY = b'{"resourceType":"Bundle","type":"searchset","total":0}'
TYPES_OF = {
    ".json": "application/fhir+json", ".xml": "application/xml", ".html": "text/html",
    ".ndjson": "application/fhir+ndjson", ".dcm": "application/dicom",
}  # fmt: skip

pytestmark = pytest.mark.skipif(
    not FILES, reason=f"no captures at {CAPTURES.name}: set FHIR_BRIDGE_CAPTURES to their folder"
)


def documents(capture: bytes, name: str) -> bytes:
    """A searchset of a capture: as it is, its resources spliced in unchanged, or as one file."""
    try:
        resource = json.load_object(capture)
    except BridgeError:
        resource = {}
    if resource.get("resourceType") == "Bundle" and resource.get("type") == "searchset":
        return capture
    bare = capture.removeprefix(b"\xef\xbb\xbf")
    entries = [bare] if "resourceType" in resource else [_holding(name)]
    if name.endswith(".ndjson"):
        entries = bare.splitlines()
    spliced = b",".join(b'{"resource":' + entry + b"}" for entry in entries)
    return b'{"resourceType":"Bundle","type":"searchset","entry":[' + spliced + b"]}"


def _holding(name: str) -> bytes:
    attachment = {"contentType": TYPES_OF.get(Path(name).suffix, "text/plain"), "url": "Binary/c"}
    return json.dumps(
        {
            "resourceType": "DocumentReference", "id": "capture", "status": "current",
            "subject": {"reference": "Patient/p-1"}, "content": [{"attachment": attachment}],
        }
    )  # fmt: skip


def answer(number: int, path: str) -> tuple[int, str, bytes]:
    """What hospital `number` says: status, content type, body."""
    capture, name = FILES[number].read_bytes(), FILES[number].name
    fhir, raw = TYPES_OF[".json"], TYPES_OF.get(FILES[number].suffix, "text/plain")
    patient = {**small.patient(small.words()), "id": "p-1"}
    found = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": patient}]}
    ours: dict[str, bytes] = {
        "metadata": b'{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}',
        "Patient/_search": json.dumps(found),
        "Patient/p-1": json.dumps(patient),
        "DocumentReference": documents(capture, name),
        "ImagingStudy": EMPTY,
    }
    if path in ours:
        return 200, fhir, ours[path]
    # Every other read answers the capture as well: mostly not the record that was asked for.
    known = path == "DiagnosticReport" or path.count("/") == 1
    return (200, raw, capture) if known else (404, "text/plain", b"not here")


class Door(BaseHTTPRequestHandler):
    """All hospitals behind one port: /NUMBER/fhir/..."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        _, number, _, *rest = urlsplit(self.path).path.split("/")
        status, kind, body = answer(int(number), "/".join(rest))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """The ledger and the slices of the one case that draws on every capture's hospital."""

    rows: Sequence[LedgerRow]
    slices: Mapping[tuple[str, str], Slice]
    grades: Mapping[tuple[str, str], str]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge.open(Settings.load(data=tmp_path_factory.mktemp("captures") / "bridge")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pulled(bridge: Bridge) -> Iterator[Pulled]:
    """Every step of a pull, by hand: the order is tested elsewhere, here it is the content."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names = [f"capture-{number}" for number in range(len(FILES))]
        for number, name in enumerate(names):
            base = f"http://127.0.0.1:{server.server_port}/{number}/fhir"
            bridge.add_provider(TreatingProvider(id=name, name=name, fhir=base))
        patient = small.patient(small.words())
        case = bridge.new_case(LOCAL, patient, "oncology", "Is it so?", names)
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda name: _pull(bridge, case, name), names))
        bridge.assembling.assemble(case)
        slices = {(s.source, s.type): s for s in bridge.store.ledgers.slices(case)}
        lines = {(x["source"], x["type"]): x["grade"] for x in bridge.certificate(case)}
        yield Pulled(bridge.store.ledgers.rows(case), slices, lines)
        server.shutdown()


def _pull(bridge: Bridge, case: str, source: str) -> None:
    steps = bridge.pulling
    assert steps.connect(case, source, 1)["ready"], source
    rounds = 0
    while (ended := steps.collect(case, source, impatient=True))["more"]:
        rounds += 1
        assert rounds < 20, f"{source} is never done"
        time.sleep(ended["rest"])
    while steps.image(case, source, 1):
        continue
    steps.close(case, source)


def test_every_record_of_every_capture_ends_with_a_state_and_a_reason(pulled: Pulled) -> None:
    states = Counter(row.state.value for row in pulled.rows)
    print(f"\n{len(FILES)} captures, {len(pulled.rows)} records: {dict(states)}")
    assert states["pending"] == 0
    without = [row for row in pulled.rows if row.state.value != "kept" and not row.reason]
    assert without == []


def test_every_capture_leaves_a_trace_in_the_ledger(pulled: Pulled) -> None:
    sources = {row.key.source for row in pulled.rows if row.key.kind != "Patient"}
    silent = [FILES[n].name for n in range(len(FILES)) if f"capture-{n}" not in sources]
    answered = [n for n in silent if b'"entry"' in next(CAPTURES.rglob(n)).read_bytes()]
    assert answered == []


def test_bytes_that_are_no_searchset_are_never_called_complete(pulled: Pulled) -> None:
    for number, file in enumerate(FILES):
        key = (f"capture-{number}", "DiagnosticReport")
        assert pulled.slices[key].ended
        if b'"searchset"' not in file.read_bytes():
            assert pulled.grades[key] not in COMPLETE, file.name


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_capture_that_comes_as_an_image_is_stored_or_refused_with_a_reason(
    bridge: Bridge, file: Path
) -> None:
    """Whatever arrives at the receiver: bytes are kept, and only a typed error comes out."""
    arrival = Arrival(
        source="push:FIELD", how=How.C_STORE, request="C-STORE", chunks=[file.read_bytes()],
        part10=True, pushed=True,
    )  # fmt: skip
    code = ""
    try:
        stored = bridge.receiver.accept(arrival)
    except BridgeError as error:
        code = error.code
    assert code.startswith("FB-") if code else stored.sop_uid
