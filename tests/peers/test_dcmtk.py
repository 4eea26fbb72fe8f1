"""DCMTK sends to our receiver: what is acknowledged is stored, with the bytes that were sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

from fhir_bridge.simulators.studies import make_studies

from . import images, job
from .dcmtk import Node, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fhir_bridge.bridge import Bridge

    from .dcmtk import Dcmtk

CHART = job.Chart("oncology")
SUCCESS = "Received Store Response (Success)"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Path]]:
    """Transfer syntax -> the files of the oncology images that have it."""
    found: dict[str, list[Path]] = {}
    for file in make_studies(CHART.folder / "studies.json", tmp_path_factory.mktemp("drawn")):
        meta = dcmread(file, stop_before_pixels=True).file_meta
        found.setdefault(str(meta.TransferSyntaxUID), []).append(file)
    return found


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    with job.running_bridge(tmp_path / "bridge") as bridge:
        yield bridge


def _node(bridge: Bridge, aet: str = "") -> Node:
    return Node(aet or bridge.settings.dimse_aet, bridge.dimse_port)


def _held(bridge: Bridge) -> Mapping[str, images.Held]:
    """All that our receiver took in: no case is open for it."""
    return images.of_bridge(bridge, bridge.store.images.unassigned())


def test_echoscu_is_answered_under_our_title_and_no_other(
    bridge: Bridge, dcmtk_clients: Dcmtk
) -> None:
    assert dcmtk_clients.echo(_node(bridge)).code == 0
    other = dcmtk_clients.echo(_node(bridge, "SOMEBODY"))
    assert other.code != 0
    assert "Called AE Title Not Recognized" in other.output


@pytest.mark.parametrize(
    ("option", "drawn_as", "sent_as"),
    [
        ("-xi", ExplicitVRLittleEndian, ImplicitVRLittleEndian),
        ("-xe", ExplicitVRLittleEndian, ExplicitVRLittleEndian),
        ("-xt", JPEGLSLossless, JPEGLSLossless),
    ],
    ids=["implicit", "explicit", "JPEG-LS"],
)
def test_storescu_is_acknowledged_for_what_is_stored_as_it_was_sent(
    option: str,
    drawn_as: str,
    sent_as: str,
    bridge: Bridge,
    dcmtk_clients: Dcmtk,
    drawn: Mapping[str, Sequence[Path]],
    tmp_path: Path,
) -> None:
    """DCMTK writes a data set anew when it sends it: its own receiver says what then left."""
    files = drawn[drawn_as][:5]
    with receiving(tmp_path) as theirs:
        dcmtk_clients.run("storescu", option, *_call(theirs.node), *map(str, files))
        ran = dcmtk_clients.run("storescu", option, *_call(_node(bridge)), *map(str, files))
        left = images.of_files(sorted(theirs.folder.iterdir()))
    assert (ran.code, ran.output.count(SUCCESS)) == (0, len(files))
    assert {syntax for syntax, _ in left.values()} == {sent_as}
    assert _held(bridge) == left


def _call(node: Node) -> tuple[str, ...]:
    return ("-aec", node.aet, node.host, str(node.port))


def test_dcmsend_hands_over_a_whole_folder_of_images_reports_and_documents(
    bridge: Bridge, dcmtk_clients: Dcmtk, drawn: Mapping[str, Sequence[Path]]
) -> None:
    files = [file for same in drawn.values() for file in same]
    folder = files[0].parents[1]
    ran = dcmtk_clients.send(_node(bridge), folder)
    assert ran.code == 0
    assert re.search(rf"with status SUCCESS *: {len(files)}$", ran.output, re.MULTILINE)
    held = _held(bridge)
    assert held == images.of_files(files)
    again = dcmtk_clients.send(_node(bridge), folder)
    assert again.code == 0
    assert _held(bridge) == held
