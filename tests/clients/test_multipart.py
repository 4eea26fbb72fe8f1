"""multipart/related bodies, regular, odd and broken, in every way of being cut into chunks."""

from __future__ import annotations

from contextlib import closing

import pytest

from fhir_bridge.clients.multipart import parts
from fhir_bridge.errors import DicomError, Truncated

CONTENTS = [b"first\r\n--not the boundary", b"", b"\x00\r\n--b\x00" * 9]
BODY = (
    b"".join(b"--b-1\r\nContent-Type: application/dicom\r\n\r\n" + c + b"\r\n" for c in CONTENTS)
    + b"--b-1--\r\n"
)


def read(body: bytes, content_type: str = "multipart/related; boundary=b-1", size: int = 7):
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    return list(read_each(chunks, content_type))


def read_each(chunks, content_type: str = "multipart/related; boundary=b-1"):
    for part in parts(chunks, content_type):
        with closing(part):
            yield b"".join(part.chunks())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
def test_parts_are_the_same_however_the_body_is_cut(size):
    assert read(BODY, size=size) == CONTENTS


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/related; type="application/dicom"; boundary="b-1"',
        "multipart/related; boundary='b-1'; type=application/dicom",
        'Multipart/Related;boundary="b-1',
        "multipart/related; boundary=other",
        "multipart/related",
    ],
)
def test_an_odd_or_missing_boundary_is_found(content_type):
    assert read(BODY, content_type) == CONTENTS


def test_a_preamble_and_an_epilogue_are_skipped():
    assert read(b"please ignore\r\n" + BODY + b"bye") == CONTENTS


def test_a_part_has_its_headers():
    for part in parts([BODY], "multipart/related; boundary=b-1"):
        with closing(part):
            assert part.headers == {"content-type": "application/dicom"}


@pytest.mark.parametrize("left", range(3, 40))
def test_whole_parts_come_out_before_the_break_is_told(left):
    contents: list[bytes] = []
    with pytest.raises(Truncated):
        contents.extend(read_each([BODY[:-left]]))
    assert contents == CONTENTS[:2]


@pytest.mark.parametrize("body", [b"", b"<html>", b"--", b"x" * 70_000])
def test_a_body_without_delimiters_is_no_multipart(body):
    with pytest.raises(DicomError):
        read(body, size=4096)


def test_too_many_headers_are_refused():
    body = b"--b-1\r\n" + b"X: y\r\n" * 99 + b"\r\nz\r\n--b-1--"
    with pytest.raises(Truncated):
        read(body)
