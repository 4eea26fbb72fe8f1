"""The scenes that are photographed: cases in every state, told with the oncology fixture."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tests.servers.conftest import NOW

from fhir_bridge import tables
from fhir_bridge.case.case import CaseState
from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.delivery import DeliveryState
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.case.ledger import RecordKey
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.pipeline.pull.plan import NOT_OFFERED
from fhir_bridge.standards.fhir import json

GENERAL, ANNE = "general-hospital", "st-anne"
S = DeliveryState


def name(family: str, given: str, birth_date: str, sex: str, number: str) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "birthDate": birth_date,
        "gender": sex,
        "name": [{"use": "official", "family": family, "given": [given]}],
        "identifier": [{"system": "https://general-hospital.example/mrn", "value": number}],
    }


def oncology(file: str) -> Any:
    return json.loads(tables.folder("fixtures", "cases", "oncology", *file.split("/")).read_bytes())


def pulled(seed: Any, case_id: str, *, reports: int, said: int | None = None) -> None:
    """The oncology fixture as received, with its files."""
    files = tables.folder("fixtures", "cases", "oncology", "files")
    table = tables.folder("fixtures", "cases", "oncology", "ehr", "binaries.csv")
    lines = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    binaries = {row["id"]: (row["file"], row["content_type"]) for row in lines}
    papers = oncology("ehr/DocumentReference.json")
    done = oncology("ehr/DiagnosticReport.json")[:reports]
    seed.pinned(case_id)
    seed.records(case_id, "DocumentReference", papers, evidence=both(len(papers)))
    seed.records(case_id, "DiagnosticReport", done, evidence=one(len(done), said or len(done)))
    seed.records(case_id, "ImagingStudy", oncology("ehr/ImagingStudy.json"), evidence=one(2, 2))
    for paper in papers:
        parent = RecordKey(GENERAL, "DocumentReference", paper["id"], "1")
        id_ = paper["content"][0]["attachment"].get("url", "").removeprefix("Binary/")
        found = binaries.get(id_, ("", ""))
        path = files / found[0]
        if found[0] and path.exists():
            seed.file(case_id, parent, path.read_bytes(), found[1])
        else:
            seed.file(
                case_id,
                parent,
                None,
                "application/pdf",
                failure="FB-4002",
                reason="the hospital lists this document and does not hand over its content",
            )


def studies(seed: Any, case_id: str, *, share: float = 1.0) -> None:
    """Series with the fixture's own numbers, so that their descriptions are found."""
    for study in oncology("studies.json"):
        for series in study["series"]:
            total = series.get("slices", 1)
            held = max(1, int(total * share))
            seed.images(
                case_id,
                study["study_uid"][5:],
                series["series_uid"][5:],
                min(held, 6),
                modality=series["modality"],
                claimed=min(total, 6),
            )


def both(number: int) -> Evidence:
    counts = tuple(Count(w, number, after=True, ids_agree=True) for w in ("by category", "by date"))
    return Evidence(obtained=number, counts=counts)


def one(number: int, said: int) -> Evidence:
    return Evidence(obtained=number, counts=(Count("_summary=count", said, after=True),))


def everything(seed: Any) -> None:
    """A case in each state, and the awkward ones."""
    patient = oncology("patient.json")
    question = oncology("case.json")["question"]
    seed.case(
        "fresh",
        patient=name("Abernathy-Cole", "Rosalind", "1974-09-02", "female", "GH-0210044"),
        specialty="neurology",
        days_ago=0,
        providers=(GENERAL, ANNE),
        question="Is natalizumab still the right choice after two relapses in one year?",
    )
    pulling(seed, patient, question)
    resting(seed, patient, question)
    kinds(seed, patient, question)
    asking(seed)
    ready(seed, patient, question)
    written(seed, patient, question)
    delivered(seed)
    refused(seed)
    awkward(seed)
    seed.images(
        None,
        "77",
        "77",
        5,
        modality="MR",
        header=Person(
            identifiers=(), family="QUINTERO", given="MARISOL", birth_date="19670412", sex="F"
        ),
    )
    seed.images(
        None,
        "78",
        "78",
        2,
        modality="CT",
        header=Person(
            identifiers=(), family="OKONKWO", given="DANIEL", birth_date="19550130", sex="M"
        ),
    )


def pulling(seed: Any, patient: Mapping[str, Any], question: str) -> None:
    seed.case("pulling", patient=patient, question=question, providers=(GENERAL, ANNE), days_ago=1)
    pulled(seed, "pulling", reports=9)
    studies(seed, "pulling", share=0.5)
    seed.image_slice("pulling", Evidence(obtained=9), ended=False)
    seed.step("pulling", GENERAL, "fetching images")
    seed.step("pulling", ANNE, "failed", "FB-2003")
    seed.store.cases.move("pulling", CaseState.COLLECTING)


BESIDE = {
    "DocumentReference/$docref": one(1, 1),
    "Observation?category=laboratory": one(120, 120),
    "Observation?category=vital-signs": one(48, 48),
    "Observation?category=survey": one(0, 0),
    "Encounter": both(7),
    "Condition": Evidence(obtained=5, findings=("total-absent",)),
    "Procedure": Evidence(obtained=2, findings=("total-absent", "filter-ignored")),
    "AllergyIntolerance": one(0, 0),
    "CarePlan": one(1, 3),
    "MedicationRequest": Evidence(refused="no scope"),
    "ServiceRequest": Evidence(refused="no scope"),
    "Media": Evidence(not_asked=NOT_OFFERED),
    "Specimen": Evidence(not_asked=NOT_OFFERED),
    "Immunization": Evidence(not_asked=NOT_OFFERED),
}


def beside(seed: Any, case_id: str, *, ended: bool) -> None:
    """Everything else that a plan asks for."""
    for type_, evidence in BESIDE.items():
        over = ended or bool(evidence.not_asked or evidence.refused)
        slice_ = Slice(case_id, GENERAL, type_, run=1, ended=over, evidence=evidence)
        seed.store.ledgers.turn(Page(slice_))


def resting(seed: Any, patient: Mapping[str, Any], question: str) -> None:
    """One hospital asks for a rest, and the pull from the other is paused."""
    seed.case("resting", patient=patient, question=question, providers=(GENERAL, ANNE), days_ago=1)
    pulled(seed, "resting", reports=9)
    beside(seed, "resting", ended=False)
    seed.step("resting", GENERAL, "waiting", "FB-2002")
    seed.store.cases.waits("resting", GENERAL, NOW + timedelta(minutes=30))
    seed.pinned("resting", ANNE)
    seed.step("resting", ANNE, "paused")
    counted = Evidence(obtained=14, counts=(Count("Bundle.total", 38),), page_size=14)
    letters = Slice("resting", ANNE, "DocumentReference", pages=1, evidence=counted)
    seed.store.ledgers.turn(Page(letters))
    seed.store.cases.move("resting", CaseState.COLLECTING)
    seed.store.endpoints.learn(
        GENERAL, at=NOW, page_size={"DocumentReference": 100}, scope_syntax="v2", median_ms=180,
        totals={"DocumentReference": "trusted"}, window=8, throttled_by_hour={"13": 4},
    )  # fmt: skip


def kinds(seed: Any, patient: Mapping[str, Any], question: str) -> None:
    """Every kind of record, each with an end of its own."""
    seed.case("kinds", patient=patient, question=question, days_ago=2)
    pulled(seed, "kinds", reports=14)
    beside(seed, "kinds", ended=True)
    studies(seed, "kinds")
    seed.image_slice("kinds", both(30))
    seed.step("kinds", GENERAL, "done")
    seed.record("kinds")


def asking(seed: Any) -> None:
    system = "https://general-hospital.example/mrn"
    seed.case(
        "asking",
        patient=name("Okonkwo", "Daniel", "1955-01-30", "male", "GH-0117720"),
        specialty="cardiology",
        days_ago=2,
        question="Should the aortic valve be replaced by catheter or by open surgery?",
    )
    seed.asked(
        "asking",
        GENERAL,
        Person((Identifier(system, "GH-0117720"),), "Okonkwo", "Daniel", "1955-01-30", "male", "a"),
        Person(
            (Identifier(system, "GH-0971101"),), "Okonkwo", "Danielle", "1955-01-03", "female", "b"
        ),
    )


def ready(seed: Any, patient: Mapping[str, Any], question: str) -> None:
    seed.case("ready", patient=patient, question=question, days_ago=12)
    pulled(seed, "ready", reports=12, said=14)
    studies(seed, "ready")
    seed.image_slice("ready", Evidence(obtained=30))
    seed.record("ready")


def written(seed: Any, patient: Mapping[str, Any], question: str) -> None:
    seed.case("written", patient=patient, question=question, days_ago=6)
    pulled(seed, "written", reports=14)
    studies(seed, "written")
    seed.image_slice("written", both(30))
    seed.record("written")
    seed.release("written")


def delivered(seed: Any) -> None:
    seed.case(
        "delivered",
        patient=name("Lindqvist", "Astrid", "1948-07-21", "female", "GH-0330912"),
        specialty="gastroenterology",
        days_ago=9,
        providers=(GENERAL, ANNE),
        question="Is a second biologic worth trying before colectomy?",
    )
    pulled(seed, "delivered", reports=14)
    seed.record("delivered")
    seed.release("delivered")
    seed.opinion("delivered", GENERAL, ANNE)
    steps = (S.SENT, S.ACCEPTED, S.READ_BACK, S.CONFIRMED)
    seed.climb(f"delivered-{GENERAL}", *steps)
    seed.climb(f"delivered-{ANNE}", *steps)


def refused(seed: Any) -> None:
    seed.case(
        "refused",
        patient=name("Haddad", "Youssef", "1983-11-05", "male", "GH-0401188"),
        specialty="neurosurgery",
        days_ago=7,
        providers=(GENERAL, ANNE),
        question="Can the cavernoma in the brainstem be reached without lasting deficit?",
    )
    pulled(seed, "refused", reports=4)
    seed.record("refused")
    seed.release("refused")
    seed.opinion("refused", GENERAL, ANNE)
    seed.climb(f"refused-{GENERAL}", S.SENT, S.ACCEPTED, S.READ_BACK)
    seed.climb(f"refused-{ANNE}", S.SENT, S.REFUSED, S.HELD)


def awkward(seed: Any) -> None:
    """A name of sixty letters, right-to-left text, markup where a name should be."""
    seed.case(
        "long",
        patient=name(
            "Wolfeschlegelsteinhausenbergerdorff-Quintanilla-Featherstone",
            "Maximiliana Theodora",
            "1990-02-28",
            "other",
            "GH-0009999999999999",
        ),
        days_ago=4,
    )
    seed.case(
        "arabic",
        patient=name("الخوارزمي", "فاطمة", "1971-06-17", "female", "GH-0555123"),
        specialty="neurology",
        days_ago=5,
        question="هل يلزم إجراء جراحة، أم يكفي العلاج الدوائي؟",
    )
    seed.case(
        "hostile",
        patient=name(
            '<script>alert("x")</script>', "=cmd|' /C calc'!A0", "1980-01-01", "female", "4711"
        ),
        days_ago=1,
        question="<img src=x onerror=alert(1)>",
    )
