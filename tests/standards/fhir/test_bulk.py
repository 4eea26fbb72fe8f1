"""NDJSON is the same wherever it is cut, and a line says whose it is or that it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import NotFhir
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.bulk import deletions, is_about, ndjson, read_manifest

BASE = "https://ehr.example/r4"
# Every size of UTF-8, and what text readers take for the end of a line.
texts = st.text(st.sampled_from('aé日🩻\u2028\u0085\x0b"\\{'), max_size=12)
bodies = st.builds(lambda text: json.dumps({"resourceType": "Basic", "text": text}), texts)
ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \n"])


@given(lines=st.lists(bodies, max_size=6), end=ends, last=st.booleans(), data=st.data())
def test_cut_at_any_byte_the_lines_are_the_same(lines, end, last, data):
    body = end.join(lines) + (end if last else b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert [line.body for line in ndjson(chunks)] == lines


@given(lines=st.lists(bodies, min_size=1, max_size=6), stop=st.integers(0, 5))
def test_reading_on_from_the_end_of_any_line_brings_the_rest(lines, stop):
    body = b"\n".join(lines)
    first = list(ndjson([body]))[: stop + 1]
    start = min(first[-1].end, len(body))
    rest = list(ndjson([body[start:]], start=start))
    assert [line.body for line in [*first, *rest]] == lines


def test_a_line_beyond_the_cap_costs_neither_memory_nor_the_lines_around_it():
    chunks = [b"{}\n", *[b"x" * 10] * 50, b"\n{}\n"]
    found = list(ndjson(chunks, cap=20))
    assert [line.body for line in found] == [b"{}", None, b"{}"]
    assert found[-1].end == 3 + 500 + 1 + 3


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    assert [line.body for line in ndjson([b"\xef\xbb\xbf{}\n{}"])] == [b"{}", b"{}"]


@pytest.mark.parametrize(
    ("resource", "about"),
    [
        ({"resourceType": "Patient", "id": "1"}, True),
        ({"resourceType": "Patient", "id": "2"}, False),
        ({"subject": {"reference": "Patient/1"}}, True),
        ({"subject": {"reference": "Patient/1/_history/4"}}, True),
        ({"patient": {"reference": f"{BASE}/Patient/1"}}, True),
        ({"subject": {"reference": "Patient/2"}, "performer": [{"reference": "Patient/1"}]}, False),
        ({"subject": {"reference": "Group/1"}}, False),
        ({"subject": {"reference": "https://other.example/Patient/1"}}, None),
        ({"subject": {"reference": "https://other.example/Patient/2"}}, False),
        ({"subject": {"reference": "Patient?identifier=a|1"}}, None),
        ({"subject": {"reference": "#p"}}, None),
        ({"subject": {"reference": "urn:uuid:1"}}, None),
        ({"subject": {"identifier": {"value": "1"}}}, None),
        ({}, None),
    ],
)
def test_whose_a_line_is(resource, about):
    assert is_about(resource, "1", BASE) is about


def test_a_manifest_is_read_whatever_is_missing_from_it():
    found = read_manifest(
        {
            "transactionTime": "2026-01-01T00:00:00Z",
            "output": [{"type": "Patient", "url": "a", "count": 0}, {"type": "X"}, 7],
            "outcome": [{"type": "OperationOutcome", "url": "b", "count": -1}],
            "deleted": [{"type": "Bundle", "url": "c", "count": True}],
            "link": [{"relation": "next", "url": "d"}],
        }
    )
    assert [(f.kind, f.url, f.count) for f in found.files] == [
        ("output", "a", 0), ("error", "b", None), ("deleted", "c", None),
    ]  # fmt: skip
    assert (found.needs_token, found.next_link) == (False, "d")
    with pytest.raises(NotFhir):
        read_manifest({"resourceType": "Bundle"})


def test_only_deletions_are_deletions():
    entries = [
        {"request": {"method": "DELETE", "url": "Patient/1"}},
        {"request": {"method": "PUT", "url": "Patient/2"}},
        {"request": {"method": "DELETE", "url": "Patient?identifier=3"}},
        {"request": {"method": "DELETE"}},
        {},
    ]
    assert list(deletions({"entry": entries})) == [("Patient", "1")]
