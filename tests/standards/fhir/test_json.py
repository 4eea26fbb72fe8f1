"""The one door for JSON: every digit, every letter, and nothing that is not safe to open."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import Hostile, Unreadable
from fhir_bridge.standards.fhir import json

literals = st.one_of(
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str).map(lambda text: text.lower()),
    st.from_regex(r"-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | decimals,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=12,
)


@given(literals)
def test_decimal_text(literal):
    """Invariant 11: a number is written again exactly as it came."""
    assert json.dumps(json.loads(literal.encode())) == literal.encode()


@given(values)
def test_what_is_written_is_read_and_written_the_same(value):
    written = json.dumps(value)
    assert json.dumps(json.loads(written)) == written
    assert json.loads(json.pretty(value).encode()) == json.loads(written)


def test_a_number_is_a_number_to_everybody_else():
    found = json.loads(b"[1e3, 0.0000001, -0, 1.50, 7]")
    assert found == [Decimal(1000), Decimal("1E-7"), 0, Decimal("1.5"), 7]
    assert isinstance(found[4], int)
    assert not any(isinstance(number, float) for number in found)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body):
    """Invariant bounded: what is no JSON is one of two errors of ours, whatever it is."""
    try:
        json.loads(body)
    except (Unreadable, Hostile) as refused:
        assert refused.__cause__ is None  # noqa: PT017 (either outcome is fine)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b'{"a":1,"a":2}',
        b"\xff\xfe{}",
        b'"\\ud800"',
        b"{'a': 1}",
        b"[1,]",
        b"01",
        b"1" * 5000,
        b"1e99999999999999999999",
        b"[" * 40,
        b'"tab\there"',
    ],
    ids=lambda body: ascii(body[:24]),
)
def test_what_is_no_strict_json_is_unreadable(body):
    with pytest.raises(Unreadable):
        json.loads(body)


def test_the_error_quotes_nothing_of_the_text():
    for body in (
        b'{"name": "Jane Doe"',
        b'{"name": "Jane \xff Doe"}',
        b'{"Jane Doe":1,"Jane Doe":2}',
    ):
        with pytest.raises(Unreadable) as refused:
            json.loads(body)
        told = str(refused.value) + repr(refused.value) + repr(refused.value.__cause__)
        assert "Jane" not in told


@pytest.mark.parametrize(("levels", "fits"), [(1, True), (64, True), (65, False), (5_000, False)])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded(levels, fits, opening, closing):
    inside = b"1" if opening != b"[" else b""
    body = opening * levels + inside + closing * levels
    if fits:
        json.loads(body)
        return
    with pytest.raises(Hostile):
        json.loads(body)


def test_brackets_within_strings_are_no_depth():
    body = b'{"a":"' + b"[{" * 200 + b'\\"' + b"[" * 200 + b'"}'
    assert json.loads(body)["a"].count("[") == 400


def test_many_records_beside_each_other_are_no_depth():
    body = b"[" + b",".join([b'{"a":[{"b":[]}]}'] * 500) + b"]"
    assert len(json.loads(body)) == 500


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2_000_000,
        b'{"a":' * 400_000,
        b'"' + b'\\"' * 1_000_000,
        b'["' * 700_000,
        b"[]" * 900_000,
    ],
    ids=["arrays", "objects", "escapes", "strings", "pairs"],
)
def test_hostile_text_is_refused_quickly(body):
    start = time.perf_counter()
    with pytest.raises((Hostile, Unreadable)):
        json.loads(body)
    assert time.perf_counter() - start < 5


def test_size_is_bounded():
    with pytest.raises(Hostile):
        json.loads(b'"xxxxx"', max_bytes=5)


def test_a_byte_order_mark_is_tolerated():
    assert json.loads(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_an_object_is_asked_for_and_nothing_else_taken():
    assert json.load_object(b"{}") == {}
    for body in (b"[]", b"1", b'"x"', b"null"):
        with pytest.raises(Unreadable):
            json.load_object(body)


def test_bytes_are_canonical():
    assert json.dumps({"b": [1, None], "a": "é\u0000"}) == '{"a":"é\\u0000","b":[1,null]}'.encode()


def test_what_has_no_json_form_is_a_slip_of_ours():
    with pytest.raises(TypeError):
        json.dumps({"a": object()})
    with pytest.raises(ValueError, match="JSON compliant"):
        json.dumps(float("nan"))
