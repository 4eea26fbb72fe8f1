"""Attachments are found everywhere, resolved against their own base, and known by their bytes."""

from __future__ import annotations

import pytest

from fhir_bridge.errors import Unreadable
from fhir_bridge.standards.fhir.attachments import (
    attachments,
    decode,
    is_cda,
    resolve,
    sniff,
    unwrap_binary,
    without_server,
)


def test_forms_contents_and_photos_are_all_attachments():
    report = {"resourceType": "DiagnosticReport", "presentedForm": [{"url": "a"}, {"data": "aGk="}]}
    assert [path for path, _ in attachments(report)] == ["presentedForm[0]", "presentedForm[1]"]


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (b"%PDF-1.4\n", "application/pdf"),
        (b"{\\rtf1\\ansi", "application/rtf"),
        (b"\0" * 128 + b"DICM", "application/dicom"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"II*\0", "image/tiff"),
        (b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3">', "application/xml"),
        (b"<ClinicalDocument>", "application/xml"),
        (b"\xef\xbb\xbf <!DOCTYPE html><html>", "text/html"),
        (b'<?xml version="1.0"?><html xmlns="x">', "application/xhtml+xml"),
        (b"<svg onload=x>", "image/svg+xml"),
        (b"<p>Dear colleague", "text/html"),
        (b'{"resourceType":"Binary"}', "application/fhir+json"),
        ("Sehr geehrte Frau Kollegin, Grüße".encode("cp1252"), "text/plain"),
        (b"\x00\x01\x02", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_bytes_are_what_they_are_whatever_was_declared(body, type_):
    assert sniff(body) == type_


def test_a_cda_is_known_by_its_root_with_any_prefix():
    assert is_cda(b'<?xml version="1.0"?>\n<n1:ClinicalDocument xmlns:n1="urn:hl7-org:v3">')
    assert not is_cda(b"<html>")


def test_a_relative_address_hangs_on_the_base_of_its_own_resource():
    assert resolve("Binary/7", "https://h/api/r4/") == "https://h/api/r4/Binary/7"
    assert resolve("/Binary/7", "https://h/api/r4") == "https://h/Binary/7"
    assert resolve("urn:uuid:1", "https://h/api/r4") == "urn:uuid:1"


@pytest.mark.parametrize("address", ["http://[bad", "http://\u2100.example/x"])
def test_an_address_that_nobody_can_read_stays_what_it_is(address):
    assert resolve(address, "https://h/api/r4") == address


def test_an_address_in_a_record_has_neither_server_nor_query():
    assert without_server("https://h/r4/Binary/7?sig=s", "https://h/r4") == "Binary/7"
    assert without_server("https://cdn/f.pdf?sig=s", "https://h/r4") == "https://cdn/f.pdf"


def test_a_binary_in_json_is_unwrapped_and_nothing_else_is():
    assert unwrap_binary(
        b'{"resourceType":"Binary","contentType":"text/plain","data":"aG k="}'
    ) == (
        b"hi",
        "text/plain",
    )
    assert unwrap_binary(b'{"resourceType":"Patient"}') is None
    assert unwrap_binary(b"%PDF-1.4") is None
    with pytest.raises(Unreadable):
        decode("not base64!")
