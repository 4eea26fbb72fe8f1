"""Judges that we did not write read every case record and every opinion of the fixture cases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.security.access import LOCAL
from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.document import problems
from fhir_bridge.store.cases import parse_node

from . import job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fhir_bridge.bridge import Bridge

    from .validator import Judges


@dataclass(frozen=True, slots=True)
class Made:
    """The two documents of a case, and the references that its record lists as leading nowhere."""

    record: bytes
    opinion: bytes
    unresolved: frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Made]:
    """Every fixture case, each from a hospital of its own with EHR and PACS, in one bridge."""
    folder = tmp_path_factory.mktemp("judged")
    with ExitStack() as stack:
        hospitals = _hospitals(folder, stack)
        bridge = stack.enter_context(job.running_bridge(folder / "bridge"))
        cases = {one: _open(bridge, one, hospitals[one]) for one in job.SPECIALTIES}
        return dict(_made(bridge, cases))


def _hospitals(folder: Path, stack: ExitStack) -> Mapping[str, RunningHospital]:
    def start(specialty: str) -> RunningHospital:
        chart = job.Chart(specialty)
        return start_hospital(Options(chart.folder, folder / specialty, open_door=True))

    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(start, job.SPECIALTIES))
    return {
        specialty: stack.enter_context(hospital)
        for specialty, hospital in zip(job.SPECIALTIES, started, strict=True)
    }


def _open(bridge: Bridge, specialty: str, hospital: RunningHospital) -> str:
    urls = hospital.urls
    provider = TreatingProvider(
        id=specialty,
        name=f"General Hospital, {specialty}",
        fhir=str(urls["fhir"]),
        dimse=parse_node(str(urls["dimse"])),
        dicomweb=str(urls["dicomweb"]),
        issuers={"general-hospital": "https://general-hospital.example/mrn"},
    )
    bridge.add_provider(provider)
    return job.open_case(bridge, job.Chart(specialty), specialty)


def _made(bridge: Bridge, cases: Mapping[str, str]) -> Iterator[tuple[str, Made]]:
    pulls = [bridge.begin_pull(LOCAL, case_id, None) for case_id in cases.values()]
    for pull in pulls:
        bridge.engine.result(pull)
    for specialty, case_id in cases.items():
        job.release(bridge, case_id)
        job.finish(bridge, case_id, job.Chart(specialty))
        record, opinion = job.documents(bridge, case_id)
        listed = bridge.store.records.get(case_id).unresolved
        yield specialty, Made(record, opinion, frozenset((one.entry, one.path) for one in listed))


@pytest.mark.parametrize("specialty", job.SPECIALTIES)
def test_no_judge_finds_an_error_in_a_case_record(
    specialty: str, made: Mapping[str, Made], judges: Judges
) -> None:
    assert judges.judge(made[specialty].record) == job.NO_ERRORS


@pytest.mark.parametrize("specialty", job.SPECIALTIES)
def test_no_judge_finds_an_error_in_an_opinion(
    specialty: str, made: Mapping[str, Made], judges: Judges
) -> None:
    assert judges.judge(made[specialty].opinion) == job.NO_ERRORS


@pytest.mark.parametrize("specialty", job.SPECIALTIES)
def test_our_own_rules_hold_where_the_judges_are_silent(
    specialty: str, made: Mapping[str, Made]
) -> None:
    """No reference leads out of a document, but for those that the record lists with a reason."""
    ours = made[specialty]
    assert problems(json.load_object(ours.record), ours.unresolved) == []
    assert problems(json.load_object(ours.opinion)) == []
