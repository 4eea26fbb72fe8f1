"""A hospital on the case page: what it does, how far it is, when it may be called complete."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.servers.conftest import GENERAL, NOW, Bridge, document

from fhir_bridge.case.case import CaseState, DimseNode
from fhir_bridge.case.certificate import Evidence
from fhir_bridge.servers.console.sources import Bar, SourceLine, source_lines
from fhir_bridge.servers.console.words import State


@pytest.fixture
def pulling(bridge: Bridge) -> Bridge:
    """A pull that listed two documents to the end and is not over."""
    bridge.seed.case("case-1")
    letters = [document(id_, "Letter", "2026-01-01") for id_ in ("d1", "d2")]
    bridge.seed.records("case-1", "DocumentReference", letters)
    bridge.seed.step("case-1", GENERAL, "fetching documents")
    return bridge


def _line(bridge: Bridge) -> SourceLine:
    providers = {one.id: one for one in bridge.store.providers.all()}
    case = bridge.store.cases.get("case-1")
    (found,) = source_lines(bridge.store, case, providers, bridge.room.now())
    return found


def test_a_source_is_at_work_until_its_last_step_although_every_list_has_ended(
    pulling: Bridge,
) -> None:
    at_work = _line(pulling)
    assert (at_work.saying.state, at_work.ended) == (State.WORKING, False)
    assert at_work.parts[0].saying.text == "2 documents so far; counted again at the end."
    pulling.seed.step("case-1", GENERAL, "done")
    over = _line(pulling)
    assert (over.saying.label, over.ended, over.progress) == ("Not confirmed", True, None)
    assert "the hospital does not say how much it has" in over.parts[0].saying.text


def test_a_bar_keeps_room_for_the_images_that_follow(pulling: Bridge) -> None:
    provider = pulling.store.providers.get(GENERAL)
    pacs = DimseNode("PACS", "127.0.0.1", 104)
    pulling.store.providers.add(replace(provider, dimse=pacs), at=NOW)
    for one in ("d1", "d2"):
        pulling.seed.file("case-1", _key(pulling, one), b"text", "text/plain")
    before = _line(pulling).progress
    pulling.seed.images("case-1", "1", "2", 1, claimed=3)
    pulling.seed.image_slice("case-1", Evidence(), ended=False)
    after = _line(pulling)
    assert (before, after.progress) == (
        Bar(40, "2 of 2 records, 2 of 2 files"),
        Bar(60, "2 of 2 files, 1 of 3 images"),
    )
    assert after.parts[-1].saying.text == "1 image so far."


def test_a_rest_is_told_with_its_reason_and_its_end(pulling: Bridge) -> None:
    cases, until = pulling.store.cases, NOW + timedelta(minutes=30)
    pulling.seed.step("case-1", GENERAL, "waiting", "FB-2002")
    cases.waits("case-1", GENERAL, until)
    resting = _line(pulling)
    assert resting.saying.text == "The hospital asks us to wait until 14:35 UTC."
    assert (resting.saying.label, resting.working, resting.error_code) == (
        "Waiting", True, "FB-2002",
    )  # fmt: skip
    assert resting.progress is not None
    pulling.seed.step("case-1", GENERAL, "failed", "FB-2001")
    cases.waits("case-1", GENERAL, until + timedelta(days=1))
    away = _line(pulling)
    assert away.saying.text.endswith("The bridge asks again at 25 Nov 2026, 14:35 UTC.")
    assert (away.working, away.orders) == (False, ())


@pytest.mark.parametrize(
    ("step", "told", "label", "orders"),
    [
        ("fetching documents", "", "Working", ("pause", "cancel")),
        ("waiting", "", "Working", ("pause", "cancel")),
        ("fetching documents", "pause", "Pausing", ()),
        ("fetching images", "cancel", "Cancelling", ()),
        ("paused", "pause", "Paused", ("resume", "cancel")),
        ("cancelled", "cancel", "Cancelled", ()),
        ("done", "", "Not confirmed", ()),
    ],
)
def test_what_a_person_ordered_is_told_and_what_may_be_ordered_next(
    pulling: Bridge, step: str, told: str, label: str, orders: tuple[str, ...]
) -> None:
    pulling.seed.step("case-1", GENERAL, step)
    pulling.store.cases.tell("case-1", GENERAL, told)
    found = _line(pulling)
    assert (found.saying.label, found.orders) == (label, orders)
    page = pulling.client().get("/cases/case-1").text
    for order in ("pause", "resume", "cancel"):
        assert (f'action="/cases/case-1/pull/{order}"' in page) == (order in orders)


@pytest.mark.parametrize("order", ["pause", "resume", "cancel"])
def test_an_order_reaches_the_pull_of_one_hospital_or_of_all(pulling: Bridge, order: str) -> None:
    browser = pulling.client()
    csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/cases/case-1").text)
    assert csrf
    where = f"/cases/case-1/pull/{order}"
    origin = {"Origin": "http://127.0.0.1:8400"}
    assert browser.post(where, data={"source": GENERAL}, headers=origin).status_code == 403
    for source in (GENERAL, ""):
        form = {"source": source, "csrf": csrf[1]}
        assert browser.post(where, data=form, headers=origin).status_code == 303
    assert pulling.deeds.done == [
        (order, "local", "case-1", GENERAL), (order, "local", "case-1", None),
    ]  # fmt: skip
    form = {"csrf": csrf[1]}
    there = "/cases/case-1/pull/nothing"
    assert browser.post(there, data=form, headers=origin).status_code == 404


def test_a_case_whose_pull_is_paused_offers_to_resume_it(pulling: Bridge) -> None:
    pulling.store.cases.move("case-1", CaseState.COLLECTING)
    pulling.seed.step("case-1", GENERAL, "paused")
    page = pulling.client().get("/cases/case-1").text
    assert "Resume the pull" in page
    assert "What came is kept" in page


def test_a_part_that_a_cancelled_pull_never_ended_is_not_called_working(pulling: Bridge) -> None:
    pulling.seed.image_slice("case-1", Evidence(), ended=False)
    pulling.seed.step("case-1", GENERAL, "cancelled")
    images = _line(pulling).parts[-1]
    assert images.saying.state is State.LEFT
    assert images.saying.text == "0 images came; the list was not read to its end."


def _key(bridge: Bridge, id_: str):
    rows = bridge.store.ledgers.rows("case-1")
    return next(row.key for row in rows if row.key.id == id_)


def test_nobody_is_asked_for_what_may_still_arrive(pulling: Bridge) -> None:
    pulling.store.cases.move("case-1", CaseState.COLLECTING)
    assert "Not here. Ask:" not in pulling.client().get("/cases/case-1").text
    pulling.seed.record("case-1")
    assert "Not here. Ask:" in pulling.client().get("/cases/case-1").text
