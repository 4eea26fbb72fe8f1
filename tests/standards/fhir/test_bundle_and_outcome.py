"""Pages and outcomes of foreign servers are read without trusting them."""

from __future__ import annotations

import pytest

from fhir_bridge import errors
from fhir_bridge.errors import BridgeError, NotFhir
from fhir_bridge.standards.fhir import outcome
from fhir_bridge.standards.fhir.bundle import read_searchset
from fhir_bridge.standards.fhir.judge import judge

PAGE = {
    "resourceType": "Bundle",
    "type": "searchset",
    "total": 3,
    "link": [{"relation": "self", "url": "s"}, {"relation": "next", "url": "n"}, "odd"],
    "entry": [
        {"fullUrl": "https://in/r4/Patient/1", "resource": {"resourceType": "Patient"}},
        {"search": {"mode": "include"}, "resource": {"resourceType": "Organization"}},
        {
            "search": {"mode": "outcome"},
            "resource": {
                "resourceType": "OperationOutcome",
                "issue": [{"severity": "warning", "code": "suppressed", "diagnostics": "some"}],
            },
        },
        {"resourceType": "Patient", "id": "bare"},
        {"fullUrl": "https://in/r4/Patient/2"},
        "nothing",
    ],
}


def test_a_page_is_split_into_matches_includes_and_what_the_server_says():
    page = read_searchset(PAGE, "https://out/r4/")
    assert [entry.position for entry in page.matches] == [0, 3]
    assert [entry.base for entry in page.matches] == ["https://in/r4", "https://out/r4"]
    assert [entry.resource["resourceType"] for entry in page.included] == ["Organization"]
    assert [issue.text for issue in page.issues] == ["some"]
    assert page.unreadable == (4, 5)
    assert (page.self_link, page.next_link, page.total) == ("s", "n", 3)


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "OperationOutcome"},
        {"resourceType": "Bundle", "type": "collection"},
        {"resourceType": "Bundle", "type": "searchset", "entry": {}},
    ],
)
def test_what_is_no_searchset_is_refused(body):
    with pytest.raises(NotFhir):
        read_searchset(body, "")


def test_an_empty_page_without_entries_is_a_page():
    page = read_searchset({"resourceType": "Bundle", "type": "searchset", "total": True}, "")
    assert (page.matches, page.total) == ((), None)


def test_the_highest_severity_is_reported_and_the_first_of_it():
    found = outcome.read(
        {
            "issue": [
                {"severity": "information", "code": "informational", "diagnostics": "hello"},
                {"severity": "fatal", "code": "processing", "details": {"text": "first"}},
                {"severity": "fatal", "details": {"coding": [{"display": "second"}]}},
                {"severity": "terrible"},
                "odd",
            ]
        }
    )
    worst = outcome.worst(found)
    assert worst is not None
    assert (worst.severity, worst.text, worst.failed) == ("fatal", "first", True)
    assert [issue.severity for issue in found] == ["information", "fatal", "fatal", "error"]
    assert outcome.worst(()) is None


def _tree(kind: type[BridgeError]) -> list[type[BridgeError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _tree(child))]


@pytest.mark.parametrize("kind", _tree(errors.BridgeError), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_answers_as_a_valid_outcome(kind):
    made = outcome.of_error(kind("two rows"))
    assert judge(made) == ()
    assert made["issue"][0]["details"]["coding"][0]["code"] == kind.code
    assert made["issue"][0]["diagnostics"] == "two rows"
