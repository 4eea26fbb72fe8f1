"""Cases, providers and pins: what was said is what is read, with the event that says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_bridge.case.case import (
    Auth,
    CaseState,
    DimseNode,
    Pin,
    PinState,
    TreatingProvider,
)
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.errors import CaseUnknown, StoreError, UsageError
from fhir_bridge.store.cases import parse_node

FULL = TreatingProvider(
    id="st-anne",
    name="St. Anne",
    fhir="https://st-anne.example/r4",
    auth=Auth.PRIVATE_KEY_JWT,
    client_id="bridge",
    secret=b"\x00sealed",
    dimse=DimseNode("STANNE", "pacs.st-anne.example", 104),
    dicomweb="https://st-anne.example/dicom",
    allowed_origins=("https://files.st-anne.example",),
    issuers={"STANNE": "urn:oid:1.2.3"},
)


def test_a_provider_comes_back_as_it_was_added(store, at):
    store.providers.add(FULL, at=at)
    assert store.providers.get("st-anne") == FULL


def test_adding_a_provider_again_changes_it(store, at):
    store.providers.add(FULL, at=at)
    changed = TreatingProvider("st-anne", "St. Anne", "https://new.example/r4")
    store.providers.add(changed, at=at)
    assert list(store.providers.all()) == [changed]


def test_a_provider_that_is_not_there_is_the_callers_slip(store):
    with pytest.raises(UsageError):
        store.providers.get("nowhere")


def test_a_case_comes_back_as_it_was_opened_with_its_sources_in_order(store, case):
    assert store.cases.get("c1") == case
    assert [pin.source for pin in store.cases.pins("c1")] == ["st-anne", "general"]
    assert {pin.state for pin in store.cases.pins("c1")} == {PinState.OPEN}


def test_the_newest_case_comes_first(store, case):
    later = replace(case, id="c2", opened_at=case.opened_at + timedelta(hours=1))
    store.cases.open(later)
    assert [c.id for c in store.cases.all()] == ["c2", "c1"]


def test_a_case_that_is_not_there_is_unknown(store, at):
    with pytest.raises(CaseUnknown):
        store.cases.get("c9")
    with pytest.raises(CaseUnknown):
        store.cases.move("c9", CaseState.RELEASED)
    assert store.events.newest() == 0


def test_a_case_cannot_draw_on_a_provider_that_is_not_there(store, case):
    with pytest.raises(StoreError):
        store.cases.open(replace(case, id="c2", providers=("nowhere",)))
    with pytest.raises(CaseUnknown):
        store.cases.get("c2")


def test_facts_add_up_and_the_state_moves_with_its_event(store, case, at):
    store.cases.move("c1", CaseState.COLLECTING, facts={"run": "1"})
    happened = Event(Happened.PULL_STARTED, "c1", "nurse", at, {"run": 2})
    store.cases.move("c1", CaseState.ASSEMBLED, happened, facts={"draft": "x"})
    now = store.cases.get("c1")
    assert (now.state, now.facts) == (CaseState.ASSEMBLED, {"run": "1", "draft": "x"})
    assert list(store.events.after(0)) == [replace(happened, number=1)]


def test_what_goes_out_with_a_change_fails_or_stays_with_it(store, case, at):
    def fails(connection: object) -> None:
        raise StoreError("no queue")

    happened = Event(Happened.PULL_STARTED, "c1", "nurse", at)
    with pytest.raises(StoreError):
        store.cases.move("c1", CaseState.COLLECTING, happened, outbox=fails)
    assert store.cases.get("c1").state is CaseState.OPEN
    assert store.events.newest() == 0


def test_a_pin_comes_back_as_it_was_decided(store, case):
    who = Person((Identifier("urn:oid:1", "00123"),), "Dóe", "Jane", "1961", "female", "p1", True)
    pin = Pin("c1", "general", PinState.ASKED, "", "", "two possible", (who, replace(who, id="p2")))
    store.cases.pin(pin)
    assert store.cases.pins("c1")[1] == pin
    settled = Pin("c1", "general", PinState.ACCEPTED, "p2", "nurse", "chosen by a person")
    store.cases.pin(settled)
    assert list(store.cases.pins("c1")) == [Pin("c1", "st-anne"), settled]


def test_a_source_that_the_case_does_not_have_cannot_be_pinned(store, case, at):
    happened = Event(Happened.PATIENT_PINNED, "c1", "nurse", at)
    with pytest.raises(UsageError):
        store.cases.pin(Pin("c1", "elsewhere", PinState.ACCEPTED, "p1"), happened)
    assert store.events.newest() == 0


def test_what_a_source_is_doing_is_noted_with_its_time(store, case, at):
    store.cases.step("c1", "general", "failed", error="FB-2003", at=at)
    assert store.cases.steps("c1") == {
        "st-anne": ("", "", None),
        "general": ("failed", "FB-2003", at),
    }


@pytest.mark.parametrize("text", ["STANNE@pacs.example:104", "A@::1:11112"])
def test_a_node_reads_as_it_is_written(text):
    assert str(parse_node(text)) == text


@pytest.mark.parametrize(
    "text", ["STANNE", "@h:1", "A" * 17 + "@h:1", "A@h:0", "A@h:70000", "A@:1"]
)
def test_a_node_that_is_none_is_the_callers_slip(text):
    with pytest.raises(UsageError):
        parse_node(text)


def test_no_node_is_none():
    assert parse_node("") is None
