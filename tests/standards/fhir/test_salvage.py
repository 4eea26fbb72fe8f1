"""One odd entry costs itself, and never its page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import BridgeError, Unreadable
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.salvage import entries, load

GOOD = b'{"resource":{"resourceType":"Observation","id":"1","value":1.50}}'
ODD = {
    "a lone surrogate": b'{"resource":{"resourceType":"X","text":"\\ud800"}}',
    "a key twice": b'{"resource":{"id":"1","id":"2"}}',
    "no number": b'{"resource":{"value":NaN}}',
    "bytes that are not UTF-8": b'{"resource":{"text":"caf\xe9"}}',
    "too deep": b'{"resource":' + b"[" * 80 + b"]" * 80 + b"}",
}


def _page(*found: bytes) -> bytes:
    head = b'{"resourceType":"Bundle","note":"\\"entry\\":[","type":"searchset","entry":['
    return head + b",".join(found) + b'],"total":2}'


@pytest.mark.parametrize("name", ODD)
def test_an_odd_entry_costs_only_itself_and_positions_stay(name):
    body = _page(GOOD, ODD[name], GOOD)
    found = load(body)
    assert found["entry"] == [json.loads(GOOD), None, json.loads(GOOD)]
    assert (found["type"], found["total"]) == ("searchset", 2)
    assert entries(body) == [GOOD, ODD[name], GOOD]


def test_a_strict_page_is_read_as_ever():
    assert load(_page(GOOD)) == json.load_object(_page(GOOD))


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": NaN, "entry": [{}]}',
        b'{"entry": [{"a": 1}',
        b"<html>",
        b'{"a": 1, "a": 2, "entry": [{}]}',
        b'{"entry": [{}, {}], "entry": [{}]}',
    ],
    ids=["beside the entries", "cut off", "no JSON", "a doubled key", "doubled entries"],
)
def test_what_is_wrong_beyond_the_entries_is_refused(body):
    with pytest.raises(Unreadable):
        load(body)


@given(st.binary(max_size=60))
def test_whatever_comes_ends(noise):
    for body in (noise, _page(noise), _page(GOOD, noise)):
        entries(body)
        try:
            load(body)
        except BridgeError:
            continue
