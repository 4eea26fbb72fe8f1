"""A pull as it is typed: what came, progress while it runs, and what people order it to do."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from fhir_bridge.commands import pull
from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json

from ..doors import Desk
from ..small_case import DOCUMENTS, IMAGES, REPORTS
from .conftest import Place

Hospital = Callable[..., RunningHospital]
Introduce = Callable[..., str]
MANY = 240  # at five a page and 150 ms a page: longer than a round of collecting
ORDERS = ("--pause", "--resume", "--cancel")


def test_a_pull_tells_what_came_of_how_much(place: Place) -> None:
    said = place.pulled.out
    assert f"DocumentReference: {DOCUMENTS} of {DOCUMENTS}, consistent" in said
    assert f"DiagnosticReport: {REPORTS} of {REPORTS}, consistent" in said
    assert f"DICOM images: {IMAGES} of {IMAGES}, proven" in said


def test_watching_a_pull_shows_its_progress_beside_the_result(place: Place) -> None:
    lines = place.pulled.err.splitlines()
    assert all(line.startswith("general-hospital  ") for line in lines), lines
    assert lines[-1].startswith("general-hospital  done, ")
    for counted in (" records", f"{IMAGES} of {IMAGES} images", " of ", "kB"):
        assert counted in lines[-1]


def test_only_a_provider_of_the_case_can_be_pulled(place: Place) -> None:
    typed = place.desk.type("pull", place.case, "--provider", "Elsewhere", code=2)
    assert "no such provider" in typed.err


@pytest.mark.parametrize("order", ORDERS)
def test_a_pull_that_does_not_run_takes_no_orders(place: Place, order: str) -> None:
    assert "FB-6004" in place.desk.type("pull", place.case, order, code=1).err


@pytest.mark.parametrize("words", [("--pause", "--cancel"), ("--watch", "--resume")])
def test_orders_exclude_each_other(place: Place, words: tuple[str, ...]) -> None:
    assert "only one of" in place.desk.type("pull", place.case, *words, code=2).err


@pytest.fixture(scope="module")
def long_case(small_case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small case with so many documents that people have time to give orders."""
    folder = tmp_path_factory.mktemp("long") / "case"
    shutil.copytree(small_case, folder)
    file = folder / "ehr" / "DocumentReference.json"
    first = json.loads(file.read_bytes())[0]
    file.write_bytes(json.dumps([{**first, "id": f"long-{n}"} for n in range(MANY)]))
    return folder


def records_come(process: Popen[str]) -> None:
    """Until a watched pull has shown its first records."""
    assert process.stderr is not None
    while " records" not in process.stderr.readline():
        assert process.poll() is None


@pytest.mark.parametrize("served", [False, True], ids=["by-itself", "beside-a-service"])
def test_a_pull_is_paused_and_resumed_from_another_terminal(
    desk: Desk, hospital: Hospital, introduce: Introduce, long_case: Path, served: bool
) -> None:
    case = introduce(desk, hospital("slow-pages", data=long_case, only="ehr"))
    words = ("pull", case, "--watch")
    with desk.serving() if served else desk.begun("case", "list"), desk.begun(*words) as first:
        records_come(first)
        told = desk.type("pull", case, "--pause", "--provider", "General Hospital", "--json").json
        assert told == {"case": case, "order": "pause", "provider": "general-hospital"}
        out, _ = first.communicate(timeout=60)
        assert first.returncode == 3
        assert f"general-hospital: paused. It goes on with: fhir-bridge pull {case}" in out
        resumed = desk.type("pull", case, "--resume").out
        assert "The pull goes on." in resumed
        assert ("No service runs here" in resumed) is not served
        assert (
            f"DocumentReference: {MANY} of {MANY}, consistent"
            in desk.type("pull", case, code=None).out
        )


def test_a_cancelled_pull_keeps_what_came_and_is_never_complete(
    desk: Desk, hospital: Hospital, introduce: Introduce, long_case: Path
) -> None:
    case = introduce(desk, hospital("slow-pages", data=long_case, only="ehr"))
    with desk.begun("pull", case, "--watch", "--json") as first:
        records_come(first)
        assert "what came is kept" in desk.type("pull", case, "--cancel").out
        out, _ = first.communicate(timeout=60)
    result = json.load_object(out.encode())
    assert (first.returncode, result["sources"][0]["state"]) == (3, "cancelled")
    assert any(line["got"] for line in result["certificate"])
    assert pull._exit_code(result, [{"grade": "consistent"}]) == 3


def test_ctrl_c_leaves_the_pull_to_the_service_that_does_it(
    desk: Desk, hospital: Hospital, introduce: Introduce, long_case: Path
) -> None:
    case = introduce(desk, hospital("slow-pages", data=long_case, only="ehr"))
    with desk.serving(), desk.begun("pull", case, "--watch") as watching:
        records_come(watching)
        watching.send_signal(signal.SIGINT)
        assert "The pull goes on in the service." in watching.communicate(timeout=60)[1]
        assert watching.returncode == 130
