"""The steps of a pull: each may run twice, and an open question fetches nothing."""

from __future__ import annotations

import pytest

from fhir_bridge.case.case import Pin, PinState
from fhir_bridge.case.certificate import Grade, Line
from fhir_bridge.case.events import Happened
from fhir_bridge.errors import ProviderUnreachable, StorageFull
from fhir_bridge.steps.pulling import is_complete, lines


@pytest.fixture
def chart(store, case, hospitals, fake):
    documents = [fake.document(f"d{n}") for n in range(3)]
    hospitals.chart = fake.FakeEhr(store, case.id, [fake.patient(), *documents], page=2)
    return hospitals.chart


def test_a_whole_pull_ends_with_the_grade_of_its_source(pull, chart, store, case):
    assert pull() == {"ready": True, "grade": "consistent"}
    assert store.cases.steps(case.id)["st-anne"][:2] == ("done", "")
    names = [event.name for event in store.events.after(0, case_id=case.id)]
    assert names[0] is Happened.SOURCE_CONNECTED
    assert names[-1] is Happened.SOURCE_ENDED


def test_each_step_may_run_twice(pulling, chart, store, case):
    """A step that was killed between its own commit and the engine's record runs again."""
    for _ in range(2):
        pulling.connect(case.id, "st-anne", 1)
    while pulling.collect(case.id, "st-anne", impatient=False)["more"]:
        pass
    grades = set()
    for _ in range(2):
        assert not pulling.collect(case.id, "st-anne", impatient=False)["more"]
        assert pulling.image(case.id, "st-anne", 1) == 0
        grades.add(pulling.close(case.id, "st-anne"))
    assert grades == {"consistent"}
    documents = [r for r in store.ledgers.rows(case.id) if r.key.kind == "DocumentReference"]
    assert [r.sightings for r in documents] == [1, 1, 1]


@pytest.mark.parametrize("state", [PinState.OPEN, PinState.REFUSED])
def test_before_it_is_settled_who_the_patient_is_nothing_else_is_asked(
    pull, chart, store, case, fake, state
):
    store.cases.pin(Pin(case.id, "st-anne", state))
    chart.resources[:1] = [fake.patient("p1"), fake.patient("p2")]
    begun = pull()
    assert (begun["ready"], begun["state"]) == (False, "needs-person")
    assert all(asked.startswith("search Patient") for asked in chart.asked)
    grades = {line.grade for line in lines(store, case.id)}
    assert grades == {Grade.NOT_ASKED}


def test_a_hospital_that_cannot_be_reached_stands_on_the_certificate(
    pull, chart, store, case, monkeypatch, fake
):
    def gone(self):
        raise ProviderUnreachable("no connection")

    monkeypatch.setattr(fake.FakeEhr, "capability", gone)
    assert pull() == {"ready": False, "state": "failed", "error": "FB-2001"}
    assert {line.grade for line in lines(store, case.id)} == {Grade.REFUSED}
    assert store.cases.steps(case.id)["st-anne"][:2] == ("failed", "FB-2001")


def test_a_fault_of_our_own_is_never_put_down_to_the_hospital(
    pull, chart, store, case, monkeypatch, fake
):
    """A full disk at the first step: the engine takes the step again; nothing was refused."""

    def full(self):
        raise StorageFull("ENOSPC")

    monkeypatch.setattr(fake.FakeEhr, "capability", full)
    with pytest.raises(StorageFull):
        pull()
    assert list(lines(store, case.id)) == []
    monkeypatch.undo()
    assert pull()["grade"] == "consistent"


def test_an_archive_without_a_chart_still_gives_its_images(pull, hospitals, store, case, fake):
    from fhir_bridge.case.imaging import InstanceClaim

    hospitals.ways = (fake.FakeArchive([InstanceClaim("1.2", "1.2.3", "1.2.3.4")], gives=0),)
    ended = pull()
    assert ended["grade"] == "short"
    grades = {line.type: line.grade for line in lines(store, case.id)}
    assert grades["DICOM images"] is Grade.SHORT
    assert grades["DocumentReference"] is Grade.NOT_ASKED


def _line(source: str, grade: Grade) -> Line:
    return Line(source, "DocumentReference", None, 0, grade)


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        ([], False),
        ([Grade.CONSISTENT], True),
        ([Grade.PROVEN, Grade.CONSISTENT], True),
        ([Grade.PROVEN, Grade.NOT_ASKED], True),
        ([Grade.NOT_ASKED], False),
        ([Grade.PROVEN, Grade.UNKNOWN], False),
        ([Grade.CONSISTENT, Grade.SHORT], False),
        ([Grade.CONSISTENT, Grade.REFUSED], False),
    ],
)
def test_the_word_complete_is_earned_by_every_slice(case, found, complete):
    assert is_complete([_line("st-anne", grade) for grade in found], case) is complete


def test_a_source_that_was_never_asked_is_never_complete(case):
    assert not is_complete([_line("elsewhere", Grade.PROVEN)], case)
