from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_bridge.case.delivery import DeliveryState, ReadBack
from fhir_bridge.errors import (
    ForeignAddress,
    LoginRefused,
    ProviderBusy,
    ProviderUnreachable,
    ReadBackDiffers,
    StoreError,
)
from fhir_bridge.pipeline.deliver import plan as reasons
from fhir_bridge.pipeline.deliver.document_reference import document_reference
from fhir_bridge.pipeline.deliver.plan import Site
from fhir_bridge.pipeline.deliver.steps import Wait, read_back, reconcile, send
from fhir_bridge.standards.fhir import json

from .conftest import SIGNED, queued, signed_opinion, trip
from .fake_chart import Declared, refusing

S = DeliveryState


def test_the_straight_way_ends_confirmed_and_equal() -> None:
    made = trip()
    assert made.run().read_back is ReadBack.EQUAL
    assert made.ladder.states == [S.SENT, S.ACCEPTED, S.READ_BACK, S.CONFIRMED]
    assert made.delivery.location == "DocumentReference/d1"
    assert made.delivery.attempts == 1


def test_the_attempt_is_committed_before_the_bytes_leave() -> None:
    seen = []
    made = trip(fault=lambda _: seen.append(made.delivery))
    made.step()
    assert [(d.state, d.attempts) for d in seen] == [(S.SENT, 1)]


def test_every_step_may_run_twice() -> None:
    made = trip()
    for state in (S.ACCEPTED, S.READ_BACK, S.CONFIRMED):
        made.until(state)
        assert send(made.id, made.way) is None
        assert reconcile(made.id, made.way) is None
        assert made.delivery.state is state
    assert len(made.chart.documents) == 1


def test_a_lost_reply_is_found_in_the_chart_and_not_sent_again() -> None:
    made = trip(fault=lambda _: "reply-lost")
    assert made.run().state is S.CONFIRMED
    assert made.delivery.attempts == 1
    assert S.UNKNOWN in made.ladder.states


def test_it_is_not_repeated_before_the_index_lag_has_passed() -> None:
    faults = ["lost"]
    made = trip(
        site=Site("p1", index_lag_seconds=30), fault=lambda _: faults.pop() if faults else None
    )
    made.until(S.UNKNOWN)
    assert reconcile(made.id, made.way) == Wait(30.0)
    made.clock.wait(29)
    assert reconcile(made.id, made.way) == Wait(1.0)
    made.clock.wait(1)
    reconcile(made.id, made.way)
    assert made.delivery.state is S.QUEUED
    assert made.run().state is S.CONFIRMED
    assert made.delivery.attempts == 2


def test_two_in_the_chart_are_held_for_a_person() -> None:
    made = trip(fault=lambda _: "reply-lost")
    made.until(S.UNKNOWN)
    body = json.dumps(document_reference(queued(), SIGNED, "p1"))
    made.chart.fault = lambda _: None
    made.chart.create("DocumentReference", body)
    assert made.run().state is S.HELD
    assert made.delivery.reason == reasons.SEVERAL


def test_a_second_one_that_appears_later_keeps_it_from_being_confirmed() -> None:
    made = trip()
    made.until(S.READ_BACK)
    made.chart.create("DocumentReference", json.dumps(document_reference(queued(), SIGNED, "p1")))
    assert made.run().state is S.HELD


def test_a_422_in_one_piece_leads_to_files_of_their_own() -> None:
    made = trip(fault=refusing(422))
    assert made.run().state is S.CONFIRMED
    assert made.chart.creates == [
        ("DocumentReference", "application/fhir+json"),
        ("Binary", "application/pdf"),
        ("Binary", "application/fhir+json"),
        ("DocumentReference", "application/fhir+json"),
    ]
    assert made.delivery.read_back is ReadBack.EQUAL
    assert made.ladder.states[:4] == [S.SENT, S.REFUSED, S.QUEUED, S.SENT]


def test_a_422_on_every_form_is_held_with_a_reason_for_the_nurse() -> None:
    made = trip(fault=refusing(422, times=9))
    assert made.run().state is S.HELD
    assert made.delivery.reason == reasons.REFUSED
    assert made.chart.documents == {}


def test_a_422_where_no_files_are_taken_is_held_at_once() -> None:
    made = trip(fault=refusing(422), declares=Declared(("DocumentReference",)))
    assert (made.run().state, made.delivery.attempts) == (S.HELD, 1)


def test_an_opinion_too_large_for_one_piece_goes_as_files() -> None:
    big = replace(SIGNED, pdf=b"%PDF-1.7 " + b"x" * 60_000)
    made = trip(big, site=Site("p1", max_inline_bytes=50_000))
    assert made.run().read_back is ReadBack.EQUAL
    assert {type_ for type_, _ in made.chart.creates} == {"Binary", "DocumentReference"}
    (stored,) = made.chart.documents.values()
    assert not any("data" in c["attachment"] for c in stored.resource["content"])


def test_a_server_that_takes_no_raw_bytes_gets_them_wrapped() -> None:
    made = trip(site=Site("p1", prefers_binary=True), fault=refusing(415, type_="Binary"))
    assert made.run().state is S.CONFIRMED
    assert [c for t, c in made.chart.creates if t == "Binary"] == [
        "application/pdf",
        "application/fhir+json",
        "application/fhir+json",
    ]


def test_a_refused_login_is_held_and_no_other_form_is_tried() -> None:
    made = trip(fault=lambda _: LoginRefused("HTTP 401"))
    assert (made.run().state, made.delivery.reason) == (S.HELD, reasons.LOGIN)
    assert len(made.chart.creates) == 1


def test_a_busy_hospital_is_given_the_time_it_asks_for() -> None:
    faults: list[Any] = [ProviderBusy("HTTP 429", retry_after_seconds=40)]
    made = trip(fault=lambda _: faults.pop() if faults else None)
    assert made.step().wait_seconds == 40
    assert made.run().state is S.CONFIRMED


def test_a_hospital_that_never_answers_is_held_after_the_last_attempt() -> None:
    made = trip(fault=lambda _: ProviderUnreachable("down"), site=Site("p1", max_attempts=3))
    assert (made.run().state, made.delivery.reason) == (S.HELD, reasons.TOO_OFTEN)
    assert made.delivery.attempts == 3


def test_a_failed_precondition_is_looked_into_and_not_taken_for_a_refusal() -> None:
    made = trip(fault=refusing(412))
    assert made.run().state is S.CONFIRMED
    assert S.UNKNOWN in made.ladder.states


def test_no_documents_taken_means_paper_and_nothing_is_sent() -> None:
    made = trip(declares=Declared(()))
    assert made.run().state is S.MANUAL
    assert made.chart.creates == []


def test_rewritten_identifiers_and_a_dropped_author_are_confirmed_with_the_difference() -> None:
    def rewritten(resource: dict[str, Any]) -> dict[str, Any]:
        dropped = {"identifier", "masterIdentifier"}
        kept = {k: v for k, v in resource.items() if k not in dropped}
        return kept | {"author": [{"display": "Interface"}]}

    made = trip(keep=rewritten)
    assert made.run().state is S.CONFIRMED
    assert made.delivery.read_back is ReadBack.REWRITTEN
    assert made.delivery.difference == "masterIdentifier, identifier, author"


def test_a_chart_that_shows_another_letter_raises_the_alarm_and_is_held() -> None:
    def altered(resource: dict[str, Any]) -> dict[str, Any]:
        resource["content"][0]["attachment"]["data"] = "JVBERi0xLjcgb3RoZXI="
        return resource

    made = trip(keep=altered)
    made.until(S.ACCEPTED)
    with pytest.raises(ReadBackDiffers):
        read_back(made.id, made.way)
    assert made.delivery.state is S.HELD
    assert made.delivery.read_back is ReadBack.DIFFERENT
    assert made.delivery.reason == reasons.DIFFERS
    assert read_back(made.id, made.way) is None, "the alarm is raised once"


def test_the_alarm_has_its_code_in_the_answer_of_the_step() -> None:
    made = trip(keep=lambda resource: resource | {"subject": {"reference": "Patient/p2"}})
    made.until(S.ACCEPTED)
    made_step = made.step()
    assert (made_step.done, made_step.error) == (True, "FB-7003")


def test_accepted_and_never_listed_is_held_when_patience_ends() -> None:
    made = trip(lag_seconds=10_000, site=Site("p1", patience_seconds=60))
    assert (made.run().state, made.delivery.reason) == (S.HELD, reasons.NOT_LISTED)


def test_accepted_and_not_readable_is_held_when_patience_ends() -> None:
    made = trip()
    made.until(S.ACCEPTED)
    made.chart.documents.clear()
    assert (made.run().state, made.delivery.reason) == (S.HELD, reasons.NOT_READABLE)


def test_what_a_person_queues_again_is_looked_for_first() -> None:
    """Held after an unknown result; the document arrives late; the person asks again."""
    made = trip(fault=lambda _: "reply-lost", lag_seconds=500, site=Site("p1", max_attempts=1))
    assert made.run().state is S.HELD
    made.clock.wait(1_000)
    made.way.move(made.delivery, S.QUEUED)
    assert made.run().state is S.CONFIRMED
    assert len(made.chart.documents) == 1


def test_a_later_version_goes_beside_the_first_and_replaces_it() -> None:
    first = trip()
    later = signed_opinion(version=2, replaces=first.run())
    second = trip(later)
    second.chart.documents.update(first.chart.documents)
    assert second.run().state is S.CONFIRMED
    assert second.delivery.location == "DocumentReference/d2"


def test_a_location_that_names_a_gateway_is_reduced_to_type_and_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = trip()
    answered = made.chart._answer

    def elsewhere(body: bytes, headers: Any = None, status: int = 200) -> Any:
        if headers:
            headers = {"location": "http://inside:8080/x/DocumentReference/d1"}
        return answered(body, headers, status)

    monkeypatch.setattr(made.chart, "_answer", elsewhere)
    assert made.run().location == "DocumentReference/d1"


def test_a_person_may_say_that_it_is_there_and_the_bridge_reads_it_back() -> None:
    made = trip(fault=lambda _: "reply-lost", site=Site("p1", max_attempts=1))
    made.until(S.UNKNOWN)
    made.way.move(made.delivery, S.HELD)
    made.way.move(made.delivery, S.ACCEPTED)
    assert made.run().state is S.CONFIRMED
    assert made.delivery.location == "DocumentReference/d1"


def test_a_person_who_is_wrong_about_it_is_told() -> None:
    made = trip(site=Site("p1", patience_seconds=5))
    made.way.move(made.delivery, S.HELD)
    made.way.move(made.delivery, S.ACCEPTED)
    assert (made.run().state, made.delivery.reason) == (S.HELD, reasons.NOT_READABLE)


def test_another_worker_that_was_quicker_is_no_fault() -> None:
    made = trip()

    def overtaken(_: str) -> None:
        for state in (S.UNKNOWN, S.QUEUED):
            made.way.move(made.delivery, state)
        made.chart.fault = lambda _: None

    made.chart.fault = overtaken
    assert made.step().error == "FB-6004"
    assert made.run().state is S.CONFIRMED
    assert len(made.chart.documents) == 1


def test_a_fault_of_our_own_store_is_raised_and_the_next_call_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = trip()
    made.until(S.ACCEPTED)
    with monkeypatch.context() as broken:
        broken.setattr(made.chart, "read", _raising(StoreError("disk")))
        with pytest.raises(StoreError):
            made.step()
    assert made.run().state is S.CONFIRMED


def test_an_attachment_of_another_document_on_a_foreign_server_keeps_nothing_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = trip()
    attachment = {"contentType": "application/pdf", "url": "https://else.example/x"}
    other = {"resourceType": "DocumentReference", "content": [{"attachment": attachment}]}
    made.chart.create("DocumentReference", json.dumps(other | {"date": "2025-07-20"}))
    monkeypatch.setattr(made.chart, "fetch", _raising(ForeignAddress("elsewhere")))
    assert made.run().state is S.CONFIRMED


def _raising(error: Exception) -> Any:
    def raised(*_: object, **__: object) -> None:
        raise error

    return raised
