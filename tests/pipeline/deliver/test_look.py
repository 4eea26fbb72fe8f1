from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge.case.delivery import DeliveryState
from fhir_bridge.errors import ProviderRefused
from fhir_bridge.pipeline.deliver.document_reference import binary, document_reference
from fhir_bridge.pipeline.deliver.look import look
from fhir_bridge.pipeline.deliver.plan import Site
from fhir_bridge.standards.fhir import json

from .conftest import SIGNED, Trip, queued, signed_opinion, trip


def filed(made: Trip, resource: dict[str, Any]) -> None:
    made.chart.create("DocumentReference", json.dumps(resource))


def bare(date: str = "2025-07-19T09:00:00Z", **more: Any) -> dict[str, Any]:
    """A document as a chart may keep it: nothing of ours but the bytes."""
    url = {"contentType": "application/pdf", "url": "Binary/b1"}
    kept = {"status": "current", "subject": {"reference": "Patient/p1"}, "date": date}
    return {"resourceType": "DocumentReference", "content": [{"attachment": url}], **kept, **more}


def test_an_empty_chart_is_certainly_without_it() -> None:
    made = trip()
    seen = look(made.delivery, made.way)
    assert (seen.matches, seen.certain) == (frozenset(), True)


def test_it_is_found_by_its_bytes_when_nothing_else_of_it_was_kept() -> None:
    made = trip()
    made.chart.create("Binary", SIGNED.pdf, content_type="application/pdf")
    filed(made, bare())
    assert look(made.delivery, made.way).matches == {"DocumentReference/d1"}


def test_it_is_found_by_the_identifier_printed_in_a_text_that_the_chart_made() -> None:
    made = trip()
    text = f"Consult. Document {SIGNED.identifier}".encode()
    made.chart.create("Binary", binary("text/plain", text))
    filed(made, bare())
    assert look(made.delivery, made.way).matches == {"DocumentReference/d1"}


def test_the_version_after_it_is_not_taken_for_it() -> None:
    made = trip()
    later = signed_opinion(version=2, replaces=queued())
    filed(made, document_reference(queued(later), later, "p1"))
    seen = look(made.delivery, made.way)
    assert (seen.matches, seen.certain) == (frozenset(), True)


def test_a_document_that_cannot_be_opened_leaves_it_uncertain() -> None:
    made = trip()
    filed(made, bare())
    assert look(made.delivery, made.way).certain is False


def test_documents_from_before_the_opinion_are_left_alone() -> None:
    made = trip()
    filed(made, bare(date="2025-07-01T09:00:00Z"))
    assert look(made.delivery, made.way).certain is True


def test_every_page_is_turned_and_a_cap_leaves_it_uncertain() -> None:
    made = trip(page_size=2)
    other = signed_opinion(version=3)
    for _ in range(9):
        filed(made, document_reference(queued(other), other, "p1"))
    filed(made, document_reference(queued(), SIGNED, "p1"))
    assert look(made.delivery, made.way).matches == {"DocumentReference/d10"}
    capped = trip(page_size=2, site=Site("p1", max_pages=3))
    capped.chart.documents.update(made.chart.documents)
    assert look(capped.delivery, capped.way).certain is False


def test_a_search_without_our_identifier_is_what_listed_means() -> None:
    made = trip()
    resource = document_reference(queued(), SIGNED, "p1")
    filed(made, {k: v for k, v in resource.items() if k != "type"} | {"date": "2020-01-01"})
    seen = look(made.delivery, made.way)
    assert seen.matches == {"DocumentReference/d1"}
    assert seen.listed == frozenset()


def test_a_chart_without_any_search_means_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trip(fault=lambda _: "lost")

    def refused(*_: object, **__: object) -> None:
        raise ProviderRefused("HTTP 403")

    monkeypatch.setattr(made.chart, "search", refused)
    assert made.run().state is DeliveryState.HELD
    assert made.delivery.attempts == 1
