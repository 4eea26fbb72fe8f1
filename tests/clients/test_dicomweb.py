"""The DICOMweb client over real sockets: lists by pages, studies as streams, resume by instance."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
import simplejson

from fhir_bridge.case.imaging import InstanceClaim, StudyClaim
from fhir_bridge.clients.ask import Limits
from fhir_bridge.clients.dicomweb import AS_STORED, DicomWebClient
from fhir_bridge.errors import DicomError, NotFhir, ProviderRefused, Truncated

from .images import SERIES, STUDY, image, part10
from .scripted import says, sends

FILES = [part10(image(n)) for n in range(1, 4)]
RELATED = {"Content-Type": 'multipart/related; type="application/dicom"; boundary="x y"'}


def multipart(*files: bytes, end: bytes = b"--x y--\r\n") -> bytes:
    part = b"--x y\r\nContent-Type: application/dicom; transfer-syntax=*\r\n\r\n"
    return b"".join(part + file + b"\r\n" for file in files) + end


def rows(*uids: str, tag: str = "00080018", **more) -> bytes:
    return simplejson.dumps([{tag: {"vr": "UI", "Value": [uid]}, **more} for uid in uids]).encode()


@pytest.fixture
def pacs(ehr, open_wire):
    return DicomWebClient(f"{ehr.url}/dicom-web", open_wire(f"{ehr.url}/dicom-web"))


@pytest.fixture
def inbox():
    """What was delivered, read at once as a receiver would."""
    return []


@pytest.fixture
def deliver(inbox):
    return lambda arrival: inbox.append((arrival, b"".join(arrival.chunks)))


def test_a_study_is_streamed_as_it_is_stored(ehr, pacs, deliver, inbox):
    ehr.on(f"/dicom-web/studies/{STUDY}", says(200, multipart(*FILES), RELATED))
    assert pacs.for_case("case-1").retrieve(STUDY, (), deliver) == "WADO-RS study"
    assert [body for _, body in inbox] == FILES
    arrival = inbox[0][0]
    assert (arrival.source, arrival.part10, arrival.pushed) == ("general", True, False)
    assert (arrival.case_id, arrival.how) == ("case-1", "GET")
    assert arrival.request == f"GET /dicom-web/studies/{STUDY}"
    assert ehr.calls[0].headers["accept"] == AS_STORED
    assert ehr.calls[0].headers["accept-encoding"] == "identity"


def test_a_stream_that_breaks_off_delivers_its_whole_instances(ehr, pacs, deliver, inbox):
    whole = multipart(*FILES)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=x y\r\n"
    cut = head + b"Content-Length: %d\r\n\r\n" % len(whole) + whole[: -len(FILES[2]) // 2]
    ehr.on(f"/dicom-web/studies/{STUDY}", sends(cut))
    with pytest.raises(Truncated):
        pacs.retrieve(STUDY, (), deliver)
    assert [body for _, body in inbox] == FILES[:2]
    assert len(ehr.calls) == 1


def test_a_stream_that_ends_politely_in_the_middle_is_truncated_too(ehr, pacs, deliver, inbox):
    half = multipart(*FILES)[: -len(FILES[2]) // 2]
    ehr.on(f"/dicom-web/studies/{STUDY}", says(200, half, RELATED))
    with pytest.raises(Truncated):
        pacs.retrieve(STUDY, (), deliver)
    assert [body for _, body in inbox] == FILES[:2]


def test_missing_instances_are_asked_for_one_by_one(ehr, pacs, deliver, inbox):
    base = f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances"
    ehr.on(f"{base}/{SERIES}.2", says(200, multipart(FILES[1]), RELATED))
    ehr.on(f"{base}/{SERIES}.3", says(200, FILES[2], {"Content-Type": "application/dicom"}))
    missing = [InstanceClaim(STUDY, SERIES, f"{SERIES}.{n}") for n in (2, 3)]
    assert pacs.retrieve(STUDY, missing, deliver) == "WADO-RS instances"
    assert [body for _, body in inbox] == FILES[1:]


@pytest.mark.parametrize("kind", ["text/html", "application/json", ""])
def test_an_error_page_with_200_is_no_study(ehr, pacs, deliver, inbox, kind):
    ehr.on(f"/dicom-web/studies/{STUDY}", says(200, b"<html>", {"Content-Type": kind}))
    with pytest.raises(DicomError):
        pacs.retrieve(STUDY, (), deliver)
    assert inbox == []


def test_a_part_that_is_no_dicom_is_left_out_and_said(ehr, pacs, deliver, inbox):
    body = multipart(FILES[0], b"<html>not here</html>", FILES[1])
    ehr.on(f"/dicom-web/studies/{STUDY}", says(200, body, RELATED))
    with pytest.raises(DicomError, match="1 parts"):
        pacs.retrieve(STUDY, (), deliver)
    assert [body for _, body in inbox] == FILES[:2]


def test_a_refused_study_is_kept_as_evidence(ehr, pacs, deliver, keep):
    ehr.on(f"/dicom-web/studies/{STUDY}", says(403, b'{"error":"no"}'))
    with pytest.raises(ProviderRefused):
        pacs.retrieve(STUDY, (), deliver)
    assert keep.rows[0].status == 403


def test_a_failed_delivery_stops_the_stream(ehr, pacs):
    ehr.on(f"/dicom-web/studies/{STUDY}", says(200, multipart(*FILES), RELATED))

    def full(arrival):
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        pacs.retrieve(STUDY, (), full)


def test_a_large_instance_arrives_in_pieces(ehr, open_wire):
    big = part10(image(9, pixels=9 << 20))
    ehr.on("/studies/1.2", says(200, multipart(big), RELATED))
    sizes, digest = [], hashlib.sha256()

    def deliver(arrival):
        for chunk in arrival.chunks:
            sizes.append(len(chunk))
            digest.update(chunk)

    wire = open_wire(ehr.url, limits=Limits(total_seconds=20))
    DicomWebClient(ehr.url, wire).retrieve("1.2", (), deliver)
    assert digest.digest() == hashlib.sha256(big).digest()
    assert max(sizes) <= 1 << 20


# Lists


def test_the_studies_of_a_patient_are_claims(ehr, pacs, keep):
    row = {
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "00080050": {"vr": "SH", "Value": ["A1 "]},
        "00080020": {"vr": "DA", "Value": ["20240102"]},
        "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
        "00081030": {"vr": "LO"},
        "00201208": {"vr": "IS", "Value": [3]},
    }
    other = row | {"0020000D": {"Value": ["1.9"]}, "00100020": {"Value": ["P10"]}}
    ehr.on("/dicom-web/studies", says(200, simplejson.dumps([row, other]).encode()))
    claim = StudyClaim(STUDY, "A1", "", "20240102", ("CT", "SR"), 3)
    assert pacs.list_studies("P1") == (claim,)
    assert parse_qs(urlsplit(ehr.calls[0].path).query)["PatientID"] == ["P1"]
    assert len(keep.rows) == 1
    assert pacs.find_study(accession="A1")[0] == claim


def test_no_content_is_an_empty_list(ehr, pacs):
    ehr.on("/dicom-web/studies", says(204))
    assert pacs.list_studies("P1") == ()


def test_a_limited_list_is_asked_on(ehr, pacs):
    warned = {"Warning": '299 pacs "more results"'}
    path = f"/dicom-web/studies/{STUDY}/instances"
    ehr.on(path, says(200, rows("1", "2"), warned), says(200, rows("2", "3"), warned),
           says(200, b"[]", warned))  # fmt: skip
    assert [c.sop_uid for c in pacs.list_instances(STUDY)] == ["1", "2", "3"]
    offsets = [parse_qs(urlsplit(p).query).get("offset") for p in ehr.paths()]
    assert offsets == [None, ["2"], ["3"]]


def test_a_round_number_is_suspected_to_be_a_limit(ehr, pacs):
    hundred = rows(*map(str, range(100)))
    ehr.on(f"/dicom-web/studies/{STUDY}/instances", says(200, hundred), says(200, rows("x")))
    assert len(pacs.list_instances(STUDY)) == 101


def test_a_server_that_ignores_the_offset_does_not_loop(ehr, pacs):
    ehr.on(f"/dicom-web/studies/{STUDY}/instances", says(200, rows(*map(str, range(100)))))
    assert len(pacs.list_instances(STUDY)) == 100
    assert len(ehr.calls) == 2


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[1]"])
def test_a_list_that_is_none_is_said(ehr, pacs, body):
    ehr.on("/dicom-web/studies", says(200, body))
    with pytest.raises(NotFhir):
        pacs.list_studies("P1")


@pytest.mark.parametrize("value", [None, {}, {"Value": "x"}, {"Value": [None, {}, ""]}, 3])
def test_odd_elements_count_as_absent(ehr, pacs, value):
    text = simplejson.dumps([{"0020000D": {"Value": ["1.2"]}, "00201208": value}]).encode()
    ehr.on("/dicom-web/studies", says(200, text))
    assert pacs.find_study("1.2") == (StudyClaim("1.2"),)
