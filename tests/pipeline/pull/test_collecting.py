"""Collecting: everything at once, bounded, and what is left is left for the next round."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fhir_bridge.errors import ProviderBusy, StorageFull
from fhir_bridge.pipeline.pull import collecting, plan
from fhir_bridge.pipeline.pull.certify import certificate

from . import fake_ehr


def chart(store: Any, case: Any, kind: type[fake_ehr.FakeEhr] = fake_ehr.FakeEhr) -> Any:
    documents = [
        fake_ehr.document(
            f"d{n}", author=[{"reference": f"Practitioner/a{n % 3}"}],
            content=[{"attachment": {"url": f"Binary/b{n}", "contentType": "text/plain"}}],
        )
        for n in range(7)
    ]  # fmt: skip
    people = [
        {"resourceType": "Practitioner", "id": f"a{n}", "meta": {"versionId": "1"}}
        for n in range(3)
    ]
    bodies = {f"{fake_ehr.BASE}/Binary/b{n}": b"file %d" % n for n in range(7)}
    resources = [fake_ehr.patient(), *documents, *people]
    return kind(store, case.id, resources, page=3, bodies=bodies)


def begun(store: Any, case: Any, ehr: Any) -> Any:
    source = fake_ehr.source_of(store, case, ehr)
    plan.begin(source, ehr, 1)
    return source


def test_one_round_brings_pages_people_and_files(store, case):
    ehr = chart(store, case)
    source = begun(store, case, ehr)
    assert collecting.collect(source, ehr, seconds=20) == collecting.Round(False, moved=True)
    kinds = [row.key.kind for row in store.ledgers.rows(case.id)]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "DocumentReference": 7, "Practitioner": 3, "Patient": 1, "Attachment": 7,
    }  # fmt: skip
    assert len(ehr.asked) == len(set(ehr.asked)), "something was asked for twice"


def test_a_round_without_time_does_a_little_and_says_that_more_is_left(store, case):
    ehr = chart(store, case)
    source = begun(store, case, ehr)
    assert collecting.collect(source, ehr, seconds=0) == collecting.Round(True, moved=True)
    pages = [s.pages for s in store.ledgers.slices(case.id) if s.type == "DocumentReference"]
    assert pages == [1]


def test_rounds_of_any_length_end_like_one_long_round(store, new_case):
    ends = []
    for seconds in (20, 0.001):
        case = new_case()
        ehr = chart(store, case)
        source = begun(store, case, ehr)
        while collecting.collect(source, ehr, seconds=seconds).more:
            pass
        rows = {(r.key.kind, r.key.id, r.state) for r in store.ledgers.rows(case.id)}
        found = certificate(store.ledgers.slices(case.id), store.ledgers.attachments(case.id))
        ends.append((rows, [(line.type, line.got, line.grade) for line in found]))
    assert ends[0] == ends[1]


class _Busy(fake_ehr.FakeEhr):
    """Wants us to wait, as long as it is told to."""

    waits = 3

    def fetch(self, url: str, *, content_type: str) -> Any:
        if self.waits:
            self.waits -= 1
            raise ProviderBusy("HTTP 503", retry_after_seconds=120)
        return super().fetch(url, content_type=content_type)


def test_a_hospital_that_has_us_wait_costs_no_record(store, case):
    ehr = chart(store, case, _Busy)
    source = begun(store, case, ehr)
    first = collecting.collect(source, ehr, seconds=20)
    assert (first.more, first.rest_seconds) == (True, 120)
    while collecting.collect(source, ehr, seconds=20).more:
        pass
    assert all(a.sha256 for a in store.ledgers.attachments(case.id))


def test_an_impatient_pull_takes_a_busy_hospital_for_one_that_does_not_answer(store, case):
    from dataclasses import replace

    ehr = chart(store, case, _Busy)
    ehr.waits = 1000
    source = replace(begun(store, case, ehr), impatient=True)
    while collecting.collect(source, ehr, seconds=20).more:
        pass
    failed = store.ledgers.attachments(case.id)
    assert {a.failure for a in failed} == {ProviderBusy.code}


def test_a_fault_of_our_own_ends_the_round_and_leaves_everything_open(store, case, monkeypatch):
    ehr = chart(store, case)
    source = begun(store, case, ehr)

    def full(*_: Any, **__: Any) -> Any:
        raise StorageFull("ENOSPC")

    with monkeypatch.context() as patch:
        patch.setattr(fake_ehr.FakeEhr, "read", full)
        with pytest.raises(StorageFull):
            collecting.collect(source, ehr, seconds=20)
    while collecting.collect(source, ehr, seconds=20).more:
        pass
    assert not [row for row in store.ledgers.rows(case.id) if row.error_code]


class _Counting(fake_ehr.FakeEhr):
    """Notes how many files are asked for at the same time."""

    here, most, gate = 0, 0, threading.Barrier(4)

    def fetch(self, url: str, *, content_type: str) -> Any:
        self.gate.wait(20)
        return super().fetch(url, content_type=content_type)


def test_files_are_fetched_beside_each_other(store, case):
    """Four have to be under way at once, or the barrier breaks."""
    ehr = chart(store, case, _Counting)
    ehr.resources = ehr.resources[:5] + ehr.resources[8:]  # four documents
    source = begun(store, case, ehr)
    while collecting.collect(source, ehr, seconds=20).more:
        pass
    assert sum(bool(a.sha256) for a in store.ledgers.attachments(case.id)) == 4
