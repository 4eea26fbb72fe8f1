"""The wire minds its manners: over real sockets, with many threads on one endpoint."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from fhir_bridge.clients.ask import Ask
from fhir_bridge.clients.fhir import FhirClient
from fhir_bridge.clients.http import Wire
from fhir_bridge.clients.manners import Manners, Rules
from fhir_bridge.clients.patience import Patience
from fhir_bridge.errors import (
    NotFhir,
    OnlyXml,
    PageExpired,
    ProviderBusy,
    ProviderRefused,
    ProviderUnreachable,
)
from fhir_bridge.store.database import Database, make_engine
from fhir_bridge.store.endpoints import Endpoints

from .scripted import BUNDLE, FHIR, PATIENT, QUICK, Bearer, Door, Scripted, says, utc_now

XML = b'<?xml version="1.0"?><Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/></Bundle>'
AS_XML = {"Content-Type": "application/fhir+xml"}
ONCE = replace(QUICK, attempts=1)


def ask_all(wire: Wire, urls: list[str], threads: int = 16) -> list[bytes | None]:
    with ThreadPoolExecutor(threads) as pool:
        return [answer.body for answer in pool.map(lambda url: wire.ask(Ask(url)), urls)]


def storm(every: int) -> Callable[[Door], None]:
    """Each address is refused once when its turn comes, with no time to wait."""
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(door: Door) -> None:
        with lock:
            seen[door.call.path] += 1
            refused = seen[door.call.path] == 1 and seen.total() % every == 0
        if refused:
            door.say(429, b"", {"Retry-After": "0"})
        else:
            door.say(200, BUNDLE, FHIR)

    return answer


def test_nobody_fails_in_a_storm_of_429_and_the_window_shrinks(ehr, open_wire):
    ehr.on("/fhir/a", storm(every=3))
    manners = Manners("general", rules=Rules(first=16, most=16))
    wire = open_wire(ehr.url, manners=manners)
    urls = [f"{ehr.url}/fhir/a?n={n}" for n in range(48)]
    smallest = [16]
    watch = manners.answered

    def watched(*args: object) -> None:
        watch(*args)
        smallest.append(manners.window)

    manners.answered = watched
    assert ask_all(wire, urls) == [BUNDLE] * 48
    assert min(smallest) < 16
    assert len(ehr.calls) <= 2 * 48


def test_a_server_that_says_429_and_no_time_again_and_again_is_left_after_a_while(ehr, open_wire):
    ehr.on("/fhir/a", says(429, b"", {"Retry-After": "0"}))
    patience = Patience(first_seconds=0.01, longest_seconds=0.02, busy_times=6)
    with pytest.raises(ProviderBusy):
        open_wire(ehr.url, patience=patience).ask(Ask(f"{ehr.url}/fhir/a"))
    assert len(ehr.calls) == 7


def test_being_asked_to_wait_uses_up_no_try(ehr, open_wire):
    busy = says(429, b"", {"Retry-After": "0"})
    ehr.on("/fhir/a", *[busy] * 5, says(500), *[busy] * 3, says(200, BUNDLE, FHIR))
    assert open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a")).body == BUNDLE


def test_a_rest_for_one_is_a_rest_for_all(ehr, open_wire):
    """Also as a date: nobody sends anything to an endpoint that asked one of us to wait."""
    date = format_datetime(utc_now() + timedelta(minutes=5), usegmt=True)
    ehr.on("/fhir/a", says(503, b"", {"Retry-After": date}))
    ehr.on("/fhir/b", says(200, BUNDLE, FHIR))
    wire = open_wire(ehr.url)
    for path in ("a", "b"):
        with pytest.raises(ProviderBusy) as caught:
            wire.for_case(path).ask(Ask(f"{ehr.url}/fhir/{path}"))
        assert caught.value.retry_after_seconds == pytest.approx(300, abs=5)
    assert ehr.paths() == ["/fhir/a"]


def test_an_endpoint_that_is_down_is_left_alone_and_looked_at_again(ehr, open_wire):
    ticks = [0.0]
    rules = Rules(failures=3, first_pause_seconds=100)
    manners = Manners("general", rules=rules, ticks=lambda: ticks[0])
    ehr.on("/fhir/a", says(502), says(502), says(502), says(502), says(200, BUNDLE, FHIR))
    wire = open_wire(ehr.url, manners=manners, patience=ONCE)
    ask = Ask(f"{ehr.url}/fhir/a")
    for _ in range(3):
        with pytest.raises(ProviderUnreachable):
            wire.ask(ask)
    with pytest.raises(ProviderBusy):
        wire.ask(ask)
    assert len(ehr.calls) == 3, "nothing was sent"
    ticks[0] = 101
    with pytest.raises(ProviderUnreachable):
        wire.ask(ask)
    ticks[0] = 201
    with pytest.raises(ProviderBusy):
        wire.ask(ask)
    ticks[0] = 302
    assert wire.ask(ask).body == BUNDLE
    assert wire.ask(ask).body == BUNDLE


def test_a_new_process_keeps_the_rest_that_an_older_one_was_asked_for(
    ehr, open_wire, tmp_path: Path
):
    database = Database(make_engine(f"sqlite:///{tmp_path / 'bridge.sqlite'}"))
    database.migrate()
    ehr.on("/fhir/a", says(503, b"", {"Retry-After": "300"}))
    for _ in range(2):
        wire = open_wire(ehr.url, manners=Manners("general", Endpoints(database)))
        with pytest.raises(ProviderBusy) as caught:
            wire.ask(Ask(f"{ehr.url}/fhir/a"))
        assert caught.value.retry_after_seconds == pytest.approx(300, abs=20)
        wire.close()
    assert len(ehr.calls) == 1


class SelfServed(Bearer):
    """A login that is asked for at the endpoint itself, as tokens are, and expires at once."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.wire, self.lock = url, None, threading.Lock()

    def header(self) -> str:
        with self.lock:
            self.wire.confide(f"{self.url}/token", {"grant_type": "client_credentials"})
        return super().header()

    def renewed(self, refused: str) -> str:
        return self.header()


def test_sixteen_threads_share_a_window_of_one_while_tokens_are_fetched(ehr, open_wire):
    ehr.on("/token", says(200, b"{}"))
    seen: Counter[str] = Counter()

    def once_refused(door: Door) -> None:
        seen[door.call.path] += 1
        good = seen[door.call.path] > 1
        door.say(200 if good else 401, BUNDLE if good else b"", FHIR)

    ehr.on("/fhir/a", once_refused)
    login = SelfServed(ehr.url)
    wire = open_wire(ehr.url, manners=Manners("general", rules=Rules(first=1, most=1)))
    login.wire = wire
    urls = [f"{ehr.url}/fhir/a?n={n}" for n in range(32)]
    assert ask_all(wire.with_login(login), urls) == [BUNDLE] * 32


def test_an_open_stream_stands_in_nobodys_way(ehr, open_wire):
    ehr.on("/study", says(200, b"x" * 100))
    ehr.on("/fhir/a", says(200, BUNDLE, FHIR))
    rules = Rules(first=1, most=1, longest_queue_seconds=0)
    wire = open_wire(ehr.url, manners=Manners("general", rules=rules))
    with wire.stream(Ask(f"{ehr.url}/study", kind="stream")) as flow:
        assert wire.ask(Ask(f"{ehr.url}/fhir/a")).body == BUNDLE
        assert b"".join(flow.chunks()) == b"x" * 100
    assert wire.ask(Ask(f"{ehr.url}/fhir/a")).body == BUNDLE


def test_a_failed_exchange_gives_its_place_back(ehr, open_wire):
    def hangs_up(door: Door) -> None:
        door.close_connection = True

    ehr.on("/fhir/a", hangs_up, says(200, b"?", {"Content-Encoding": "br"}), says(404))
    ehr.on("/fhir/b", says(200, PATIENT, FHIR))
    rules = Rules(first=1, most=1, longest_queue_seconds=0)
    wire = open_wire(ehr.url, manners=Manners("general", rules=rules), patience=ONCE)
    for error in (ProviderUnreachable, NotFhir, ProviderRefused):
        with pytest.raises(error):
            wire.ask(Ask(f"{ehr.url}/fhir/a"))
    assert wire.ask(Ask(f"{ehr.url}/fhir/b")).body == PATIENT


def test_a_broken_image_server_does_not_stop_the_charts(ehr, stranger, open_wire):
    stranger.on("/studies", says(502))
    ehr.on("/fhir/a", says(200, BUNDLE, FHIR))
    manners = Manners("general", rules=Rules(failures=1, first_pause_seconds=500))
    wire = open_wire(ehr.url, allowed=[stranger.url], manners=manners, patience=ONCE)
    for _ in range(3):
        with pytest.raises((ProviderUnreachable, ProviderBusy)):
            wire.ask(Ask(f"{stranger.url}/studies"))
    assert wire.ask(Ask(f"{ehr.url}/fhir/a")).body == BUNDLE
    assert len(stranger.calls) == 1


def test_threads_reuse_their_connections(open_wire, ehr):
    peers: set[tuple[str, int]] = set()

    def note(door: Door) -> None:
        peers.add(door.client_address)
        door.say(200, BUNDLE, FHIR)

    ehr.on("/fhir/a", note)
    ask_all(open_wire(ehr.url), [f"{ehr.url}/fhir/a"] * 200)
    assert len(ehr.calls) == 200
    assert len(peers) <= 16


# What a status means


@pytest.mark.parametrize("status", [408, 425, 502, 504])
def test_a_server_that_a_gateway_did_not_reach_in_time_is_unreachable(ehr, open_wire, status):
    ehr.on("/fhir/a", says(status))
    with pytest.raises(ProviderUnreachable):
        open_wire(ehr.url, patience=ONCE).ask(Ask(f"{ehr.url}/fhir/a"))


def test_a_create_that_came_too_early_did_not_take_effect(ehr, open_wire):
    ehr.on("/fhir/a", says(425))
    with pytest.raises(ProviderUnreachable):
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a", "POST", body=b"{}", changes=True))


@pytest.mark.parametrize("status", [404, 410])
def test_a_page_that_expired_is_told_from_a_refusal(ehr, open_wire, status):
    ehr.on("/fhir/next", says(status))
    client = FhirClient(f"{ehr.url}/fhir", open_wire(ehr.url))
    with pytest.raises(PageExpired, match=f"HTTP {status}"):
        client.follow(f"{ehr.url}/fhir/next", previous="page-1")
    with pytest.raises(ProviderRefused) as caught:
        client.search("next", [])
    assert not isinstance(caught.value, PageExpired)


# XML where JSON was asked for


def _by_format(door: Door) -> None:
    as_json = "_format=json" in door.call.path
    door.say(200, BUNDLE if as_json else XML, FHIR if as_json else AS_XML)


def test_xml_is_asked_for_once_more_as_json_and_that_is_learned(ehr: Scripted, keep, open_wire):
    ehr.on("/fhir/a", _by_format)
    manners = Manners("general")
    wire = open_wire(ehr.url, manners=manners)
    assert wire.ask(Ask(f"{ehr.url}/fhir/a?_count=5")).body == BUNDLE
    assert ehr.paths() == ["/fhir/a?_count=5", "/fhir/a?_count=5&_format=json"]
    assert ehr.calls[1].headers["accept"] == "application/json"
    assert [keep.body(row) for row in keep.rows] == [XML, BUNDLE]
    assert keep.rows[1].previous == keep.rows[0].id
    assert wire.ask(Ask(f"{ehr.url}/fhir/a")).body == BUNDLE
    assert ehr.paths()[2:] == ["/fhir/a?_format=json"]
    assert manners.fact("accept") == ["_format=json"]


def test_a_server_that_only_speaks_xml_is_asked_twice_and_told_by_its_type(ehr, open_wire):
    ehr.on("/fhir/a", says(200, XML, AS_XML))
    with pytest.raises(OnlyXml):
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a"))
    assert len(ehr.calls) == 2


def test_an_attachment_in_xml_is_what_it_is(ehr, keep, open_wire):
    ehr.on("/fhir/file", says(200, XML, AS_XML))
    answer = open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/file", kind="file"))
    assert keep.body(answer.original) == XML
    assert len(ehr.calls) == 1


def test_a_create_that_is_answered_in_xml_is_not_repeated(ehr, open_wire):
    ehr.on("/fhir/a", says(201, XML, AS_XML))
    open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a", "POST", body=b"{}", changes=True))
    assert len(ehr.calls) == 1
