"""What stands inside an image file: the text of a report, the bytes of a PDF."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file

from fhir_bridge.errors import Hostile, Unreadable
from fhir_bridge.standards.dicom.encapsulated import read_document
from fhir_bridge.standards.dicom.structured_report import narrative, read_report

PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF"


def code(value, meaning, scheme="DCM"):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def item(kind, name, **elements):
    made = Dataset()
    made.ValueType, made.RelationshipType = kind, "CONTAINS"
    made.ConceptNameCodeSequence = code("1", name)
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def number(name, value, unit):
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = code(unit, unit, "UCUM")
    return item("NUM", name, MeasuredValueSequence=[measured])


@pytest.fixture
def report(stand):
    def made(*items):
        root = stand.dataset(PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
        root.ValueType, root.ConceptNameCodeSequence = "CONTAINER", code("2", "Imaging report")
        root.CompletionFlag, root.VerificationFlag = "COMPLETE", "UNVERIFIED"
        root.ContentSequence = list(items)
        return read_report(BytesIO(stand.part10(root)))

    return made


def test_headings_numbers_units_and_negations_stand_as_they_were_sent(report):
    found = report(
        item(
            "CONTAINER",
            "Findings",
            ContentSequence=[
                item("TEXT", "Liver", TextValue="No focal lesion."),
                number("Longest diameter", "12.50", "mm"),
                item("CODE", "Metastasis", ConceptCodeSequence=code("3", "Absent")),
            ],
        )
    )
    assert found.title == "Imaging report"
    assert (found.completion, found.verification) == ("COMPLETE", "UNVERIFIED")
    assert found.text.splitlines() == [
        "Findings",
        "  Liver: No focal lesion.",
        "  Longest diameter: 12.50 mm",
        "  Metastasis: Absent",
    ]


def test_a_number_without_a_value_says_so(report):
    assert report(item("NUM", "Volume", MeasuredValueSequence=[])).text == "Volume: no value"


def test_markup_inside_a_report_is_shown_and_never_run(report):
    shown = narrative(report(item("TEXT", "Note", TextValue="<script>alert(1)</script> a < b")))
    assert "<script>" not in shown
    assert "a &lt; b" in shown


def test_a_tree_beyond_the_cap_is_hostile(report):
    leaf = item("TEXT", "End", TextValue="x")
    for _ in range(60):
        leaf = item("CONTAINER", "Level", ContentSequence=[leaf])
    with pytest.raises(Hostile):
        report(leaf)


def test_pydicom_s_sample_report_is_read():
    with Path(get_testdata_file("test-SR.dcm", download=False)).open("rb") as file:
        found = read_report(file)
    assert "Diameter: 3 cm" in found.text
    assert found.verification == "VERIFIED"


def test_an_image_is_no_report(stand):
    with pytest.raises(Unreadable):
        read_report(BytesIO(stand.part10(stand.dataset())))


def encapsulated(stand, content, *, length=None, **elements):
    made = stand.dataset(PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", **elements)
    made.EncapsulatedDocument = content + b"\x00" * (len(content) % 2)
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    if length is not None:
        made.EncapsulatedDocumentLength = length
    return BytesIO(stand.part10(made))


@pytest.mark.parametrize("length", [len(PDF), None])
def test_a_pdf_comes_out_byte_for_byte_without_its_padding(stand, length):
    assert len(PDF) % 2 == 1
    found = read_document(encapsulated(stand, PDF, length=length, DocumentTitle="Letter"))
    assert (found.content, found.content_type, found.title) == (PDF, "application/pdf", "Letter")


def test_a_length_that_lies_is_not_believed(stand):
    assert read_document(encapsulated(stand, PDF, length=4)).content == PDF


def test_a_cda_is_told_by_its_root_and_not_by_its_label(stand):
    cda = b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'
    found = read_document(encapsulated(stand, cda, length=len(cda)))
    assert (found.content_type, found.declared) == ("text/xml", "application/pdf")


@pytest.mark.parametrize("content", [b"MZ\x90\x00 a program", b"<html>", b""])
def test_what_is_neither_is_unreadable(stand, content):
    with pytest.raises(Unreadable):
        read_document(encapsulated(stand, content, length=len(content)))
