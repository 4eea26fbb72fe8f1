"""A hospital on the case page: what it does, how far it is, when it may be called complete."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.servers.conftest import GENERAL, NOW, Bridge, document

from fhir_bridge.case.case import CaseState, DimseNode
from fhir_bridge.case.certificate import Evidence
from fhir_bridge.servers.console.sources import SourceLine, source_lines
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
    (found,) = source_lines(bridge.store, bridge.store.cases.get("case-1"), providers)
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


def test_files_fill_a_quarter_of_the_bar_where_images_follow(pulling: Bridge) -> None:
    provider = pulling.store.providers.get(GENERAL)
    pacs = DimseNode("PACS", "127.0.0.1", 104)
    pulling.store.providers.add(replace(provider, dimse=pacs), at=NOW)
    for one in ("d1", "d2"):
        pulling.seed.file("case-1", _key(pulling, one), b"text", "text/plain")
    before = _line(pulling).progress
    pulling.seed.images("case-1", "1", "2", 1, claimed=3)
    pulling.seed.image_slice("case-1", Evidence(), ended=False)
    after = _line(pulling)
    assert before is not None
    assert after.progress is not None
    assert (before.percent, before.text) == (25, "2 of 2 files")
    assert (after.progress.percent, after.progress.text) == (50, "2 of 2 files, 1 of 3 images")
    assert after.parts[-1].saying.text == "1 image so far."


def _key(bridge: Bridge, id_: str):
    rows = bridge.store.ledgers.rows("case-1")
    return next(row.key for row in rows if row.key.id == id_)


def test_nobody_is_asked_for_what_may_still_arrive(pulling: Bridge) -> None:
    pulling.store.cases.move("case-1", CaseState.COLLECTING)
    assert "Not here. Ask:" not in pulling.client().get("/cases/case-1").text
    pulling.seed.record("case-1")
    assert "Not here. Ask:" in pulling.client().get("/cases/case-1").text
