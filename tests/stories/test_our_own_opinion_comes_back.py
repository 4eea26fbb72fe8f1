"""A pull after a delivery finds our own opinion in the chart: it is no evidence for itself."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json

from ..doors import Desk
from ..small_case import DOCUMENTS


@pytest.mark.parametrize("fault", [(), ("rewrites-document",)], ids=["as sent", "rewritten"])
def test_it_is_left_out_of_the_record_and_is_not_signed_again(
    desk: Desk,
    hospital: Callable[..., RunningHospital],
    introduce: Callable[..., str],
    small_case: Path,
    tmp_path: Path,
    fault: tuple[str, ...],
) -> None:
    """Also where the chart dropped our number and only its own id tells."""
    ours = hospital(*fault, state=tmp_path / "chart")
    case = introduce(desk, ours)
    finish = ("opinion", "finish", case, "--file", small_case / "opinion.md", "--json")
    desk.type("pull", case)
    [first] = desk.type(*finish).json

    again = desk.type("pull", case, "--json").json
    [second] = desk.type(*finish).json

    got = {line["type"]: line["got"] for line in again["certificate"]}
    assert got["DocumentReference"] == DOCUMENTS + 1
    rules = [row["rule"] for row in desk.type("case", "ledger", case, "--json").json["records"]]
    assert rules.count("own-opinion") == 1
    assert (first["version"], second["version"]) == (1, 1)
    with urllib.request.urlopen(f"{ours.urls['control']}/chart.json") as answer:
        assert len(json.load_object(answer.read())["delivered"]) == 1
