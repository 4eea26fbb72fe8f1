"""Live pages: which parts changed, resumed after the last event that a browser has seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from tests.servers.conftest import GENERAL, NOW, Bridge

from fhir_bridge.case.events import Event, Happened
from fhir_bridge.servers import console, web
from fhir_bridge.servers.console import counting, live
from fhir_bridge.standards.fhir import json


def rounds(count: int) -> Callable[[], bool]:
    """True so many times: the server stops afterwards."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


@pytest.fixture
def streamed(full: Bridge, monkeypatch) -> Callable[..., str]:
    """What a stream says in two rounds."""
    monkeypatch.setattr(live, "POLL_SECONDS", 0.01)

    def stream(path: str, **headers: str) -> str:
        room = replace(full.room, running=rounds(2))
        app = web.make_app(
            routers=[console.make_router(room)], door=full.door, settings=full.settings, jwks=dict
        )
        browser = TestClient(app, base_url="http://127.0.0.1:8400", follow_redirects=False)
        browser.get("/login", params={"t": full.door.link()})
        answer = browser.get(path, headers=headers)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["X-Accel-Buffering"] == "no"
        return answer.text

    return stream


def tell(full: Bridge, name: Happened, case_id: str = "case-1") -> int:
    full.store.events.tell(Event(name, case_id, "bridge", NOW))
    return full.store.events.newest()


def test_a_stream_resumes_after_the_last_event_that_was_seen(full: Bridge, streamed) -> None:
    seen = tell(full, Happened.INSTANCE_STORED)
    newer = tell(full, Happened.ATTACHMENT_STORED)
    told = streamed("/cases/case-1/events?after=0", **{"Last-Event-ID": str(seen)})
    assert newer == seen + 1
    assert "event: changed\ndata: sources documents\n\n" in told
    assert "images" not in told
    # Opening the stream is a reading of the case, and the newest event of the run.
    assert f"id: {newer + 1}\n" in told


def test_the_page_gives_the_number_to_begin_with(full: Bridge, streamed) -> None:
    newest = full.store.events.newest()
    assert f'data-after="{newest}"' in full.client().get("/cases/case-1").text
    assert "event:" not in streamed(f"/cases/case-1/events?after={newest}")


def test_a_stream_says_nothing_of_other_cases(full: Bridge, streamed) -> None:
    full.seed.case("case-2")
    number = full.store.events.newest()
    tell(full, Happened.INSTANCE_STORED, "case-2")
    assert "event:" not in streamed(f"/cases/case-1/events?after={number}")
    assert "data: worklist" in streamed(f"/events?after={number}")


def test_reading_a_case_wakes_nobody(full: Bridge, streamed) -> None:
    number = full.store.events.newest()
    full.client().get("/cases/case-1")
    assert "event:" not in streamed(f"/events?after={number}")


def test_a_nonsense_event_id_is_taken_as_none(streamed) -> None:
    assert "event: changed" in streamed("/cases/case-1/events", **{"Last-Event-ID": "-1;drop"})


def test_a_stream_beats_while_nothing_happens(full: Bridge, streamed, monkeypatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.0)
    number = full.store.events.newest()
    assert ": still here" in streamed(f"/cases/case-1/events?after={number + 100}")


def test_a_stream_counts_while_a_hospital_is_at_work(full: Bridge, streamed) -> None:
    full.seed.step("case-1", GENERAL, "fetching documents")
    number = full.store.events.newest() + 100
    told = streamed(f"/cases/case-1/events?after={number}")
    (data,) = re.findall(r"event: progress\ndata: (.+)\n\n", told)
    assert json.loads(data.encode()) == full.client().get("/cases/case-1/progress").json()
    assert "id:" not in told
    assert "event: progress" not in streamed(f"/events?after={number}")


def test_the_last_count_of_a_pull_is_told_and_no_more(full: Bridge, monkeypatch) -> None:
    monkeypatch.setattr(counting, "COUNT_SECONDS", 0.0)
    watch = counting.Watch(full.room, "case-1")
    assert watch.news() == ""
    full.seed.step("case-1", GENERAL, "checking")
    assert '"state":"working"' in watch.news()
    assert watch.news() == ""
    full.seed.step("case-1", GENERAL, "done")
    assert '"state":"done"' in watch.news()
    assert watch.news() == ""


def test_progress_is_counts_and_codes_and_nothing_of_the_patient(full: Bridge) -> None:
    full.seed.step("case-1", GENERAL, "waiting", "FB-2002")
    full.store.cases.waits("case-1", GENERAL, NOW + timedelta(minutes=5))
    answer = full.client().get("/cases/case-1/progress")
    (source,) = answer.json()["sources"]
    assert (source["state"], source["error"]) == ("waiting", "FB-2002")
    assert source["waits_until"] == "2026-11-24T14:10:00+00:00"
    assert source["records"] == {"got": 3, "said": 5}
    assert source["files"] == {"settled": 2, "named": 2}
    assert source["images"] == {"held": 4, "listed": 4}
    for word in ("Doe", "Jane", "Referral", "4711", "1961"):
        assert word not in answer.text
    assert full.client().get("/cases/none/progress").status_code == 404
    assert full.client(logged_in=False).get("/cases/case-1/progress").status_code != 200


def test_every_fragment_that_an_event_names_exists(full: Bridge) -> None:
    browser = full.client()
    for name in {part for parts in live.TOUCHES.values() for part in parts}:
        answer = browser.get(f"/cases/case-1/fragment/{name}", params={"on": "/cases/case-1"})
        assert answer.status_code == 200
        assert "<html" not in answer.text
    assert browser.get("/cases/case-1/fragment/nothing").status_code == 404
