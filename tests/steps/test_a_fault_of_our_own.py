"""A fault of our own ends as a failed source, never as a case that collects for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import exits
from fhir_bridge.case.case import CaseState, TreatingProvider
from fhir_bridge.case.certificate import Grade
from fhir_bridge.pipeline.pull import pages
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json
from fhir_bridge.steps.assembling import Assembling


def broken(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


@pytest.fixture
def opened(tmp_path: Path, small_case: Path, hospital: Callable[..., RunningHospital]) -> Any:
    urls = hospital(only="ehr").urls
    with serving(Settings.load(data=tmp_path / "b", port=0, dimse_port=0, log_level="ERROR")) as b:
        b.add_provider(TreatingProvider("general", "General Hospital", fhir=str(urls["fhir"])))
        patient = json.load_object((small_case / "patient.json").read_bytes())
        yield b, b.new_case(LOCAL, patient, "oncology", "Is it so?", ["general"])


def test_a_source_that_stops_is_told_to_the_nurse(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, case = opened
    monkeypatch.setattr(pages, "turn", broken)

    result = bridge.engine.result(bridge.begin_pull(LOCAL, case, None))

    assert [(end["state"], end["error"]) for end in result["sources"]] == [("failed", "FB-0001")]
    assert exits.of_pull(result, bridge.certificate(case)) == exits.FAILED
    assert {line["grade"] for line in bridge.certificate(case)} == {Grade.REFUSED.value}
    assert bridge.store.cases.steps(case)["general"][:2] == ("failed", "FB-0001")


def test_a_record_that_cannot_be_made_leaves_the_case_open(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, case = opened
    monkeypatch.setattr(Assembling, "_make", broken)

    workflow = bridge.begin_pull(LOCAL, case, None)
    with pytest.raises(Exception, match=r"FB-|ZeroDivision"):
        bridge.engine.result(workflow)

    assert bridge.store.cases.get(case).state is CaseState.OPEN
