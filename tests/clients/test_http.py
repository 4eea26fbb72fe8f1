"""The wire over real sockets: what is kept, where a login goes, and which bodies are whole."""

from __future__ import annotations

import gzip
import logging
import random
import time
import tracemalloc
import zlib
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

import pytest

from fhir_bridge.case.original import How
from fhir_bridge.clients.ask import Ask, Limits
from fhir_bridge.clients.http import Wire
from fhir_bridge.errors import (
    DeliveryRefused,
    DeliveryUnknown,
    NotFhir,
    ProviderBusy,
    ProviderFailed,
    ProviderRefused,
    ProviderUnreachable,
    TooLarge,
    Truncated,
)

from .scripted import (
    BUNDLE,
    CANARY,
    FHIR,
    PATIENT,
    QUICK,
    Bearer,
    MemoryKeep,
    new_id,
    says,
    scripted_server,
    sends,
    utc_now,
)


def test_an_answer_is_kept_whole_before_it_is_returned(ehr, keep, open_wire):
    ehr.on("/fhir/Patient/1", says(200, PATIENT, {**FHIR, "Set-Cookie": "a=b", "ETag": 'W/"1"'}))
    answer = (
        open_wire(f"{ehr.url}/fhir")
        .for_case("case-1")
        .ask(Ask(f"{ehr.url}/fhir/Patient/1?access_token=x&_format=json", previous="page-0"))
    )
    row = answer.original
    assert keep.rows == [row]
    assert keep.body(row) == PATIENT == answer.body
    assert (row.source, row.how, row.status) == ("general", How.GET, 200)
    assert (row.case_id, row.previous, row.size) == ("case-1", "page-0", len(PATIENT))
    assert row.request == "GET /fhir/Patient/1?access_token=...&_format=json"
    assert row.facts == {"accept": "application/fhir+json", "framing": "length"}
    assert answer.header("etag") == 'W/"1"'
    assert "set-cookie" not in row.headers
    assert ehr.calls[0].headers["accept-encoding"] == "identity"


def test_a_cookie_is_never_sent_back(ehr, open_wire):
    ehr.on("/fhir/a", says(200, BUNDLE, {"Set-Cookie": "session=1; Path=/"}))
    wire = open_wire(f"{ehr.url}/fhir")
    for _ in range(2):
        wire.ask(Ask(f"{ehr.url}/fhir/a"))
    assert all("cookie" not in call.headers for call in ehr.calls)


def test_an_error_answer_is_kept_and_then_raised(ehr, keep, open_wire):
    outcome = b'{"resourceType":"OperationOutcome","issue":[{"code":"forbidden"}]}'
    ehr.on("/fhir/a", says(403, outcome, FHIR))
    with pytest.raises(ProviderRefused) as caught:
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a"))
    assert caught.value.detail == "HTTP 403 (forbidden)"
    assert [(r.status, keep.body(r)) for r in keep.rows] == [(403, outcome)]


def test_a_server_that_failed_once_is_asked_again(ehr, keep, open_wire):
    ehr.on("/fhir/a", says(500, b"oops"), says(200, BUNDLE, FHIR))
    assert open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a")).body == BUNDLE
    assert [row.status for row in keep.rows] == [500, 200]


def test_a_server_that_keeps_failing_is_asked_four_times(ehr, open_wire):
    ehr.on("/fhir/a", says(500))
    with pytest.raises(ProviderFailed):
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a"))
    assert len(ehr.calls) == 4


def test_retry_after_is_obeyed(ehr, open_wire):
    ehr.on("/fhir/a", says(429, b"", {"Retry-After": "1"}), says(200, BUNDLE, FHIR))
    begun = time.monotonic()
    assert open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a")).body == BUNDLE
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize(
    ("header", "seconds"), [("300", 300), ("1000000000", 900), ("a date", 400)]
)
def test_a_long_wait_is_not_waited_here(ehr, open_wire, header, seconds):
    if header == "a date":
        header = format_datetime(utc_now() + timedelta(seconds=seconds), usegmt=True)
    ehr.on("/fhir/a", says(503, b"", {"Retry-After": header}))
    with pytest.raises(ProviderBusy) as caught:
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/fhir/a"))
    assert len(ehr.calls) == 1
    assert caught.value.retry_after_seconds == pytest.approx(seconds, abs=3)


@pytest.mark.parametrize("header", ["-5", "soon", ""])
def test_a_senseless_retry_after_counts_as_none(ehr, open_wire, header):
    ehr.on("/fhir/a", says(429, b"", {"Retry-After": header}))
    patience = replace(QUICK, attempts=1)
    with pytest.raises(ProviderBusy) as caught:
        open_wire(ehr.url, patience=patience).ask(Ask(f"{ehr.url}/fhir/a"))
    assert 0.5 < caught.value.retry_after_seconds <= 1, "the first guess of the manners"


# Whole bodies


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"
LONG = b"Content-Length: 500\r\n\r\n" + BUNDLE
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n10\r\n" + BUNDLE[:16] + b"\r\n"
ZIPPED = gzip.compress(BUNDLE)
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
RAW_DEFLATE = RAW.compress(BUNDLE) + RAW.flush()
CUT_RAW = b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % (len(RAW_DEFLATE) - 1)
CUT_ZIP = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % (len(ZIPPED) - 6)


@pytest.mark.parametrize(
    "rest",
    [LONG, CHUNKED, CHUNKED + b"9\r\n", CUT_ZIP + ZIPPED[:-6], CUT_RAW + RAW_DEFLATE[:-1]],
    ids=["short of its length", "without last chunk", "in a chunk", "gzip cut", "deflate cut"],
)
def test_a_cut_body_is_kept_as_truncated_and_asked_again(ehr, keep, open_wire, rest):
    ehr.on("/a", sends(HEAD + rest), says(200, BUNDLE, FHIR))
    assert open_wire(ehr.url).ask(Ask(f"{ehr.url}/a")).body == BUNDLE
    assert [row.truncated for row in keep.rows] == [True, False]
    assert BUNDLE.startswith(keep.body(keep.rows[0]))


def test_a_body_that_is_always_cut_is_never_returned(ehr, open_wire):
    ehr.on("/a", sends(HEAD + LONG))
    with pytest.raises(Truncated):
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/a"))


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", ZIPPED),
        ("gzip", gzip.compress(BUNDLE[:9]) + gzip.compress(BUNDLE[9:])),
        ("deflate", zlib.compress(BUNDLE)),
        ("deflate", RAW_DEFLATE),
    ],
    ids=["gzip", "two members", "zlib", "raw deflate"],
)
def test_a_compressed_body_is_stored_decoded(ehr, keep, open_wire, coding, body):
    ehr.on("/a", says(200, body, {"Content-Encoding": coding}))
    assert open_wire(ehr.url).ask(Ask(f"{ehr.url}/a")).body == BUNDLE
    assert keep.rows[0].facts["encoded_size"] == str(len(body))


def test_an_unknown_content_coding_is_refused(ehr, open_wire):
    ehr.on("/a", says(200, b"...", {"Content-Encoding": "br"}))
    with pytest.raises(NotFhir):
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/a"))


def test_a_body_of_unknown_length_is_flagged(ehr, open_wire):
    ehr.on("/a", sends(HEAD + b"\r\n" + BUNDLE))
    answer = open_wire(ehr.url).ask(Ask(f"{ehr.url}/a"))
    assert answer.original.facts["framing"] == "close"


def test_a_body_beyond_the_cap_is_refused_and_not_kept(ehr, keep, open_wire):
    ehr.on("/a", says(200, b"x" * 2000))
    with pytest.raises(TooLarge):
        open_wire(ehr.url, limits=Limits(page_bytes=1000)).ask(Ask(f"{ehr.url}/a"))
    assert keep.rows == []
    assert keep.dropped == 1
    assert len(ehr.calls) == 1


def test_a_compressed_bomb_is_refused_in_little_memory(ehr, open_wire):
    bomb = gzip.compress(b"\0" * (64 << 20))
    ehr.on("/a", says(200, bomb, {"Content-Encoding": "gzip"}))
    wire = open_wire(ehr.url, limits=Limits(file_bytes=1 << 20))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        wire.ask(Ask(f"{ehr.url}/a", kind="file"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def _drips(head: bytes, drop: bytes):
    def drip(door):
        door.raw(head)
        for _ in range(100):
            time.sleep(0.1)
            try:
                door.raw(drop)
            except OSError:
                return

    return drip


@pytest.mark.parametrize(
    ("head", "drop"),
    [(HEAD + b"Content-Length: 500\r\n\r\n", b"{"), (HEAD + b"X-Drip: ", b"x")],
    ids=["body", "headers"],
)
def test_a_drip_is_cut_at_the_deadline_of_the_whole_answer(ehr, open_wire, head, drop):
    ehr.on("/a", _drips(head, drop))
    limits = Limits(total_seconds=0.8, read_seconds=30)
    wire = open_wire(ehr.url, limits=limits, patience=replace(QUICK, attempts=1))
    begun = time.monotonic()
    with pytest.raises(ProviderUnreachable):
        wire.ask(Ask(f"{ehr.url}/a"))
    assert 0.7 < time.monotonic() - begun < 1.8


def test_a_file_may_take_longer_while_enough_bytes_come(ehr, keep, open_wire):
    def steady(door):
        door.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        for _ in range(10):
            time.sleep(0.1)
            door.raw(b"x" * 1000)

    ehr.on("/a", steady)
    limits = Limits(total_seconds=0.5, bytes_per_second=5000)
    answer = open_wire(ehr.url, limits=limits).ask(Ask(f"{ehr.url}/a", kind="file"))
    assert (answer.body, answer.original.size) == (None, 10000)


def test_nobody_listening_is_unreachable():
    with scripted_server() as gone:
        pass
    wire = Wire.open(
        "general", gone.url, keep=MemoryKeep(), now=utc_now, new_id=new_id, patience=QUICK
    )
    with pytest.raises(ProviderUnreachable, match="no connection"):
        wire.ask(Ask(f"{gone.url}/a"))
    with pytest.raises(ProviderUnreachable):
        wire.ask(Ask(f"{gone.url}/a", "POST", body=b"{}", changes=True))


# Creates


def _hangs_up(door):
    door.close_connection = True


@pytest.mark.parametrize(
    ("reaction", "error"),
    [
        (_hangs_up, DeliveryUnknown),
        (says(500), DeliveryUnknown),
        (says(503), DeliveryUnknown),
        (says(408), DeliveryUnknown),
        (says(422), DeliveryRefused),
        (says(412), DeliveryRefused),
        (says(307, b"", {"Location": "/b"}), DeliveryRefused),
        (says(429), ProviderBusy),
    ],
    ids=["hangs up", "500", "503", "408", "422", "412", "307", "429"],
)
def test_a_create_is_tried_once_and_doubt_is_doubt(ehr, open_wire, reaction, error):
    ehr.on("/a", reaction)
    with pytest.raises(error):
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/a", "POST", body=b"{}", changes=True))
    assert len(ehr.calls) == 1


def test_a_create_that_was_answered_201_stands_even_if_the_body_broke_off(ehr, open_wire):
    ehr.on("/a", sends(b"HTTP/1.1 201 Created\r\nLocation: x/1\r\nContent-Length: 9\r\n\r\n{"))
    answer = open_wire(ehr.url).ask(Ask(f"{ehr.url}/a", "POST", body=b"{}", changes=True))
    assert (answer.status, answer.original.truncated) == (201, True)


def test_addresses_and_logins_are_in_no_log(ehr, open_wire, caplog):
    caplog.set_level(logging.DEBUG)
    ehr.on("/a", says(500), says(200, BUNDLE))
    open_wire(ehr.url).with_login(Bearer()).ask(Ask(f"{ehr.url}/a?family=Canaryname"))
    assert "Canaryname" not in caplog.text
    assert CANARY not in caplog.text


def test_a_large_random_file_survives_the_wire(ehr, keep, open_wire):
    body = random.Random(1).randbytes(3 << 20)
    ehr.on("/a", says(200, body, {"Content-Type": "application/pdf"}))
    answer = open_wire(ehr.url).ask(Ask(f"{ehr.url}/a", kind="file"))
    assert keep.body(answer.original) == body
