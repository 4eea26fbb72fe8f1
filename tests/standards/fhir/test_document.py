"""Our own document rules: each broken rule is named, a good document has none."""

from __future__ import annotations

import copy

import pytest

from fhir_bridge.standards.fhir.document import problems

A, B = (f"urn:uuid:6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f000{n}" for n in (1, 2))
GOOD = {
    "resourceType": "Bundle",
    "type": "document",
    "identifier": {"system": "urn:ietf:rfc:3986", "value": A},
    "timestamp": "2026-01-01T00:00:00Z",
    "entry": [
        {
            "fullUrl": A,
            "resource": {
                "resourceType": "Composition",
                "id": A[9:],
                "status": "final",
                "type": {"text": "x"},
                "subject": {"reference": B},
                "date": "2026",
                "author": [{"display": "x"}],
                "title": "t",
                "section": [{"title": "s", "entry": [{"reference": B}]}],
            },
        },
        {"fullUrl": B, "resource": {"resourceType": "Patient", "id": B[9:]}},
    ],
}


def broken(change) -> list[str]:
    bundle = copy.deepcopy(GOOD)
    change(bundle, bundle["entry"][0]["resource"], bundle["entry"][1])
    return problems(bundle)


def test_a_good_document_has_no_problems():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("bdl-1", lambda b, c, e: b.update(total=2)),
        ("bdl-2", lambda b, c, e: e.update(search={"mode": "match"})),
        ("bdl-3", lambda b, c, e: e.update(request={"method": "PUT"})),
        ("bdl-4", lambda b, c, e: e.update(response={"status": "200"})),
        ("bdl-5", lambda b, c, e: e.pop("resource")),
        ("bdl-7", lambda b, c, e: b["entry"].append(e)),
        ("bdl-8", lambda b, c, e: e.update(fullUrl=f"{B}/_history/1")),
        ("bdl-9", lambda b, c, e: b.update(identifier={"value": "x"})),
        ("bdl-10", lambda b, c, e: b.update(timestamp="2026-01-01")),
        ("bdl-11", lambda b, c, e: b["entry"].reverse()),
        ("cmp-1: section[1]", lambda b, c, e: c["section"].append({"title": "nothing"})),
        (
            "cmp-1: section[0].section[0]",
            lambda b, c, e: c["section"][0].update(section=[{"title": "nothing"}]),
        ),
        ("cmp-2", lambda b, c, e: c["section"][0].update(emptyReason={"text": "x"})),
        ("no title", lambda b, c, e: c.pop("title")),
        ("no urn:uuid", lambda b, c, e: e.update(fullUrl="https://h/Patient/1")),
        ("another id", lambda b, c, e: e["resource"].update(id="1")),
        ("encounter of entry 0", lambda b, c, e: c.update(encounter={"reference": "Encounter/1"})),
        ("custodian of entry 0", lambda b, c, e: c.update(custodian={"reference": "#e"})),
        ("photo[0] of entry 1", lambda b, c, e: e["resource"].update(photo=[{"url": "Binary/1"}])),
        ("no Bundle", lambda b, c, e: b.update(type="collection")),
    ],
)
def test_a_broken_rule_is_named(rule, change):
    assert any(rule in sentence for sentence in broken(change))


def test_a_reference_that_the_record_lists_may_lead_out():
    bundle = copy.deepcopy(GOOD)
    bundle["entry"][1]["resource"]["managingOrganization"] = {"reference": "Organization/1"}
    assert problems(bundle, {(B, "managingOrganization")}) == []


@pytest.mark.parametrize("url", [["Binary/1"], {"a": 1}, 5, True])
def test_an_attachment_whose_address_is_no_text_leads_out(url):
    def change(bundle, composition, entry):
        entry["resource"]["photo"] = [{"url": url}]

    assert broken(change) == ["photo[0] of entry 1 leads out of the document, unlisted"]
