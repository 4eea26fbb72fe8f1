"""The case record: one document, the same bytes from the same evidence, balanced."""

from __future__ import annotations

import base64
import copy
import hashlib
import random
from dataclasses import replace

import pytest

from fhir_bridge import tables
from fhir_bridge.case.case import SPECIALTIES
from fhir_bridge.case.ledger import RecordState
from fhir_bridge.errors import NotReady
from fhir_bridge.pipeline.assemble import checklist, release_problems
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.judge import judge


def entries(record):
    return json.load_object(record.document)["entry"]


@pytest.mark.parametrize("specialty", SPECIALTIES)
def test_a_case_becomes_a_balanced_document_of_valid_entries(pulled, specialty):
    case = pulled(specialty)
    record = case.record()
    assert release_problems(case.rows(), record) == ()
    assert record.entries == tuple(entry["fullUrl"] for entry in entries(record))
    assert {e["fullUrl"]: found for e in entries(record) if (found := judge(e["resource"]))} == {}


def test_two_pulls_from_other_ports_in_other_orders_give_the_same_bytes(pulled):
    first, second = pulled(port=4711), pulled(port=51234)
    for pile in (second.sighted, second.attachments):
        random.Random(7).shuffle(pile)
    lines = second.lines()[::-1]
    assert first.record().sha256 == second.record(lines=lines).sha256
    assert b"127.0.0.1" not in first.record().document


def test_the_sections_stand_in_the_order_of_their_table(pulled):
    composition = entries(pulled().record())[0]["resource"]
    expected = [row["title"] for row in tables.rows("mappings", "chart-sections.csv")]
    assert [section["title"] for section in composition["section"]] == expected
    pathology = composition["section"][1]["text"]["div"]
    assert pathology.index("DPYD genotype") < pathology.index("sigmoid biopsies")


def test_a_value_cannot_break_out_of_the_narrative(pulled):
    composition = entries(pulled().record())[0]["resource"]
    assert "Is &lt;another&gt; way &amp; safer?" in composition["section"][0]["text"]["div"]


def test_completeness_says_what_is_short_what_was_left_out_and_what_leads_out(pulled):
    text = entries(pulled().record())[0]["resource"]["section"][-1]["text"]["div"]
    for words in (
        "1 of 27 documents is missing",
        "Complete by the hospital&#x27;s own count (3 of 3)",
        "DocumentReference/onc-doc-wrong-note",
        "a newer document says that it replaces this one",
        "DocumentReference/onc-doc-operative-note-copy",
        "Endpoint/onc-wado",
    ):
        assert words in text


def test_who_released_an_incomplete_record_stands_in_it(pulled):
    released = "Released by N. Nurse on 2025-07-11: the last page never came"
    section = entries(pulled().record(released=released))[0]["resource"]["section"][-1]
    assert released in section["text"]["div"]


def test_nothing_withdrawn_is_in_the_document(pulled):
    found = [e["resource"] for e in entries(pulled().record())]
    assert all(one.get("status") != "entered-in-error" for one in found)
    assert not [one for one in found if one["resourceType"] == "Endpoint"]


def test_a_binary_holds_the_bytes_that_its_hash_names(pulled):
    for entry in entries(pulled().record()):
        if entry["resource"]["resourceType"] == "Binary":
            body = base64.b64decode(entry["resource"]["data"])
            named = entry["resource"]["meta"]["source"].removeprefix("urn:sha256:")
            assert hashlib.sha256(body).hexdigest() == named


def test_other_bytes_in_the_store_stop_the_record(pulled):
    with pytest.raises(NotReady, match="other bytes"):
        pulled().record(read_blob=lambda _: b"else")


def test_a_reference_that_leads_out_unlisted_stops_the_record(pulled):
    case = pulled()
    normalized = replace(case.normalize(), unresolved=())
    with pytest.raises(NotReady, match="leads out"):
        case.record(replace(normalized, entries=(*normalized.entries, _dangling(normalized))))


def _dangling(normalized):
    entry = next(e for e in normalized.entries if e.resource["resourceType"] == "Organization")
    id_ = "6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41"
    resource = {**entry.resource, "id": id_, "partOf": {"reference": "Organization/gone"}}
    return replace(entry, full_url=f"urn:uuid:{id_}", resource=resource)


def test_a_patient_who_is_not_the_confirmed_one_stops_the_record(pulled):
    case = pulled()
    normalized = case.normalize()
    case.pins = {"general-hospital": "somebody-else"}
    with pytest.raises(NotReady, match="confirmed"):
        case.record(normalized)


def test_a_row_without_its_entry_stops_the_release(pulled):
    case = pulled()
    record, rows = case.record(), case.rows()
    kept = next(row for row in rows if row.state is RecordState.KEPT)
    broken = [replace(row, entry="urn:uuid:else") if row is kept else row for row in rows]
    assert any(str(kept.key) in problem for problem in release_problems(broken, record))


def test_a_later_version_replaces_the_one_before(pulled):
    first, second = pulled().record(), pulled().record(version=2)
    composition = entries(second)[0]["resource"]
    before = json.load_object(first.document)["identifier"]
    assert composition["relatesTo"] == [{"code": "replaces", "targetIdentifier": before}]
    assert first.sha256 != second.sha256


def test_every_source_has_a_provenance_that_names_its_records_and_the_tables(pulled):
    record = pulled().record()
    (provenance,) = [
        e["resource"] for e in entries(record) if e["resource"]["resourceType"] == "Provenance"
    ]
    values = {entity["what"]["identifier"]["value"] for entity in provenance["entity"]}
    assert "DocumentReference/onc-doc-biopsy-final/_history/1" in values
    assert "DocumentReference/onc-doc-operative-note-copy/_history/1" in values
    assert provenance["policy"] == [f"urn:sha256:{tables.fingerprint()}"]
    assert f"urn:uuid:{provenance['id']}" in record.bridge_made


def test_a_case_for_which_nothing_came_is_still_a_document(pulled):
    case = pulled()
    case.sighted, case.attachments = [], []
    record = case.record(lines=[])
    kinds = [entry["resource"]["resourceType"] for entry in entries(record)]
    assert kinds == ["Composition", "Patient", "Organization"]
    assert b"No hospital was asked." in record.document


ODD = (None, 1, "", "x", True, [], {}, [None], [[{}]], {"a": 1}, [{"coding": "x"}], {"coding": [1]})


def places(node, path=()):
    for step, value in node.items() if isinstance(node, dict) else enumerate(node):
        if path or step not in {"resourceType", "id"}:
            yield (*path, step)
            if isinstance(value, dict | list):
                yield from places(value, (*path, step))


def bent(resource, rng):
    """A copy of a resource in which one place holds something that does not belong there."""
    copied = copy.deepcopy(resource)
    *way, last = rng.choice(list(places(copied)))
    node = copied
    for step in way:
        node = node[step]
    node[last] = copy.deepcopy(rng.choice(ODD))
    return copied


@pytest.mark.parametrize("seed", range(8))
def test_whatever_shape_a_record_has_the_others_are_assembled(pulled, seed):
    case, rng = pulled("gastroenterology"), random.Random(seed)
    case.sighted = [
        replace(one, resource=bent(one.resource, rng)) if rng.random() < 0.5 else one
        for one in case.sighted
    ]
    normalized = case.normalize()
    checklist(case.case, normalized.entries)
    assert set(normalized.ends) == {one.key for one in (*case.sighted, *case.attachments)}
    assert case.record(normalized).entries
