"""A pull is put down and taken up by people: nothing is asked twice, and nothing is claimed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import CaseState, TreatingProvider
from fhir_bridge.errors import WrongMoment
from fhir_bridge.pipeline.pull import collecting
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json
from fhir_bridge.steps.runs import newest_pull


@pytest.fixture
def opened(
    tmp_path: Path,
    small_case: Path,
    hospital: Callable[..., RunningHospital],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Bridge, str]]:
    """A bridge at work, a case, and a hospital that takes its time; rounds are short."""
    monkeypatch.setattr(collecting, "ROUND_SECONDS", 0.2)
    urls = hospital("slow-pages", only="ehr").urls
    with serving(Settings.load(data=tmp_path / "b", port=0, dimse_port=0, log_level="ERROR")) as b:
        b.add_provider(TreatingProvider("general", "General Hospital", fhir=str(urls["fhir"])))
        patient = json.load_object((small_case / "patient.json").read_bytes())
        yield b, b.new_case(LOCAL, patient, "oncology", "Is it so?", ["general"])


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def pages(bridge: Bridge, case: str) -> int:
    return sum(slice_.pages for slice_ in bridge.store.ledgers.slices(case))


def grades(bridge: Bridge, case: str) -> dict[str, tuple[int, str]]:
    return {line["type"]: (line["got"], line["grade"]) for line in bridge.certificate(case)}


def paused(bridge: Bridge, case: str) -> dict[str, Any]:
    workflow = bridge.begin_pull(LOCAL, case, None)
    until(lambda: pages(bridge, case))
    bridge.pause_pull(LOCAL, case, None)
    return dict(bridge.engine.result(workflow))


def test_a_paused_pull_goes_on_where_it_was_put_down(opened: tuple[Bridge, str]) -> None:
    bridge, case = opened
    result = paused(bridge, case)
    assert [end["state"] for end in result["sources"]] == ["paused"]
    assert bridge.store.cases.steps(case)["general"][0] == "paused"
    turned = pages(bridge, case)

    bridge.resume_pull(LOCAL, case, None)
    ended = bridge.engine.result(bridge.begin_pull(LOCAL, case, None))

    assert [end["state"] for end in ended["sources"]] == ["done"]
    assert grades(bridge, case)["DocumentReference"] == (12, "consistent")
    assert pages(bridge, case) > turned
    documents = [r for r in bridge.store.ledgers.rows(case) if r.key.kind == "DocumentReference"]
    assert {row.sightings for row in documents} == {1}, "a page was asked for twice"


def test_pulling_again_takes_up_a_paused_pull(opened: tuple[Bridge, str]) -> None:
    bridge, case = opened
    paused(bridge, case)
    ended = bridge.engine.result(bridge.begin_pull(LOCAL, case, None))
    assert [end["state"] for end in ended["sources"]] == ["done"]
    assert bridge.store.cases.get(case).facts["run"] == "1"


@pytest.mark.parametrize("first_paused", [False, True], ids=["running", "paused"])
def test_a_cancelled_pull_claims_nothing_that_it_did_not_do(
    opened: tuple[Bridge, str], *, first_paused: bool
) -> None:
    bridge, case = opened
    if first_paused:
        paused(bridge, case)
    else:
        bridge.begin_pull(LOCAL, case, None)
        until(lambda: pages(bridge, case))
    bridge.cancel_pull(LOCAL, case, None)
    until(lambda: bridge.store.cases.get(case).state is CaseState.ASSEMBLED)
    until(lambda: not bridge.engine.unfinished(newest_pull(bridge.store.cases.get(case))))
    assert bridge.store.cases.steps(case)["general"][0] == "cancelled"
    assert {grade for _, grade in grades(bridge, case).values()} <= {
        "short", "not-asked", "unknown", "consistent",
    }  # fmt: skip
    assert "short" in {grade for _, grade in grades(bridge, case).values()}
    bridge.engine.result(bridge.begin_pull(LOCAL, case, None))
    assert grades(bridge, case)["DocumentReference"] == (12, "consistent")


def test_what_does_not_run_cannot_be_paused(opened: tuple[Bridge, str]) -> None:
    bridge, case = opened
    for order in (bridge.pause_pull, bridge.resume_pull, bridge.cancel_pull):
        with pytest.raises(WrongMoment):
            order(LOCAL, case, None)
