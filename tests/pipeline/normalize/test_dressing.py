"""What the bridge changes in a record, and that it changes nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest

NS = 'xmlns="http://www.w3.org/1999/xhtml"'
VENDOR = "urn:oid:1.2.840.114350.1.72.727879.69848980"


def test_numbers_dates_and_modifiers_are_kept_to_the_digit(chart, seen):
    value = {"value": Decimal("1.50"), "comparator": "<", "unit": "mg/dL"}
    chart.add(
        "Observation",
        "o",
        status="preliminary",
        subject={"reference": "Patient/p1"},
        effectiveDateTime="2025-01",
        valueQuantity=value,
        modifierExtension=[{"url": "http://x.example", "valueBoolean": True}],
    )
    resource = seen(chart).resource("Observation", "o")
    assert str(resource["valueQuantity"]["value"]) == "1.50"
    assert resource["valueQuantity"] == value
    assert (resource["status"], resource["effectiveDateTime"]) == ("preliminary", "2025-01")
    assert resource["modifierExtension"]


def test_only_the_meta_that_stays_true_is_kept(chart, seen):
    tag = [{"system": "http://x.example", "code": "t"}]
    meta = {
        "versionId": "7",
        "lastUpdated": "2025-01-01T00:00:00Z",
        "profile": ["http://x.example/p"],
        "source": "http://127.0.0.1:4711/r4/log/1",
        "tag": tag,
    }
    chart.add("Organization", "o", meta=meta)
    assert seen(chart).resource("Organization", "o")["meta"] == {
        "lastUpdated": "2025-01-01T00:00:00Z",
        "source": "log/1",
        "tag": tag,
    }


def test_a_vendor_type_gets_its_loinc_code_behind_its_own(chart, seen):
    own = {"system": VENDOR, "code": "4", "display": "H&P"}
    key = chart.document("d", type={"coding": [own], "text": "H&P"})
    found = seen(chart)
    type_ = found.resource("DocumentReference", "d")["type"]
    assert type_["coding"][0] == own
    assert type_["coding"][1]["code"] == "34117-2"
    assert found.entry("DocumentReference", "d").section == "course"
    assert found.end(key).reason == ""


@pytest.mark.parametrize("system", ["http://loinc.org", "urn:oid:2.16.840.1.113883.6.1"])
def test_a_type_that_is_loinc_already_gets_nothing(chart, seen, system):
    type_ = {"coding": [{"system": system, "code": "11526-1"}]}
    chart.document("d", type=type_)
    found = seen(chart)
    assert found.resource("DocumentReference", "d")["type"] == type_
    assert found.entry("DocumentReference", "d").section == "pathology"


def test_an_unknown_type_is_kept_as_sent_and_said_so(chart, seen):
    key = chart.document("d", type={"coding": [{"system": "http://x.example", "code": "?"}]})
    found = seen(chart)
    assert "not in the table" in found.end(key).reason
    assert found.entry("DocumentReference", "d").section == "other"


@pytest.mark.parametrize(
    ("kind", "rest", "section"),
    [
        (
            "DiagnosticReport",
            {"category": [{"coding": [{"system": "S", "code": "RAD"}]}]},
            "imaging",
        ),
        ("DiagnosticReport", {}, "laboratory"),
        ("Condition", {}, "problems"),
        ("AllergyIntolerance", {}, "medications"),
        ("ServiceRequest", {}, ""),
    ],
)
def test_a_record_stands_in_the_section_that_the_tables_say(chart, seen, kind, rest, section):
    if rest:
        rest["category"][0]["coding"][0]["system"] = "urn:oid:2.16.840.1.113883.12.74"
    subject = "patient" if kind == "AllergyIntolerance" else "subject"
    chart.add(kind, "x", **{subject: {"reference": "Patient/p1"}}, **rest)
    assert seen(chart).entry(kind, "x").section == section


def test_a_narrative_that_could_act_is_left_out_and_said_so(chart, seen):
    bad = {"status": "generated", "div": f"<div {NS}><script>x</script></div>"}
    good = {"status": "generated", "div": f"<div {NS}><p>fine</p></div>"}
    key = chart.add("Organization", "bad", text=bad)
    chart.add("Organization", "good", text=good)
    found = seen(chart)
    assert "text" not in found.resource("Organization", "bad")
    assert "narrative is left out" in found.end(key).reason
    assert found.resource("Organization", "good")["text"] == good


def test_the_newest_moment_is_the_evidences_own(chart, seen):
    assert seen(chart).normalized.newest == "2025-01-01T08:00:00Z"
    chart.document("d", version="4")
    assert seen(chart).normalized.newest == "2025-01-04T08:00:00Z"


@pytest.mark.parametrize(
    ("date", "newest"),
    [
        ("2025-02-03", "2025-02-03T00:00:00Z"),
        ("2025-02-03T10:00:00+01:00", "2025-02-03T10:00:00+01:00"),
        ("soon", "1970-01-01T00:00:00Z"),
    ],
)
def test_without_stamps_the_newest_date_counts(chart, seen, date, newest):
    chart.sighted.clear()
    chart.document("d", version="", date=date)
    assert seen(chart).normalized.newest == newest
