"""The scan reads what pydicom reads, notices what pydicom does not, and reports every fault."""

from __future__ import annotations

import itertools
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.data.data_manager import DATA_ROOT
from pydicom.datadict import tag_for_keyword
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fhir_bridge.case.identity import Identifier
from fhir_bridge.standards.dicom.part10 import Splitter
from fhir_bridge.standards.dicom.scan import REFUSED, Header, Scanner, person, scan
from fhir_bridge.standards.dicom.walk import Finding

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
KEYWORDS = {
    "sop_class": "SOPClassUID",
    "sop_uid": "SOPInstanceUID",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "accession": "AccessionNumber",
    "modality": "Modality",
    "study_date": "StudyDate",
}
FILES = sorted(p for p in Path(DATA_ROOT).rglob("*") if p.suffix in (".dcm", "") and p.is_file())
# What is wrong with pydicom's own samples, each looked at: these are broken on purpose.
BROKEN = {
    "MR_truncated.dcm": Finding.TRUNCATED,
    "rtplan_truncated.dcm": Finding.TRUNCATED,
    "no_meta.dcm": Finding.TRUNCATED,
    "README": Finding.TRUNCATED,
    # Its last directory record announces 248 bytes where 232 are left.
    "DICOMDIR-nooffset": Finding.BROKEN,
}


def scanned(body: bytes) -> Header:
    splitter = Splitter()
    dataset = splitter.feed(body) + splitter.finish()
    return scan(dataset, transfer_syntax=splitter.meta.transfer_syntax if splitter.meta else "")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(DATA_ROOT).as_posix())
def test_the_scan_agrees_with_pydicom(path):
    header = scanned(path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = dcmread(path, force=True, stop_before_pixels=True)
        said = {k: str(read.get(w) or "").rstrip("=") for k, w in KEYWORDS.items()}
    assert {k: getattr(header, k).rstrip("=") for k in KEYWORDS} == said
    refused = [f for f in header.findings if f in REFUSED]
    assert refused == [BROKEN[path.name]] if path.name in BROKEN else not refused


@given(st.lists(st.integers(1, 3000), max_size=8))
@settings(max_examples=30, deadline=None)
def test_chunks_may_be_cut_anywhere(cuts):
    body = Path(get_testdata_file("test-SR.dcm", download=False)).read_bytes()
    splitter = Splitter()
    dataset = splitter.feed(body)
    scanner = Scanner(transfer_syntax=splitter.meta.transfer_syntax)
    edges = [0, *sorted({c for c in cuts if c < len(dataset)}), len(dataset)]
    for start, end in itertools.pairwise(edges):
        scanner.feed(dataset[start:end])
    assert scanner.finish() == scanned(body)


@pytest.mark.parametrize("name", ["test-SR.dcm", "rtplan.dcm", "MR_small_RLE.dcm"])
def test_a_data_set_cut_inside_an_element_is_truncated(name):
    body = Path(get_testdata_file(name, download=False)).read_bytes()
    splitter = Splitter()
    dataset = splitter.feed(body)
    syntax = splitter.meta.transfer_syntax
    clean = [
        n
        for n in range(1, len(dataset), 7)
        if not scan(dataset[:n], transfer_syntax=syntax).findings
    ]
    whole = dcmread(get_testdata_file(name, download=False))
    # Only a cut exactly between two top-level elements can look whole.
    assert len(clean) <= len(whole)


@given(st.integers(0, 1600), st.binary(min_size=4, max_size=4))
@settings(max_examples=200, deadline=None)
def test_overwritten_lengths_never_crash_the_scan(place, noise):
    body = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
    place += 132
    scanned(body[:place] + noise + body[place + 4 :])


def nested(depth: int, *, defined: bool, explicit: bool) -> bytes:
    body = b""
    for _ in range(depth):
        length = len(body).to_bytes(4, "little") if defined else b"\xff\xff\xff\xff"
        item = b"\xfe\xff\x00\xe0" + length + body
        item += b"" if defined else b"\xfe\xff\x0d\xe0\x00\x00\x00\x00"
        outer = len(item).to_bytes(4, "little") if defined else b"\xff\xff\xff\xff"
        vr = b"SQ\x00\x00" if explicit else b""
        body = b"\x40\x00\x30\xa7" + vr + outer + item
        body += b"" if defined else b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    return body


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("explicit", [True, False])
def test_depth_is_capped_and_the_refusal_is_quick(defined, explicit):
    syntax = EXPLICIT if explicit else IMPLICIT
    assert (
        scan(nested(32, defined=defined, explicit=explicit), transfer_syntax=syntax).findings == ()
    )
    for depth in (33, 300, 1000):
        body = nested(depth, defined=defined, explicit=explicit)
        started = time.perf_counter()
        assert scan(body, transfer_syntax=syntax).findings == (Finding.TOO_DEEP,)
        assert time.perf_counter() - started < 0.05


def test_too_many_elements_are_noticed():
    body = b"\x08\x00\x05\x01LO\x00\x00" * 500_001
    assert scan(body, transfer_syntax=EXPLICIT).findings == (Finding.TOO_MANY,)


def test_a_value_of_four_gigabytes_in_a_small_file_is_truncated():
    body = b"\x08\x00\x05\x00CS\x00\x00" + b"\x10\x00\x00\x40UT\x00\x00\xf0\xff\xff\xffabc"
    assert scan(body, transfer_syntax=EXPLICIT).findings == (Finding.TRUNCATED,)


def test_a_deflated_bomb_is_noticed_before_it_unfolds(stand):
    made = stand.dataset(PixelData=bytes(64 * 1024 * 1024))
    body = stand.bare(stand.part10(made, DeflatedExplicitVRLittleEndian))
    assert len(body) < 200_000
    assert Finding.BOMB in scan(body, transfer_syntax=DeflatedExplicitVRLittleEndian).findings


def test_fewer_pixels_than_rows_and_columns_promise_are_a_finding(stand):
    made = stand.dataset(PixelData=bytes(1000))
    assert scanned(stand.part10(made)).findings == (Finding.PIXELS_SHORT,)


def test_an_image_without_pixels_is_a_finding_and_a_report_without_is_none(stand):
    assert scanned(stand.part10(stand.dataset(PixelData=None))).findings == (Finding.NO_PIXELS,)
    report = stand.dataset(PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    assert scanned(stand.part10(report)).findings == ()


def test_another_encoding_than_declared_is_read_and_noted(stand):
    body = stand.bare(stand.part10(stand.dataset(), stand.ExplicitVRLittleEndian))
    header = scan(body, transfer_syntax=IMPLICIT)
    assert header.findings == (Finding.OTHER_ENCODING,)
    assert header.patient_id == "MRN-1"


def patient(name: bytes, charset: bytes = b"") -> Header:
    def element(tag: bytes, vr: bytes, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        return tag + vr + len(value).to_bytes(2, "little") + value

    body = element(b"\x08\x00\x05\x00", b"CS", charset) + element(b"\x10\x00\x10\x00", b"PN", name)
    return scan(body, transfer_syntax=EXPLICIT)


@pytest.mark.parametrize(
    ("name", "charset", "family"),
    [
        ("Müller^Jürgen".encode("latin-1"), b"ISO_IR 100", "Müller"),
        ("Müller^Jürgen".encode(), b"ISO_IR 192", "Müller"),
        ("Müller^Jürgen".encode("latin-1"), b"", "M\ufffdller"),
        ("Müller^Jürgen".encode("latin-1"), b"ISO_IR 192", "M\ufffdller"),
        (b"Mueller^Juergen", b"NO SUCH SET", "Mueller"),
        ("Müller".encode("latin-1"), b"NO SUCH SET", "M\ufffdller"),
        (b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:", b"\\ISO 2022 IR 87", "Yamada"),
        (b"=\xe7\x8e\x8b^", b"ISO_IR 192", "王"),
    ],
)
def test_a_byte_that_its_character_set_does_not_explain_is_replaced(name, charset, family):
    assert person(patient(name, charset)).family == family


def test_the_person_of_a_header():
    header = Header(
        patient_id="7", issuer="GEN", patient_name="Doe^Jane^Q", birth_date="1961.03.04", sex="F"
    )
    found = person(header)
    assert found.identifiers == (Identifier("GEN", "7"),)
    assert (found.family, found.given) == ("Doe", "Jane")
    assert (found.birth_date, found.sex) == ("1961-03-04", "female")


def test_a_date_that_is_none_stays_what_it_is():
    assert person(Header(birth_date="1961")).birth_date == "1961"


def test_the_tags_of_the_scan_are_those_of_the_dictionary():
    from fhir_bridge.standards.dicom.scan import _TEXTS

    assert {name: _TEXTS[name] for name in KEYWORDS} == {
        name: tag_for_keyword(keyword) for name, keyword in KEYWORDS.items()
    }
