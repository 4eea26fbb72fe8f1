"""The FHIR client over real sockets: pages, references, attachments and creates."""

from __future__ import annotations

import base64

import pytest
import simplejson

from fhir_bridge.clients.fhir import FhirClient
from fhir_bridge.errors import (
    AttachmentMissing,
    DeliveryRefused,
    DeliveryUnknown,
    ForeignAddress,
    NotFhir,
    ProviderRefused,
    Truncated,
    Unreadable,
)

from .scripted import BUNDLE, CANARY, FHIR, PATIENT, Bearer, says, sends

PDF = b"%PDF-1.4 an opinion"


@pytest.fixture
def client(ehr, open_wire):
    wire = open_wire(f"{ehr.url}/fhir").with_login(Bearer())
    return FhirClient(f"{ehr.url}/fhir/", wire)


def wrapped(**more) -> bytes:
    binary = {"resourceType": "Binary", "contentType": "application/pdf"} | more
    return simplejson.dumps(binary).encode()


def test_the_capability_statement_is_read(ehr, client):
    text = b'{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}'
    ehr.on("/fhir/metadata", says(200, text, FHIR))
    assert client.capability().fhir_version == "4.0.1"


def test_a_search_asks_for_fhir_json_and_is_linked_to_its_case(ehr, client, keep):
    ehr.on("/fhir/Patient", says(200, BUNDLE, FHIR))
    answer = client.for_case("case-1").search("Patient", [("family", "Doe"), ("_count", "50")])
    assert answer.body == BUNDLE
    assert ehr.calls[0].path == "/fhir/Patient?family=Doe&_count=50"
    assert ehr.calls[0].headers["accept"] == "application/fhir+json"
    assert keep.rows[0].case_id == "case-1"


def test_a_search_forbids_caches_unless_an_older_answer_will_do(ehr, client):
    ehr.on("/fhir/Patient", says(200, BUNDLE, FHIR))
    client.search("Patient", [])
    client.search("Patient", [], fresh=False)
    caches = [call.headers.get("cache-control") for call in ehr.calls]
    assert caches == ["no-cache", None]


def test_a_search_by_post_keeps_names_out_of_the_address(ehr, client, keep):
    ehr.on("/fhir/Patient/_search", says(200, BUNDLE, FHIR))
    client.search("Patient", [("family", "Doe")], post=True)
    (call,) = ehr.calls
    assert (call.method, call.path, call.body) == ("POST", "/fhir/Patient/_search", b"family=Doe")
    assert keep.rows[0].request == "POST /fhir/Patient/_search"
    assert keep.rows[0].facts["form"] == "family=Doe"


@pytest.mark.parametrize("status", [400, 404, 405, 415])
def test_without_search_by_post_the_search_goes_by_get(ehr, client, status):
    ehr.on("/fhir/Patient/_search", says(status))
    ehr.on("/fhir/Patient", says(200, BUNDLE, FHIR))
    client.search("Patient", [("family", "Doe")], post=True)
    assert ehr.paths() == ["/fhir/Patient/_search", "/fhir/Patient?family=Doe"]


def test_a_search_that_is_forbidden_is_not_repeated_by_get(ehr, client):
    ehr.on("/fhir/Patient/_search", says(403))
    with pytest.raises(ProviderRefused):
        client.search("Patient", [], post=True)
    assert len(ehr.calls) == 1


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"<Bundle/>", b"", b"[]", b'{"a":1}']
)
def test_a_200_that_is_no_fhir_is_asked_again_and_then_said(ehr, client, keep, body):
    ehr.on("/fhir/Patient", says(200, body))
    with pytest.raises(NotFhir):
        client.search("Patient", [])
    assert [keep.body(row) for row in keep.rows] == [body] * 4


def test_a_cut_body_of_unknown_length_is_noticed(ehr, client):
    cut = b'HTTP/1.1 200 OK\r\n\r\n{"resourceType":"Bundle","entry":[{"a":{}'
    ehr.on("/fhir/Patient", sends(cut), sends(cut + b"}"), says(200, BUNDLE, FHIR))
    assert client.search("Patient", []).body == BUNDLE


def test_a_cut_body_of_unknown_length_is_never_returned(ehr, client):
    ehr.on("/fhir/Patient", sends(b'HTTP/1.1 200 OK\r\n\r\n{"resourceType":{}'))
    with pytest.raises(Truncated):
        client.search("Patient", [])


# Links


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("{base}?_getpages=1&_offset=2", "/fhir?_getpages=1&_offset=2"),
        ("Patient?page=2", "/fhir/Patient?page=2"),
        ("/fhir/Patient?page=2", "/fhir/Patient?page=2"),
        ("/other?page=2", "/other?page=2"),
        ("http://hapi-fhir-server:8080/fhir?page=2", "/fhir?page=2"),
        ("https://ehr.internal/fhir/Patient?page=2", "/fhir/Patient?page=2"),
    ],
)
def test_a_next_link_is_followed_within_the_endpoint(ehr, client, keep, link, path):
    for known in ("/fhir", "/fhir/Patient", "/other"):
        ehr.on(known, says(200, BUNDLE, FHIR))
    client.follow(link.format(base=client.base), previous="page-1")
    assert ehr.paths() == [path]
    assert keep.rows[0].previous == "page-1"


@pytest.mark.parametrize(
    "link",
    [
        "{stranger}/fhir?page=2",
        "//{stranger_host}/fhir?page=2",
        "http://hapi-fhir-server:8080/fhirevil?page=2",
        "http://hapi-fhir-server:8080/other",
        "http://ehr.example.evil/fhir?page=2",
        "http://127.0.0.1@evil.example/fhir",
        "https://{own_host}/fhir?page=2",
        "\\\\evil.example/fhir",
        "file:///fhir/x",
    ],
)
def test_a_next_link_to_another_origin_is_refused_and_not_asked(ehr, stranger, client, link):
    address = link.format(
        stranger=stranger.url,
        stranger_host=stranger.url.removeprefix("http://"),
        own_host=ehr.url.removeprefix("http://"),
    )
    with pytest.raises(ForeignAddress):
        client.follow(address, previous="page-1")
    assert (ehr.calls, stranger.calls) == ([], [])


def test_default_ports_are_the_same_origin(open_wire):
    from fhir_bridge.clients.origins import contained

    link = "https://ehr.example:443/fhir?page=2"
    assert contained(link, "https://EHR.example/fhir") == link


def test_a_reference_is_read_by_id_or_by_its_address(ehr, client):
    ehr.on("/fhir/Patient/1", says(200, PATIENT, FHIR))
    for reference in ("Patient/1", f"{client.base}/Patient/1"):
        assert client.read(reference).body == PATIENT


@pytest.mark.parametrize("reference", ["../admin", "urn:uuid:1", "https://other.example/Patient/1"])
def test_a_reference_outside_the_endpoint_is_refused(ehr, client, reference):
    with pytest.raises(ForeignAddress):
        client.read(reference)
    assert ehr.calls == []


def test_what_is_gone_says_so(ehr, client):
    ehr.on("/fhir/Patient/1", says(410))
    with pytest.raises(ProviderRefused, match="HTTP 410"):
        client.read("Patient/1")


# Attachments


def test_an_attachment_is_asked_by_its_own_type_and_streamed(ehr, client, keep):
    ehr.on("/fhir/Binary/1", says(200, PDF, {"Content-Type": "application/pdf"}))
    answer = client.fetch("Binary/1", content_type="application/pdf")
    assert answer.body is None
    assert keep.body(answer.original) == PDF
    assert ehr.calls[0].headers["accept"] == "application/pdf"


def test_the_ladder_of_accept_ends_with_anything(ehr, client, keep):
    ehr.on("/fhir/Binary/1", says(406), says(415), says(200, PDF))
    answer = client.fetch("Binary/1", content_type="application/pdf")
    assert keep.body(answer.original) == PDF
    accepts = [call.headers["accept"] for call in ehr.calls]
    assert accepts == ["application/pdf", "application/fhir+json", "*/*"]


def test_xml_is_asked_for_as_a_binary_because_fhir_has_an_xml_format_too(ehr, client, keep):
    """sekmet answers `Accept: application/xml` with the Binary resource in XML."""
    ehr.on("/fhir/Binary/1", says(406), says(200, b"<ClinicalDocument/>"))
    answer = client.fetch("Binary/1", content_type="application/xml")
    assert keep.body(answer.original) == b"<ClinicalDocument/>"
    accepts = [call.headers["accept"] for call in ehr.calls]
    assert accepts == ["application/fhir+json", "application/xml"]


def test_a_wrapped_attachment_is_unwrapped_and_both_are_kept(ehr, client, keep):
    text = wrapped(data=base64.encodebytes(PDF).decode())
    ehr.on("/fhir/Binary/1", says(200, text, FHIR))
    answer = client.fetch("Binary/1", content_type="application/pdf")
    raw, inner = keep.rows
    assert (keep.body(raw), keep.body(inner)) == (text, PDF)
    assert answer.original == inner
    assert answer.body is None
    assert (inner.previous, inner.content_type) == (raw.id, "application/pdf")
    assert inner.facts["wrapped"] == "Binary"
    assert inner.id != raw.id


@pytest.mark.parametrize(
    ("more", "error"),
    [({}, AttachmentMissing), ({"data": ""}, AttachmentMissing), ({"data": "%%%"}, Unreadable)],
)
def test_a_binary_without_usable_content_says_so(ehr, client, keep, more, error):
    ehr.on("/fhir/Binary/1", says(200, wrapped(**more), FHIR))
    with pytest.raises(error):
        client.fetch("Binary/1", content_type="application/pdf")
    assert len(keep.rows) == 1


def test_json_that_is_the_attachment_itself_is_left_as_it_is(ehr, client, keep):
    ehr.on("/fhir/Binary/1", says(200, BUNDLE, FHIR))
    answer = client.fetch("Binary/1", content_type="application/fhir+json")
    assert (answer.body, keep.body(answer.original)) == (None, BUNDLE)


def test_a_foreign_attachment_is_not_fetched(ehr, stranger, client):
    with pytest.raises(ForeignAddress):
        client.fetch(f"{stranger.url}/documents/1", content_type="application/pdf")
    assert stranger.calls == []


def test_a_foreign_attachment_that_is_allowed_is_fetched_without_login(
    ehr, stranger, open_wire, keep, monkeypatch
):
    """The stranger stands on loopback here, so the check of its address is stilled."""
    from fhir_bridge.clients import network

    monkeypatch.setattr(network, "is_public", lambda address: True)
    stranger.on("/documents/1", says(200, PDF))
    wire = open_wire(f"{ehr.url}/fhir").with_login(Bearer())
    client = FhirClient(f"{ehr.url}/fhir", wire, foreign_files=True)
    answer = client.fetch(f"{stranger.url}/documents/1?sig=s3cret", content_type="application/pdf")
    assert keep.body(answer.original) == PDF
    assert "authorization" not in stranger.calls[0].headers
    assert CANARY not in repr(stranger.calls)
    assert answer.original.request == "GET /documents/1?..."
    assert answer.original.facts["origin"] == stranger.url


# Creates


def test_a_create_is_answered_with_its_place(ehr, client, keep):
    ehr.on("/fhir/DocumentReference", says(201, b"", {"Location": "DocumentReference/9"}))
    answer = client.create("DocumentReference", PATIENT, if_none_exist="identifier=a|b")
    assert (answer.status, answer.header("Location")) == (201, "DocumentReference/9")
    (call,) = ehr.calls
    assert call.body == PATIENT
    assert call.headers["content-type"] == "application/fhir+json"
    assert call.headers["if-none-exist"] == "identifier=a|b"
    assert "prefer" not in call.headers


@pytest.mark.parametrize(("status", "error"), [(422, DeliveryRefused), (500, DeliveryUnknown)])
def test_a_create_that_failed_is_not_repeated(ehr, client, status, error):
    ehr.on("/fhir/DocumentReference", says(status))
    with pytest.raises(error):
        client.create("DocumentReference", PATIENT)
    assert len(ehr.calls) == 1
