"""The clients against the hospital in a box, a separate process that speaks only over its ports."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import simplejson
from joserfc.jwk import KeySet

from fhir_bridge.case.case import DimseNode
from fhir_bridge.clients.dicomweb import DicomWebClient
from fhir_bridge.clients.dimse import DimseClient
from fhir_bridge.clients.fhir import FhirClient
from fhir_bridge.clients.smart import Tokens

from .images import PATIENT_ID, STUDY, image, part10
from .scripted import says, scripted_server
from .test_smart import KEYS, Keys

PDF = b"%PDF-1.7 a letter\n"
DOCUMENTS = 13


def resource(kind: str, identity: str, **rest):
    return {"resourceType": kind, "id": identity, "meta": {"versionId": "1"}, **rest}


def write_case(folder) -> None:
    about = {"reference": "Patient/p-1"}
    attachment = {"contentType": "application/pdf", "url": "Binary/b-1"}
    documents = [
        resource("DocumentReference", f"d-{n}", status="current", subject=about,
                 content=[{"attachment": attachment}])
        for n in range(DOCUMENTS)
    ]  # fmt: skip
    records = {
        "Patient": [resource("Patient", "p-1", identifier=[{"value": PATIENT_ID}])],
        "DocumentReference": documents,
    }
    for name in ("ehr", "files", "dicom"):
        (folder / name).mkdir()
    for kind, many in records.items():
        (folder / "ehr" / f"{kind}.json").write_text(simplejson.dumps(many))
    (folder / "ehr" / "binaries.csv").write_text(
        "id,file,content_type\nb-1,a.pdf,application/pdf\n"
    )
    (folder / "files" / "a.pdf").write_bytes(PDF)
    for number in range(1, 4):
        (folder / "dicom" / f"{number}.dcm").write_bytes(part10(image(number)))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """The URLs of a hospital that knows our public keys."""
    case, state = tmp_path_factory.mktemp("case"), tmp_path_factory.mktemp("state")
    write_case(case)
    with scripted_server() as ours:
        public = simplejson.dumps(KeySet(list(KEYS.values())).as_dict(private=False)).encode()
        ours.on("/jwks.json", says(200, public, {"Content-Type": "application/json"}))
        command = [
            sys.executable, "-m", "fhir_bridge.simulators", "--data", case, "--state", state,
            "--client-id", "bridge-1", "--jwks-url", f"{ours.url}/jwks.json",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            yield simplejson.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            process.stdin.close()
            process.stdout.close()


@pytest.fixture
def chart(hospital, open_wire):
    wire = open_wire(hospital["fhir"])
    tokens = Tokens(wire, hospital["fhir"], "bridge-1", signer=Keys())
    return FhirClient(hospital["fhir"], wire.with_login(tokens))


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
def test_the_hospital_accepts_our_assertion(hospital, open_wire, algorithm):
    wire = open_wire(hospital["fhir"])
    tokens = Tokens(wire, hospital["fhir"], "bridge-1", signer=Keys(algorithm))
    assert tokens.header().startswith("Bearer ")


def test_all_pages_of_a_search_come_by_their_next_links(chart, keep):
    answer, seen = chart.search("DocumentReference", [("patient", "p-1"), ("_count", "5")]), []
    while True:
        bundle = simplejson.loads(answer.body)
        seen += [entry["resource"]["id"] for entry in bundle["entry"]]
        following = [one["url"] for one in bundle["link"] if one["relation"] == "next"]
        if not following:
            break
        answer = chart.follow(following[0], previous=answer.original.id)
    assert sorted(seen) == sorted(f"d-{n}" for n in range(DOCUMENTS))
    pages = [row for row in keep.rows if "DocumentReference" in row.request]
    assert [row.previous for row in pages[1:]] == [row.id for row in pages[:-1]]


def test_a_document_comes_as_it_is_and_one_goes_in_and_is_read_back(chart, keep):
    assert chart.capability().can("DocumentReference", "create")
    fetched = chart.fetch("Binary/b-1", content_type="application/pdf")
    assert keep.body(fetched.original) == PDF
    document = resource("DocumentReference", "x", status="current", content=[{"attachment": {}}])
    created = chart.create("DocumentReference", simplejson.dumps(document).encode())
    assert created.status == 201
    place = created.header("Location").partition("/_history")[0]
    assert simplejson.loads(chart.read(place, fresh=True).body)["status"] == "current"


def test_the_study_comes_by_wado_and_by_get_with_the_same_instances(hospital, chart):
    web = DicomWebClient(hospital["dicomweb"], chart.wire)
    aet, _, address = hospital["dimse"].partition("@")
    host, _, port = address.partition(":")
    node = DimseClient(DimseNode(aet, host, int(port)), "BRIDGE", 11112)
    assert node.echo()
    assert [s.study_uid for s in web.list_studies(PATIENT_ID)] == [STUDY]
    assert [s.study_uid for s in node.list_studies(PATIENT_ID)] == [STUDY]
    listed = {claim.sop_uid for claim in web.list_instances(STUDY)}
    assert listed == {claim.sop_uid for claim in node.list_instances(STUDY)}
    files, sets = [], []
    web.retrieve(STUDY, (), lambda arrival: files.append(b"".join(arrival.chunks)))
    node.get(STUDY, (), lambda arrival: sets.append(b"".join(arrival.chunks)))
    assert sorted(files) == sorted(part10(image(n)) for n in range(1, 4))
    assert all(any(file.endswith(one) for file in files) for one in sets)
    assert len(sets) == len(files) == len(listed)
