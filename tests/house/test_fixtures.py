"""The synthetic records: listed, valid, closed in themselves, and true to their own files."""

from __future__ import annotations

import base64
import csv
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from lxml import etree

from fhir_bridge import tables
from fhir_bridge.simulators.studies import SOP_CLASSES, instance_uid
from fhir_bridge.standards.fhir import json

ROOT = tables.folder("fixtures")
CASES = ("neurology", "neurosurgery", "cardiology", "gastroenterology", "oncology")
MISSING = {"gas-bin-removed-2021"}
Resource = dict[str, Any]

every_case = pytest.mark.parametrize("case", CASES)


@cache
def chart(case: str) -> dict[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for path in sorted((ROOT / "cases" / case / "ehr").glob("[A-Z]*.json")):
        found[path.stem] = json.loads(path.read_bytes())
    return found


def resources(case: str) -> list[Resource]:
    return [resource for kind in chart(case).values() for resource in kind]


def read(case: str, name: str) -> Any:
    return json.loads((ROOT / "cases" / case / name).read_bytes())


@cache
def binaries(case: str) -> dict[str, tuple[str, str]]:
    table = ROOT / "cases" / case / "ehr" / "binaries.csv"
    with table.open(encoding="utf-8", newline="") as lines:
        return {row["id"]: (row["file"], row["content_type"]) for row in csv.DictReader(lines)}


def nodes(value: object) -> Iterator[Resource]:
    """Every object inside a resource, the resource included."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def attachments(case: str) -> list[Resource]:
    held = [
        *(c["attachment"] for d in chart(case)["DocumentReference"] for c in d["content"]),
        *(form for r in chart(case)["DiagnosticReport"] for form in r.get("presentedForm", ())),
    ]
    assert held
    return held


def listed() -> list[str]:
    lines = (ROOT / "SOURCES.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    assert all(row[3] == "yes" for row in rows[2:])
    return [row[0] for row in rows[2:]]


def test_every_file_is_listed_as_synthetic_and_every_listed_file_is_there() -> None:
    held = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    assert listed() == sorted(p.as_posix() for p in held if "__pycache__" not in p.parts)


def test_the_tree_stays_small() -> None:
    sizes = {path: path.stat().st_size for path in ROOT.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 6_000_000
    assert all(size < 60_000 for path, size in sizes.items() if path.suffix == ".pdf")


def test_making_the_fixtures_again_gives_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "make.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, timeout=120)
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            name = path.relative_to(tmp_path).as_posix()
            assert path.read_bytes() == (ROOT / name).read_bytes(), name


@every_case
def test_every_resource_is_valid_r4(case: str) -> None:
    for resource in resources(case):
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)


@every_case
def test_every_resource_has_an_identity_and_a_version(case: str) -> None:
    for kind, held in chart(case).items():
        ids = [resource["id"] for resource in held]
        assert len(ids) == len(set(ids)), kind
        for resource in held:
            assert resource["resourceType"] == kind
            assert resource["meta"]["versionId"].isdigit()
            assert resource["meta"]["lastUpdated"] < "2026"


@every_case
def test_every_reference_resolves_inside_the_case(case: str) -> None:
    known = {f"{resource['resourceType']}/{resource['id']}" for resource in resources(case)}
    for resource in resources(case):
        for node in nodes(resource):
            if isinstance(node.get("reference"), str):
                assert node["reference"] in known, resource["id"]


@every_case
def test_every_attachment_tells_the_true_size_and_hash_of_its_bytes(case: str) -> None:
    for attachment in attachments(case):
        name = attachment.get("url", "").removeprefix("Binary/")
        if name in MISSING:
            continue
        if name:
            file, content_type = binaries(case)[name]
            body = (ROOT / "cases" / case / "files" / file).read_bytes()
            assert attachment["contentType"] == content_type
        else:
            body = base64.b64decode(attachment["data"], validate=True)
        digest = hashlib.sha1(body, usedforsecurity=False).digest()
        assert attachment["size"] == len(body)
        assert attachment["hash"] == base64.b64encode(digest).decode()


def test_only_gastroenterology_has_a_broken_link() -> None:
    broken = {
        (case, attachment["url"].removeprefix("Binary/"))
        for case in CASES
        for attachment in attachments(case)
        if "url" in attachment and attachment["url"].removeprefix("Binary/") not in binaries(case)
    }
    assert broken == {("gastroenterology", name) for name in MISSING}


@every_case
def test_imaging_studies_name_what_the_generator_makes(case: str) -> None:
    offered = [study for study in read(case, "studies.json") if not study["pushed"]]
    held = chart(case)["ImagingStudy"]
    assert [s["identifier"][0]["value"] for s in held] == [
        f"urn:oid:{study['study_uid']}" for study in offered
    ]
    for resource, study in zip(held, offered, strict=True):
        made = [
            (uid, instance_uid(uid, n), SOP_CLASSES[series["kind"]])
            for series in study["series"]
            for uid in [series["series_uid"]]
            for n in range(1, series.get("slices", 1) + 1)
        ]
        told = [
            (s["uid"], i["uid"], i["sopClass"]["code"].removeprefix("urn:oid:"))
            for s in resource["series"]
            for i in s["instance"]
        ]
        assert told == made
        assert resource["numberOfInstances"] == len(made)
        assert resource["numberOfSeries"] == len(study["series"])


@every_case
def test_a_case_tells_of_duplicates_successors_and_errors(case: str) -> None:
    documents = {d["id"]: d for d in chart(case)["DocumentReference"]}
    files = [d["content"][0]["attachment"] for d in documents.values()]
    hashes = [file["hash"] for file in files if "hash" in file]
    assert len(hashes) > len(set(hashes)), "the same bytes under two documents"
    forms = [form for r in chart(case)["DiagnosticReport"] for form in r.get("presentedForm", ())]
    assert {f["url"] for f in forms if "url" in f} & {f["url"] for f in files if "url" in f}
    (old,) = (d["id"] for d in documents.values() if d["status"] == "superseded")
    (new,) = (d for d in documents.values() if "relatesTo" in d)
    assert new["relatesTo"] == [
        {"code": "replaces", "target": {"reference": f"DocumentReference/{old}"}}
    ]
    assert sum(d["status"] == "entered-in-error" for d in documents.values()) == 1


@every_case
def test_the_opinion_cites_documents_by_their_title(case: str) -> None:
    text = (ROOT / "cases" / case / "opinion.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    assert [line.split(":")[0] for line in front.splitlines()] == [
        "title", "author", "qualification", "organisation", "date",
    ]  # fmt: skip
    evidence = body.split("## Evidence")[1].strip().splitlines()
    titles = {d["type"]["text"] for d in chart(case)["DocumentReference"]}
    assert {line.removeprefix("- ") for line in evidence} <= titles


@every_case
def test_the_continuity_of_care_document_is_well_formed_and_about_the_patient(case: str) -> None:
    root = etree.parse(str(ROOT / "cases" / case / "files" / "summary.xml")).getroot()
    spaces = {"h": "urn:hl7-org:v3"}
    (mrn,) = root.xpath("h:recordTarget/h:patientRole/h:id/@extension", namespaces=spaces)
    assert mrn == read(case, "patient.json")["identifier"][0]["value"]
    codes = root.xpath("//h:section/h:code/@code", namespaces=spaces)
    assert {"48765-2", "10160-0", "11450-4", "30954-2", "18776-5"} <= set(codes)
    anchors = set(root.xpath("//@ID"))
    pointers = root.xpath("//h:reference/@value", namespaces=spaces)
    assert {pointer.removeprefix("#") for pointer in pointers} <= anchors


@every_case
def test_images_name_the_patient_whom_the_nurse_has(case: str) -> None:
    patient = read(case, "patient.json")
    name = patient["name"][0]
    for study in read(case, "studies.json"):
        assert study["patient_id"] == patient["identifier"][0]["value"]
        assert study["patient"]["birth_date"] == patient["birthDate"].replace("-", "")
        assert study["patient"]["sex"] == patient["gender"][0].upper()
        written = f"{name['family']}^{name['given'][0]}"
        assert study["patient"]["name"].casefold() == written.casefold()
        assert len(study["patient"]["name"]) <= 64, "PS3.5 6.2: 64 characters a component group"


def test_oncology_is_rich_enough_for_the_demo() -> None:
    assert 20 < len(chart("oncology")["DocumentReference"]) <= 30
    (decoy, patient) = (read("oncology", "ehr/decoy-patient.json"), chart("oncology")["Patient"][0])
    get_fhir_model_class("Patient").model_validate(decoy)
    assert decoy["id"] != patient["id"]
    assert decoy["identifier"] != patient["identifier"]
    assert (decoy["name"], decoy["birthDate"]) == (patient["name"], patient["birthDate"])
    values = (ROOT / "cases/oncology/ehr/Observation.json").read_text(encoding="utf-8")
    assert '"value": 1.50,' in values
    assert '"value": 68.40,' in values
