"""The plan of a pull: what is asked of which endpoint, as the tables say it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fhir_bridge import tables
from fhir_bridge.errors import ProviderRefused
from fhir_bridge.pipeline.pull import collecting, pages, plan

from . import fake_ehr

SEARCHED = frozenset({"search-type"})
CORE = ["DocumentReference", "DiagnosticReport", "ImagingStudy"]


def offers(**facts: Any) -> Any:
    known = {"software": "", "publisher": "", "url": "", "fhir_version": "4.0.1"}
    return SimpleNamespace(**{**known, **facts})


def slices(source: Any) -> dict[str, Any]:
    return {s.type: s for s in source.shelf.slices(source.case.id, source.id)}


def collected(source: Any, ehr: Any) -> None:
    while collecting.collect(source, ehr, seconds=5).more:
        pass


@pytest.mark.parametrize(
    ("facts", "vendor"),
    [
        ({"software": "Epic"}, "epic"),
        ({"publisher": "Oracle Health"}, "oracle"),
        ({"publisher": "Medical Information Technology, Inc"}, "meditech"),
        ({"software": "HAPI FHIR Server"}, "hapi"),
        ({"url": "https://api.platform.athenahealth.com/fhir/r4"}, "athena"),
        ({}, ""),
    ],
)
def test_a_vendor_is_recognised_by_its_own_statement(facts, vendor):
    assert plan.vendor_of(offers(**facts), "https://ehr.example/r4") == vendor


@pytest.mark.parametrize(
    ("written", "version"),
    [("1.0.2", "DSTU2"), ("3.0.1", "STU3"), ("4.0.1", "R4"), ("4.3.0", "R4B"), ("5.0.0", "R5"),
     ("", "R4"), ("four", "R4")],
)  # fmt: skip
def test_the_version_decides_under_which_name_a_type_is_asked(written, version):
    assert plan.version_of(offers(fhir_version=written)) == version
    names = {search.type for search in plan.searches("", version)}
    assert names >= set(CORE)
    assert ("MedicationRequest" in names) is (version != "DSTU2")
    assert ("ServiceRequest" in names) is version.startswith(("R4", "R5"))


def test_a_vendors_rows_take_the_place_of_the_general_ones():
    epic = [search.name for search in plan.searches("epic", "R4")]
    assert "Observation" not in epic
    assert {"Observation?category=laboratory", "Observation?category=vital-signs"} <= set(epic)
    assert set(CORE) <= set(epic)
    meditech = {search.type: search.need for search in plan.searches("meditech", "R4")}
    assert meditech["ImagingStudy"] == plan.NEVER


@pytest.mark.parametrize("vendor", ["any", "athena", "epic", "meditech", "oracle"])
def test_every_row_of_a_vendor_is_one_of_ours_with_a_need_and_a_version(vendor):
    general = {row["type"] for row in tables.rows("mappings", "providers", "any", "searches.csv")}
    for row in tables.rows("mappings", "providers", vendor, "searches.csv"):
        assert row["type"] in general
        assert row["need"] in {"core", "beside", "offered", "never"}
        assert set(row["fhir"].split()) <= {"DSTU2", "STU3", "R4", "R4B", "R5"}


def test_what_is_not_offered_is_not_asked_and_an_operation_then_has_no_line(store, case):
    ehr = fake_ehr.FakeEhr(store, case.id, [fake_ehr.patient()])
    source = fake_ehr.source_of(store, case, ehr)
    assert sorted(plan.begin(source, ehr, 1)) == sorted(CORE)
    found = slices(source)
    assert found["Media"].evidence.not_asked == plan.NOT_OFFERED
    assert "DocumentReference/$docref" not in found


def test_documents_made_on_demand_are_asked_where_the_operation_is_declared(store, case):
    made = fake_ehr.document("ccd")
    ehr = fake_ehr.FakeEhr(
        store, case.id, [fake_ehr.patient(), made],
        operations={"DocumentReference": frozenset({"docref"})},
    )  # fmt: skip
    source = fake_ehr.source_of(store, case, ehr)
    assert "DocumentReference/$docref" in plan.begin(source, ehr, 1)
    assert dict(slices(source)["DocumentReference/$docref"].question) == {"patient": "p1"}


def test_a_statement_without_types_says_nothing_and_everything_is_asked(store, case):
    ehr = fake_ehr.FakeEhr(store, case.id, [fake_ehr.patient()], interactions={})
    source = fake_ehr.source_of(store, case, ehr)
    assert len(plan.begin(source, ehr, 1)) == 14


def test_a_question_that_is_refused_without_a_category_is_asked_part_by_part(store, case):
    labs = [
        {
            "resourceType": "Observation", "id": f"o{n}", "meta": {"versionId": "1"},
            "status": "final", "subject": {"reference": "Patient/p1"}, "code": {"text": "Hb"},
            "category": [{"coding": [{"code": code}]}],
        }
        for n, code in enumerate(["laboratory", "laboratory", "vital-signs"])
    ]  # fmt: skip
    ehr = _Demanding(
        store, case.id, [fake_ehr.patient(), *labs],
        interactions={"Observation": SEARCHED},
    )  # fmt: skip
    source = fake_ehr.source_of(store, case, ehr)
    plan.begin(source, ehr, 1)
    collected(source, ehr)
    found = slices(source)
    assert found["Observation"].evidence.not_asked == plan.BY_PARTS
    got = {name: s.evidence.obtained for name, s in found.items() if s.evidence.obtained}
    assert got == {"Observation?category=laboratory": 2, "Observation?category=vital-signs": 1}


class _Demanding(fake_ehr.FakeEhr):
    """US Core allows it: 400 without a category."""

    def search(self, type_: str, params: Any, *, post: bool = False) -> Any:
        category = dict(params).get("category", "")
        if type_ != "Observation":
            return super().search(type_, params, post=post)
        if not category:
            raise ProviderRefused("HTTP 400 (required)")
        ours = [r for r in self.resources if r["resourceType"] == type_]
        fit = [r for r in ours if r["category"][0]["coding"][0]["code"] == category]
        entries = [{"resource": resource} for resource in fit]
        found = {"resourceType": "Bundle", "type": "searchset", "total": len(fit)}
        return self._answer(found | ({"entry": entries} if entries else {}))


def test_a_cancelled_plan_tells_what_was_begun_from_what_was_not(store, case):
    documents = [fake_ehr.document(f"d{n}") for n in range(5)]
    ehr = fake_ehr.FakeEhr(store, case.id, [fake_ehr.patient(), *documents], page=2)
    source = fake_ehr.source_of(store, case, ehr)
    plan.begin(source, ehr, 1)
    pages.turn(source, ehr, "DocumentReference")
    plan.cancel(source)
    found = slices(source)
    assert found["DocumentReference"].evidence.broken == plan.CANCELLED
    assert found["DiagnosticReport"].evidence.not_asked == plan.CANCELLED
    assert all(s.ended for s in found.values())
