"""An opinion that a hospital refused waits for a person, and goes on when its cause is mended."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json

from ..doors import Desk

GENERAL = "general-hospital"


def delivered(hospital: RunningHospital) -> int:
    with urllib.request.urlopen(f"{hospital.urls['control']}/chart.json") as answer:
        return len(json.load_object(answer.read())["delivered"])


def test_it_is_confirmed_once_and_a_further_try_is_refused(
    desk: Desk,
    hospital: Callable[..., RunningHospital],
    introduce: Callable[..., str],
    small_case: Path,
    tmp_path: Path,
) -> None:
    chart = tmp_path / "chart"
    refusing = hospital("create-refused", state=chart)
    case = introduce(desk, refusing)
    desk.type("pull", case)
    finished = desk.type(
        "opinion", "finish", case, "--file", small_case / "opinion.md", "--json", code=4
    )
    assert [row["state"] for row in finished.json] == ["held"]

    refusing.stop()
    mended = hospital(state=chart)
    desk.type("provider", "add", "General Hospital", "--fhir", mended.urls["fhir"])
    again = desk.type("opinion", "resend", case, "--provider", GENERAL, "--json")

    assert [(row["state"], row["read_back"]) for row in again.json] == [("confirmed", "equal")]
    assert delivered(mended) == 1
    refused = desk.type("opinion", "resend", case, "--provider", GENERAL, code=1)
    assert "FB-6004" in refused.err
    assert delivered(mended) == 1


def test_nothing_is_resent_where_nothing_was_signed(
    desk: Desk, hospital: Callable[..., RunningHospital], introduce: Callable[..., str]
) -> None:
    case = introduce(desk, hospital())

    assert "FB-1101" in desk.type("opinion", "resend", case, "--provider", GENERAL, code=2).err
