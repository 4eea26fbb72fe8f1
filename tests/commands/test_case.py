"""Cases as a nurse types them: open, pull, read what came, confirm, release."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from fhir_bridge.standards.fhir import json

from ..doors import Desk
from .conftest import Place


def test_without_cases_the_list_says_how_to_open_one(desk: Desk) -> None:
    assert "fhir-bridge case new" in desk.type("case", "list").out
    assert desk.type("case", "list", "--json").json == []


@pytest.mark.parametrize(
    ("birth", "question", "said"),
    [("yesterday", "Is it?", "YYYY-MM-DD"), ("2025-02-30", "Is it?", "YYYY-MM-DD"),
     ("1961-03-14", " ", "question")],
)  # fmt: skip
def test_a_case_that_nobody_could_work_on_is_not_opened(
    desk: Desk, tmp_path: Path, birth: str, question: str, said: str
) -> None:
    desk.type("provider", "add", "G", "--fhir", "http://127.0.0.1:9")
    patient = {"resourceType": "Patient", "name": [{"family": "Doe"}], "birthDate": birth}
    (tmp_path / "patient.json").write_bytes(json.dumps(patient))
    words = ("--patient", tmp_path / "patient.json", "--specialty", "oncology", "--provider", "g")
    assert said in desk.type("case", "new", *words, "--question", question, code=2).err
    assert desk.type("case", "list", "--json").json == []


def test_before_a_pull_every_view_says_what_to_do(desk: Desk, introduce) -> None:
    case = introduce(desk, fhir="http://127.0.0.1:9/fhir")
    for view in ("ledger", "certificate"):
        assert f"fhir-bridge pull {case}" in desk.type("case", view, case).out
    empty = desk.type("case", "ledger", case, "--json").json
    assert (empty["seen"], empty["records"]) == (0, [])
    assert desk.type("case", "certificate", case, "--json").json == []
    assert "not ready" in desk.type("case", "record", case, code=3).err
    assert "waiting" in desk.type("case", "show", case).out


def test_the_ledger_balances(place: Place) -> None:
    told = place.desk.type("case", "ledger", place.case, "--json").json
    states = Counter(record["state"] for record in told["records"])
    assert told["seen"] == len(told["records"]) == sum(told["states"].values())
    assert dict(states) == {state: n for state, n in told["states"].items() if n}
    assert "pending" not in states
    table = place.desk.type("case", "ledger", place.case).out.splitlines()
    assert len(table) == told["seen"] + 1


def test_the_certificate_has_a_line_for_every_type(place: Place) -> None:
    lines = place.desk.type("case", "certificate", place.case, "--json").json
    grades = {line["type"]: line["grade"] for line in lines}
    offered = {type_: grade for type_, grade in grades.items() if grade != "not-asked"}
    assert offered == {
        "DICOM images": "proven",
        "DiagnosticReport": "consistent",
        "DocumentReference": "consistent",
        "ImagingStudy": "consistent",
    }
    assert set(grades) >= {"Condition", "Encounter", "Observation", "Procedure"}
    reasons = {line["reason"] for line in lines if line["grade"] == "not-asked"}
    assert reasons == {"the hospital does not offer this by FHIR"}
    assert "consistent" in place.desk.type("case", "certificate", place.case).out


def test_the_record_comes_byte_for_byte_to_the_screen_and_to_a_file(
    place: Place, tmp_path: Path
) -> None:
    shown = place.desk.type("case", "record", place.case).raw
    told = place.desk.type("case", "record", place.case, "--out", tmp_path / "r.json", "--json")
    assert (tmp_path / "r.json").read_bytes() == shown
    assert told.json["sha256"] == hashlib.sha256(shown).hexdigest()
    bundle = json.load_object(shown)
    assert bundle["type"] == "document"
    assert bundle["entry"][0]["resource"]["resourceType"] == "Composition"
    assert told.json["entries"] == len(bundle["entry"])


def test_a_record_that_cannot_be_written_is_a_usage_error(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "no-such-folder" / "r.json"
    assert "--out" in place.desk.type("case", "record", place.case, "--out", out, code=2).err


def test_a_second_pull_changes_nothing(place: Place) -> None:
    before = place.desk.type("case", "record", place.case).raw
    again = place.desk.type("pull", place.case, "--provider", "General Hospital", "--json").json
    assert again["version"] == 1
    assert place.desk.type("case", "record", place.case).raw == before


def test_a_complete_record_is_released_by_rule_and_again_by_a_person(place: Place) -> None:
    show = place.desk.type("case", "show", place.case, "--json").json
    assert show["record_version"] == 1
    assert [s["patient"] for s in show["sources"]] == ["accepted"]
    for _ in range(2):
        assert place.desk.type("case", "release", place.case, "--json").json["version"] == 1


def test_a_case_is_listed_with_its_state_and_without_its_patient(place: Place) -> None:
    text = place.desk.type("case", "list").out
    assert place.case in text
    assert "Smallcase" not in text
    assert place.desk.type("case", "list", "--json").json[0]["case"] == place.case


def test_a_person_confirms_the_patient_as_often_as_they_like(place: Place) -> None:
    """A service goes on at once; the pull that is typed then waits for its end."""
    words = ("case", "confirm", place.case, "--provider", "General Hospital", "--patient-id", "p-1")
    for _ in range(2):
        assert place.desk.type(*words, "--json").json["patient_id"] == "p-1"
    assert "Next: fhir-bridge pull" in place.desk.type(*words).out
    assert place.desk.type("pull", place.case, "--json").json["version"] == 1
