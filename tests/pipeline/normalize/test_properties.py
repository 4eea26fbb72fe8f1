"""Laws that hold for every chart: order does not matter, nothing is lost, nothing is lost twice."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge import tables
from fhir_bridge.case.ledger import ATTACHMENT, RecordKey, RecordState
from fhir_bridge.case.record import HeldAttachment, Sighted
from fhir_bridge.errors import BridgeError
from fhir_bridge.pipeline.normalize import normalize
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.attachments import attachments

PAYLOADS = tables.root().parent / "shared" / "payloads"
BODIES = {"Binary/1": b"%PDF-1", "Binary/2": b"%PDF-1", "Binary/3": b"text"}
QUIET = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

documents = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abc"),
        "version": st.sampled_from("123"),
        "source": st.sampled_from(["general-hospital", "st-anne"]),
        "url": st.sampled_from([None, *BODIES, "Binary/gone"]),
        "status": st.sampled_from(["current", "superseded", "entered-in-error"]),
        "subject": st.sampled_from(["Patient/p1", "Patient/p2", "#x"]),
        "replaces": st.sampled_from([None, "a", "b", "c"]),
    }
)


def fill(chart, drawn):
    chart.bodies = BODIES
    chart.study("2.25.9", "2.25.1", "2.25.2")
    chart.add("Endpoint", "e")
    chart.add("Patient", "p1", source="st-anne")
    uid = [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.9"}]
    chart.add("ImagingStudy", "s", identifier=uid, subject={"reference": "Patient/p1"})
    taken = set()
    for one in drawn:
        if (one["source"], one["id"], one["version"]) in taken:
            continue
        taken.add((one["source"], one["id"], one["version"]))
        target = {"reference": f"DocumentReference/{one['replaces']}"}
        chart.document(
            one["id"],
            one["url"],
            version=one["version"],
            source=one["source"],
            status=one["status"],
            subject={"reference": one["subject"]},
            relatesTo=[{"code": "replaces", "target": target}] if one["replaces"] else [],
        )


def digest(normalized):
    entries = [
        (e.full_url, e.resource, [str(k) for k in e.sources], e.section) for e in normalized.entries
    ]
    return hashlib.sha256(json.dumps(entries)).hexdigest(), normalized.ends, normalized.unresolved


@pytest.fixture
def fresh(chart):
    """A new copy of the chart for each example."""
    return lambda: replace(
        chart,
        sighted=list(chart.sighted),
        attachments=list(chart.attachments),
        studies=list(chart.studies),
    )


@QUIET
@given(drawn=st.lists(documents, max_size=8), random=st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_bytes(fresh, drawn, random):
    chart = fresh()
    fill(chart, drawn)
    first = digest(chart.normalize())
    for pile in (chart.sighted, chart.attachments, chart.studies):
        random.shuffle(pile)
    chart.sighted.append(chart.sighted[0])
    assert digest(chart.normalize()) == first


@QUIET
@given(drawn=st.lists(documents, max_size=8))
def test_every_key_has_one_end_and_every_entry_somebody_behind_it(fresh, drawn):
    chart = fresh()
    fill(chart, drawn)
    found = chart.normalize()
    went_in = {one.key for one in (*chart.sighted, *chart.attachments)}
    went_in |= {key for _, keys in chart.studies for key in keys}
    assert set(found.ends) == went_in
    present = {entry.full_url for entry in found.entries}
    kept = {end.entry for end in found.ends.values() if end.state is RecordState.KEPT}
    assert kept <= present
    assert present - kept == {e.full_url for e in found.entries if not e.sources}
    for end in found.ends.values():
        assert end.rule
        if end.state is RecordState.MERGED_INTO:
            assert end.target in {str(key) for key in found.ends} | present


@QUIET
@given(drawn=st.lists(documents, max_size=8))
def test_nothing_withdrawn_or_of_another_patient_is_shown(fresh, drawn):
    chart = fresh()
    fill(chart, drawn)
    found = chart.normalize()
    shown = [e.resource for e in found.entries if e.resource["resourceType"] == "DocumentReference"]
    assert all(one["status"] == "current" or one["relatesTo"] for one in shown)
    assert all(one["status"] != "entered-in-error" for one in shown)
    assert "p2" not in str(shown)


def captures():
    if not PAYLOADS.is_dir():
        return []
    return sorted(path for path in PAYLOADS.rglob("*") if path.suffix in {".json", ".ndjson"})


def resources(path):
    body = path.read_bytes()
    values = []
    for part in body.splitlines() if path.suffix == ".ndjson" else [body]:
        try:
            values.append(json.load_object(part))
        except BridgeError:
            continue  # a capture that is no JSON on purpose never gets past the parser
    for value in values:
        entries = value.get("entry") if value.get("resourceType") == "Bundle" else None
        for entry in [{"resource": value}] if entries is None else entries:
            resource = entry.get("resource", entry)
            if isinstance(resource, dict):
                yield resource


@pytest.mark.skipif(not captures(), reason="the captures of other systems are not on this machine")
def test_whatever_other_systems_send_has_an_end_and_nothing_crashes(chart):
    for path in captures():
        sighted, held = [], []
        for resource in resources(path):
            kind = str(resource.get("resourceType", "unknown"))
            key = RecordKey("s", kind, hashlib.sha256(json.dumps(resource)).hexdigest())
            sighted.append(Sighted(key, resource, "https://ehr.example/r4", "exchange"))
            held += [
                HeldAttachment(RecordKey("s", ATTACHMENT, f"{key.id}#{place}"), key, place)
                for place, _ in attachments(resource)
            ]
        patient = next((one.key.id for one in sighted if one.key.kind == "Patient"), "p1")
        found = normalize(chart.case, sighted, held, [], {"s": patient})
        assert set(found.ends) == {one.key for one in (*sighted, *held)}, path.name
