"""The DIMSE door, knocked at by DCMTK, which we did not write."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless

from fhir_bridge.servers.dimse.scp import ScpSettings, StorageScp
from fhir_bridge.standards.dicom.part10 import read_meta

pytestmark = pytest.mark.skipif(
    shutil.which("storescu") is None, reason="DCMTK (storescu) is not installed"
)


@pytest.fixture
def port(receiver):
    scp = StorageScp(receiver, ScpSettings(port=0))
    scp.start()
    yield str(scp.port)
    scp.stop(drain_seconds=1)


def dcmtk(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TCP_NODELAY": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_echoscu_is_answered(port):
    assert dcmtk("echoscu", "-aec", "FHIRBRIDGE", "127.0.0.1", port).returncode == 0


def test_echoscu_with_another_title_is_rejected(port):
    ended = dcmtk("echoscu", "-aec", "SOMEBODY", "127.0.0.1", port)
    assert ended.returncode != 0
    assert "Called AE Title Not Recognized" in ended.stderr


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, JPEGLSLossless])
def test_storescu_pushes_and_the_pixels_are_as_sent(stand, shelf, port, tmp_path, syntax):
    option = {ImplicitVRLittleEndian: "-xi", JPEGLSLossless: "-xt"}[syntax]
    path = tmp_path / "ct.dcm"
    path.write_bytes(stand.part10(stand.dataset(), syntax))
    ended = dcmtk("storescu", "-aec", "FHIRBRIDGE", option, "127.0.0.1", port, str(path))
    assert ended.returncode == 0, ended.stderr
    [row] = shelf.rows()
    kept = shelf.body(row["sha256"])
    assert read_meta(kept).transfer_syntax == syntax
    # DCMTK writes the data set anew; its bytes are then what it sends, and what we keep.
    assert kept.endswith(stand.bare(path.read_bytes())[-1024:])
    assert row["reason"] == ""


def test_two_hundred_slices_by_one_association_are_all_there(stand, shelf, port, tmp_path):
    for number in range(200):
        (tmp_path / f"{number:03}.dcm").write_bytes(stand.part10(stand.dataset(number + 1)))
    ended = dcmtk("dcmsend", "-aec", "FHIRBRIDGE", "+sd", "127.0.0.1", port, str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert len(shelf.rows()) == 200
