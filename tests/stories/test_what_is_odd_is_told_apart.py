"""Four oddities that look alike from afar: the certificate tells each by its own finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.case.certificate import COMPLETE
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json

DOCUMENT = "DocumentReference"
TOLD = {
    "outcome-only": "outcome-error",
    "total-lies": "total-is-page-size",
    "attachment-nowhere": "attachments-empty",
    "patient-filter-ignored": "another-patient",
}
Lines = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def certificates(
    small_case: Path,
    hospital: Callable[..., RunningHospital],
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, Lines]:
    """The lines of the document slice's certificate, by fault; `""` is a good day."""
    folder = tmp_path_factory.mktemp("told")
    found: dict[str, Lines] = {}
    known = ""
    settings = Settings.load(data=folder, port=0, dimse_port=0, log_level="ERROR")
    patient = json.load_object((small_case / "patient.json").read_bytes())
    with serving(settings) as bridge:
        for fault in ("", *TOLD):
            urls = hospital(*filter(None, [fault]), only="ehr").urls
            name = fault or "good-day"
            bridge.add_provider(TreatingProvider(name, name, fhir=str(urls["fhir"])))
            case = bridge.new_case(LOCAL, patient, "oncology", "Is it so?", [name])
            bridge.engine.result(bridge.begin_pull(LOCAL, case, None))
            (pin,) = bridge.store.cases.pins(case)
            known = known or pin.patient_id
            if not pin.patient_id:  # the search for the patient is answered by the error as well
                bridge.confirm_patient(LOCAL, case, name, known)
                bridge.engine.result(bridge.begin_pull(LOCAL, case, None))
            found[fault] = {line["type"]: line for line in bridge.certificate(case)}
    return found


def codes(lines: Lines) -> set[str]:
    asked = (line for type_, line in lines.items() if type_.startswith(DOCUMENT))
    return {finding["code"] for line in asked for finding in line["findings"]}


def test_a_good_day_has_no_finding(certificates: Mapping[str, Lines]) -> None:
    assert codes(certificates[""]) == set()
    assert certificates[""][DOCUMENT]["grade"] in COMPLETE


@pytest.mark.parametrize(("fault", "code"), TOLD.items())
def test_each_is_told_by_its_own_finding(
    certificates: Mapping[str, Lines], fault: str, code: str
) -> None:
    told = codes(certificates[fault])
    assert code in told
    assert told.isdisjoint(set(TOLD.values()) - {code})


def test_an_error_in_a_200_is_never_complete(certificates: Mapping[str, Lines]) -> None:
    """It says that something is required: the question is asked in parts, and refused in each."""
    lines = certificates["outcome-only"].items()
    grades = {line["grade"] for type_, line in lines if type_.startswith(DOCUMENT)}
    assert grades == {"not-asked", "refused"}


def test_a_lying_total_is_not_believed_and_another_witness_proves_it(
    certificates: Mapping[str, Lines],
) -> None:
    line, good = certificates["total-lies"][DOCUMENT], certificates[""][DOCUMENT]
    assert (line["got"], line["grade"]) == (good["got"], "consistent")
    assert "Bundle.total" not in line["agreed"]
    assert line["agreed"]


def test_what_belongs_to_others_is_not_counted(certificates: Mapping[str, Lines]) -> None:
    line, good = certificates["patient-filter-ignored"][DOCUMENT], certificates[""][DOCUMENT]
    assert line["got"] == good["got"]


def test_an_attachment_without_content_is_counted_and_costs_no_grade(
    certificates: Mapping[str, Lines],
) -> None:
    line = certificates["attachment-nowhere"][DOCUMENT]
    assert line["attachments"]["without_content"] == 1
    assert line["grade"] in COMPLETE
