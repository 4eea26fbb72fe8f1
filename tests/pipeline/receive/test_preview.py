"""Thumbnails come from a child process, and a bad file costs no more than its deadline."""

from __future__ import annotations

import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from fhir_bridge.errors import Hostile, Unreadable
from fhir_bridge.pipeline.receive.preview import thumbnail


def picture(body: bytes) -> Image.Image:
    return Image.open(BytesIO(body))


def test_an_image_becomes_a_png_no_larger_than_asked(stand, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(stand.part10(stand.dataset(), stand.JPEGLSLossless))
    small = picture(thumbnail(path, size=16))
    assert (small.format, small.size) == ("PNG", (16, 16))


def test_the_window_of_the_header_decides_what_is_black_and_white(stand, tmp_path):
    ramp = np.tile(np.arange(32, dtype="<u2") * 100, (32, 1))
    made = stand.dataset(PixelData=ramp.tobytes(), WindowCenter=1550, WindowWidth=1000)
    path = tmp_path / "image"
    path.write_bytes(stand.part10(made))
    shades = np.asarray(picture(thumbnail(path, size=64)))
    assert (shades[0, 5], shades[0, 25]) == (0, 255)
    assert 100 < shades[0, 15] < 150


def test_monochrome1_is_turned_over(stand, tmp_path):
    ramp = np.tile(np.arange(32, dtype="<u2") * 100, (32, 1))
    made = stand.dataset(PixelData=ramp.tobytes(), PhotometricInterpretation="MONOCHROME1")
    path = tmp_path / "image"
    path.write_bytes(stand.part10(made))
    shades = np.asarray(picture(thumbnail(path)))
    assert shades[0, 0] > shades[0, 31]


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_compressed_images_have_previews(name):
    assert thumbnail(get_testdata_file(name, download=False)).startswith(b"\x89PNG")


def test_what_has_no_pixels_is_unreadable():
    with pytest.raises(Unreadable):
        thumbnail(get_testdata_file("test-SR.dcm", download=False))


def test_an_image_that_claims_a_billion_pixels_is_hostile(stand, tmp_path):
    path = tmp_path / "image"
    made = stand.dataset(Rows=60000, Columns=60000)
    path.write_bytes(stand.part10(made))
    with pytest.raises(Hostile):
        thumbnail(path)


def test_a_child_that_takes_too_long_is_killed(stand, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(stand.part10(stand.dataset()))
    started = time.monotonic()
    with pytest.raises(Hostile):
        thumbnail(path, deadline_seconds=0.01)
    assert time.monotonic() - started < 5
