"""A bulk export finds all of ours, none of theirs, and says so when it cannot be sure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fhir_bridge.case.certificate import COMPLETE, Grade
from fhir_bridge.case.export import Stage
from fhir_bridge.case.ledger import RecordState
from fhir_bridge.pipeline.pull import bulk
from fhir_bridge.pipeline.pull.bulk_lines import WITNESS
from fhir_bridge.standards.fhir import json

from .bulk_hospital import ODD, OURS, REPORTS, TYPES, Visit, hospital, visit, write_chart

DOCUMENTS, BOTH = "DocumentReference", set(TYPES)
ALL = {f"d{n}" for n in range(OURS)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_chart(tmp_path_factory.mktemp("chart") / "case")


@pytest.fixture
def visiting(store, new_case, folder, tmp_path) -> Iterator[Callable[..., Visit]]:
    with ExitStack() as open_:

        def opened(*faults: str) -> Visit:
            state = tmp_path / "state"
            shutil.rmtree(state, ignore_errors=True)
            urls = open_.enter_context(hospital(folder, state, *faults))
            return open_.enter_context(visit(store, new_case(), urls["fhir"]))

        yield opened


def test_a_group_export_brings_all_of_ours_and_none_of_theirs(visiting):
    here = visiting()
    assert here.begin()
    ended, waits = here.steps()
    assert ended == bulk.Done()
    assert here.held() == ALL
    assert here.held("DiagnosticReport") == {f"r{n}" for n in range(REPORTS)}
    assert max(waits) == 1.0
    line = here.line()
    assert (line.grade, line.said, line.got) == (Grade.CONSISTENT, OURS, OURS)
    assert line.agreed == (WITNESS,)
    assert any(request.startswith("DELETE /fhir/bulk-status/") for request in here.requests())


def test_the_order_is_one_comma_joined_question(visiting):
    here = visiting()
    here.begin(since="2025-01-01T00:00:00Z")
    here.steps()
    order = next(r for r in here.requests() if "$export" in r)
    assert order == (
        "GET /fhir/Group/everybody/$export?_type=DocumentReference,DiagnosticReport"
        "&_outputFormat=application/fhir%2Bndjson&_since=2025-01-01T00:00:00Z"
    )


def test_the_export_of_one_patient_is_tried_first_then_that_of_all(visiting):
    here = visiting()
    here.begin(of="patient")
    assert here.steps()[0] == bulk.Done()
    assert here.held() == ALL
    assert any("/Patient/p1/$export" in request for request in here.requests())


def test_a_line_is_kept_byte_for_byte_and_read_from_its_own_original(visiting):
    here = visiting()
    here.begin()
    here.steps()
    found = [s for s in here.store.ledgers.sighted(here.case.id) if s.key.id == "d3"]
    assert [s.resource["description"] for s in found] == [ODD]
    original = here.store.originals.get(found[0].original)
    whole = here.store.originals.get(original.previous)
    lines = here.store.originals.read(whole.sha256).split(b"\n")
    (mine,) = [line for line in lines if line and json.loads(line)["id"] == "d3"]
    assert mine in here.store.originals.read(original.sha256)
    assert b"Patient/p2" not in here.store.originals.read(original.sha256)


def test_a_deleted_file_names_what_is_gone(visiting):
    here = visiting()
    here.begin(since="2025-01-01T00:00:00Z")
    here.steps()
    assert bulk.deleted(here.source, here.jobs) == {(DOCUMENTS, "deleted-last-week")}


# fault -> what the export left to the pages, the grade of documents after it alone, after pages.
FAULTS = {
    "bulk-refused": (BOTH, Grade.UNKNOWN, Grade.CONSISTENT),
    "bulk-order-429-once": (set(), Grade.CONSISTENT, Grade.CONSISTENT),
    "bulk-status-500-once": (set(), Grade.CONSISTENT, Grade.CONSISTENT),
    "bulk-absurd-wait": (set(), Grade.CONSISTENT, Grade.CONSISTENT),
    "bulk-job-lost": (set(), Grade.CONSISTENT, Grade.CONSISTENT),
    "bulk-count-too-high": (BOTH, Grade.SHORT, Grade.SHORT),
    "bulk-promised-0": (BOTH, Grade.UNKNOWN, Grade.CONSISTENT),
    "bulk-errors-only": (BOTH, Grade.UNKNOWN, Grade.CONSISTENT),
    "bulk-in-parts": (set(), Grade.CONSISTENT, Grade.CONSISTENT),
    "bulk-presigned": (set(), Grade.CONSISTENT, Grade.CONSISTENT),
    "bulk-foreign-files": (BOTH, Grade.UNKNOWN, Grade.CONSISTENT),
    "bulk-file-cut": (set(), Grade.CONSISTENT, Grade.CONSISTENT),
    "bulk-file-half": (BOTH, Grade.SHORT, Grade.SHORT),
    "bulk-bad-line": (set(), Grade.SHORT, Grade.SHORT),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_an_export_loses_a_record_in_silence(visiting, fault):
    left, alone, after = FAULTS[fault]
    here = visiting(fault)
    here.begin()
    ended, waits = here.steps()
    assert set(ended.left) == left
    assert here.line().grade is alone
    assert max(waits, default=0) <= 900
    if here.line().grade in COMPLETE:
        assert here.held() == ALL
    here.pages(ended.left)
    assert here.line().grade is after
    assert here.held() == ALL or after not in COMPLETE


def test_a_download_that_breaks_off_goes_on_where_it_stood(visiting):
    here = visiting("bulk-file-cut")
    here.begin()
    here.steps()
    files = here.jobs.files(here.export())
    kept = {row.id: row for row in here.store.originals.of_case(here.case.id)}
    (documents,) = [file for file in files if file.type == DOCUMENTS]
    last = kept[documents.original]
    assert (last.status, last.truncated) == (206, False)
    assert 0 < int(last.facts["from_byte"]) < last.size
    assert [row.truncated for row in kept.values()].count(True) == 4


def test_a_broken_line_is_a_failed_row_and_a_new_export_stands_in_its_place(visiting):
    here = visiting("bulk-bad-line")
    here.begin()
    here.steps()
    failed = [r for r in here.store.ledgers.rows(here.case.id) if r.state is RecordState.FAILED]
    assert sorted((row.key.kind, row.position) for row in failed) == [
        ("DiagnosticReport", "1"), (DOCUMENTS, "1"),
    ]  # fmt: skip
    assert len(here.held()) == OURS - 1
    here.begin(run=2)
    rows = {row.key: row.state for row in here.store.ledgers.rows(here.case.id)}
    assert {rows[row.key] for row in failed} == {RecordState.SUPERSEDED}


@pytest.mark.parametrize("before", range(1, 9, 2))
def test_an_export_that_is_killed_anywhere_ends_like_one_that_was_not(visiting, before):
    """Everything is in rows: a fresh desk and fresh shelves go on."""
    here = visiting()
    here.begin()
    for _ in range(before):
        bulk.step(here.source, here.desk, here.jobs)
    assert here.begin()
    with visit(here.store, here.case, here.ehr.base) as again:
        assert again.steps()[0] == bulk.Done()
        line = again.line()
        assert (line.grade, line.got, again.held()) == (Grade.CONSISTENT, OURS, ALL)
    assert len([r for r in here.requests() if "$export" in r]) == 1


def test_a_cancelled_export_is_forgotten_at_the_hospital(visiting):
    here = visiting()
    here.begin()
    bulk.step(here.source, here.desk, here.jobs)
    bulk.cancel(here.source, here.desk, here.jobs)
    assert here.export().stage is Stage.OVER
    assert here.requests()[-1].startswith("DELETE ")
    assert set(here.steps()[0].left) == BOTH


def test_batches_read_in_many_steps_bring_the_same(visiting, monkeypatch):
    from fhir_bridge.pipeline.pull import bulk_lines

    monkeypatch.setattr(bulk_lines, "BATCH_LINES", 2)
    here = visiting()
    here.begin()
    here.steps()
    assert (here.held(), here.line().grade) == (ALL, Grade.CONSISTENT)


def test_a_line_that_names_nobody_leaves_its_type_to_the_pages(store, new_case, folder, tmp_path):
    """It may be ours: the hospital's own search knows."""
    spoilt = shutil.copytree(folder, tmp_path / "case")
    place = spoilt / "ehr" / "DocumentReference.json"
    documents = json.loads(place.read_bytes())
    documents[0]["subject"] = {"identifier": {"value": "4711"}}
    place.write_bytes(json.dumps(documents))
    with (
        hospital(spoilt, tmp_path / "state") as urls,
        visit(store, new_case(), urls["fhir"]) as here,
    ):
        here.begin()
        ended, _ = here.steps()
        assert ended.left == (DOCUMENTS,)
        assert here.line().grade is Grade.UNKNOWN
        here.pages(ended.left)
        assert (here.line().grade, here.line().got) == (Grade.CONSISTENT, OURS - 1)
