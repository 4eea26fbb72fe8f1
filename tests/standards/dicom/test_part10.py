"""Part 10: our own File Meta is a valid one, and any File Meta is cut off where it ends."""

from __future__ import annotations

import itertools
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fhir_bridge.errors import Hostile, Unreadable
from fhir_bridge.standards.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    Encoding,
    Splitter,
    file_meta,
    read_meta,
    real_encoding,
)

META = file_meta(sop_class="1.2.840.10008.5.1.4.1.1.2", sop_uid="1.2.3", transfer_syntax="1.2")


def test_pydicom_reads_the_file_meta_that_we_write():
    read = dcmread(BytesIO(META)).file_meta
    assert read.FileMetaInformationGroupLength == len(META) - 144
    assert read.MediaStorageSOPInstanceUID == "1.2.3"
    assert read.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert UID(IMPLEMENTATION_CLASS_UID).is_valid


def test_the_preamble_is_zeros():
    assert META[:132] == bytes(128) + b"DICM"


def test_the_same_data_set_always_gives_the_same_file():
    again = file_meta(sop_class="1.2.840.10008.5.1.4.1.1.2", sop_uid="1.2.3", transfer_syntax="1.2")
    assert again == META


@given(st.binary(max_size=64), st.lists(st.integers(1, 400), max_size=12))
def test_a_file_is_cut_at_its_meta_whatever_the_chunks(dataset, cuts):
    dataset = b"\x08\x00\x05\x00" + dataset
    whole, splitter, out = META + dataset, Splitter(), b""
    edges = [0, *sorted({cut for cut in cuts if cut < len(whole)}), len(whole)]
    for start, end in itertools.pairwise(edges):
        out += splitter.feed(whole[start:end])
    assert out + splitter.finish() == dataset
    assert splitter.meta.sop_uid == "1.2.3"


def test_a_wrong_group_length_is_not_believed():
    broken = META[:140] + b"\xff\x00\x00\x00" + META[144:] + b"\x08\x00\x05\x00"
    assert read_meta(broken).length == len(META)


def test_a_file_without_the_prefix_is_a_bare_data_set():
    splitter = Splitter()
    body = b"\x08\x00\x05\x00CS\x00\x00" * 30
    assert splitter.feed(body) == body
    assert splitter.bare
    with pytest.raises(Unreadable):
        read_meta(body)


def test_an_endless_file_meta_is_hostile():
    element = b"\x02\x00\x02\x01OB\x00\x00\xff\xff\xff\x7f"
    with pytest.raises(Hostile):
        read_meta(bytes(128) + b"DICM" + element)


@pytest.mark.parametrize(
    ("syntax", "encoding"),
    [
        (ImplicitVRLittleEndian, Encoding.IMPLICIT_LE),
        (ExplicitVRLittleEndian, Encoding.EXPLICIT_LE),
        (ExplicitVRBigEndian, Encoding.EXPLICIT_BE),
    ],
)
def test_the_real_encoding_is_told_from_the_bytes(stand, syntax, encoding):
    first = stand.bare(stand.part10(stand.dataset(), syntax))[:8]
    assert real_encoding(first, "whatever was declared") is encoding
