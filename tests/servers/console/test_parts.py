"""Fifteen kinds of record read calmly: what matters by itself, the rest together."""

from __future__ import annotations

import pytest
from tests.servers.conftest import GENERAL, Bridge, counted, document

from fhir_bridge.case.certificate import Evidence
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.pipeline.pull.plan import BY_PARTS, NOT_OFFERED
from fhir_bridge.servers.console.parts import asked, not_asked, parts_of, short_list
from fhir_bridge.servers.console.words import State

BESIDE = {
    "Observation?category=laboratory": counted(120),
    "Encounter": counted(3),
    "Specimen": counted(0),
    "Condition": Evidence(obtained=2),
    "Procedure": Evidence(refused="no scope"),
    "MedicationRequest": Evidence(refused="no scope"),
    "CarePlan": counted(4, 6),
    "Media": Evidence(not_asked=NOT_OFFERED),
    "Immunization": Evidence(not_asked=NOT_OFFERED),
    "Observation": Evidence(not_asked=BY_PARTS),
    "ImagingStudy": Evidence(not_asked=NOT_OFFERED),
}


@pytest.fixture
def many(bridge: Bridge) -> Bridge:
    bridge.seed.case("case-1")
    bridge.seed.records("case-1", "DocumentReference", [document("d1", "Letter", "2026")],
                        evidence=counted(1))  # fmt: skip
    for type_, evidence in BESIDE.items():
        slice_ = Slice("case-1", GENERAL, type_, ended=True, evidence=evidence)
        bridge.store.ledgers.turn(Page(slice_))
    bridge.seed.step("case-1", GENERAL, "done")
    return bridge


def _shown(bridge: Bridge) -> dict[str, str]:
    found = short_list(sorted(parts_of(bridge.store, "case-1"), key=lambda part: part.place))
    assert len({one.key for one in found}) == len(found)
    return {f"{one.title} {one.saying.label}": one.saying.text for one in found}


def test_documents_and_what_is_missing_stand_alone_the_rest_together(many: Bridge) -> None:
    assert _shown(many) == {
        "Documents Complete": "Complete by the hospital's own count (1 of 1).",
        "Imaging studies Not asked": "Not asked: the hospital does not offer this by FHIR.",
        "Care plans Missing": "2 of 6 care plans are missing.",
        "Other records Complete": (
            "3 visits and 120 laboratory results. No specimens. "
            "Complete by the hospital's own counts."
        ),
        "Diagnoses Not confirmed": (
            "All that was offered is here (2); the hospital does not say how much it has."
        ),
        "Other records Refused": (
            "Refused by the hospital: our access does not cover prescriptions and procedures."
        ),
        "Further records Not asked": (
            "Not asked: this hospital does not offer vaccinations and photographs by FHIR."
        ),
    }


def test_what_was_asked_part_by_part_is_left_to_the_certificate(many: Bridge) -> None:
    parts = parts_of(many.store, "case-1")
    assert {"Media", "Immunization", "Observation"}.isdisjoint(p.line.type for p in asked(parts))
    texts = [one.text for one in not_asked(parts)]
    assert f"Not asked (results): {BY_PARTS}." in texts
    page = many.client().get("/cases/case-1/certificate").text
    assert "photographs" in page
    assert "Confirmed by" not in page


def test_while_it_works_the_types_beside_are_counted_in_one_line(many: Bridge) -> None:
    for type_, number in (("Encounter", 5), ("Specimen", 0)):
        open_ = Slice("case-1", GENERAL, type_, run=2, evidence=Evidence(obtained=number))
        many.store.ledgers.turn(Page(open_))
    assert _shown(many)["Other records Working"] == "5 visits. More may come."


def test_every_type_of_the_plan_has_its_words(many: Bridge) -> None:
    from fhir_bridge.pipeline.pull import plan
    from fhir_bridge.servers.console.nouns import things

    names = {one.name for vendor in ("", "epic", "oracle", "meditech", "athena")
             for version in ("DSTU2", "STU3", "R4", "R5")
             for one in plan.searches(vendor, version)}  # fmt: skip
    for name in names:
        said = things(name)
        assert said == said.lower(), name
        assert not set("?=/$") & set(said), name


def test_nothing_is_called_done_that_is_not(many: Bridge) -> None:
    states = {one.saying.state for one in short_list(parts_of(many.store, "case-1"))}
    assert states == {State.DONE, State.LEFT, State.NEEDS, State.WAITING, State.FAILED}
