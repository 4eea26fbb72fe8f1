"""Images: by the way that is left, never called complete when some stay away, for every case."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fhir_bridge.simulators.hospital import RunningHospital

from ..doors import Desk
from ..small_case import IMAGES

Hospital = Callable[..., RunningHospital]
Introduce = Callable[..., str]


@pytest.mark.parametrize(
    ("faults", "code", "grade", "got"),
    [
        (("no-wado", "no-get"), 0, "proven", IMAGES),
        (("pacs-forgets",), 3, "short", IMAGES - 2),
    ],
    ids=["only C-MOVE is left", "every way forgets two"],
)
def test_images_come_by_the_way_that_is_left(
    desk: Desk, hospital: Hospital, introduce: Introduce,
    faults: tuple[str, ...], code: int, grade: str, got: int,
) -> None:  # fmt: skip
    ours = f"FHIRBRIDGE@127.0.0.1:{desk.env['FHIR_BRIDGE_DIMSE_PORT']}"
    case = introduce(desk, hospital(*faults, bridge_dimse=ours))
    told = desk.type("pull", case, "--json", code=code).json
    [line] = [line for line in told["certificate"] if line["type"] == "DICOM images"]
    assert (line["grade"], line["got"], line["said"]) == (grade, got, IMAGES)


def test_a_second_case_of_the_same_patient_gets_the_images_too(
    desk: Desk, hospital: Hospital, introduce: Introduce
) -> None:
    """Two specialists may be asked about one patient; each opens a whole record."""
    there = hospital()
    first = introduce(desk, there)
    desk.type("pull", first)
    second = introduce(desk, there)
    told = desk.type("pull", second, "--json", code=None).json
    [line] = [line for line in told["certificate"] if line["type"] == "DICOM images"]
    assert (line["grade"], line["got"]) == ("proven", IMAGES)
