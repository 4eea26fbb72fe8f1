"""The visitor's door: the chart as a page, what the hospital saw, how much it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from .small_case import DOCUMENTS, PDF, Visit


def test_the_chart_shows_the_delivered_opinion_on_top(open_hospital: Callable[..., Any]) -> None:
    with open_hospital(only="ehr") as visit:
        before = visit.control("chart.json")
        visit.post_document()
        chart = visit.control("chart.json")
        page = visit.get(f"{visit.urls['control']}/chart")
        link = chart["delivered"][0]["attachments"][0]["link"]
        shown = visit.get(f"{visit.base}{link}")
    assert before["delivered"] == []
    assert chart["patient"] == {
        "name": "SÁNCHEZ, Ana María",
        "born": "1961-03-14",
        "sex": "female",
        "number": "4711",
    }
    assert len(chart["documents"]) == DOCUMENTS + 1
    (opinion,) = chart["delivered"]
    assert chart["documents"][0] == opinion
    assert (opinion["title"], opinion["authors"]) == ("Second opinion", ["Dr. Opinion"])
    assert opinion["attachments"][0]["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert (shown.content, shown.headers["content-type"]) == (PDF, "application/pdf")
    assert f'href="{link}"' in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_foreign_text_on_the_page_stays_text(open_hospital: Callable[..., Any]) -> None:
    with open_hospital(only="ehr") as visit:
        visit.http.post(
            f"{visit.urls['fhir']}/DocumentReference",
            json={
                "resourceType": "DocumentReference",
                "status": "current",
                "description": "<script>alert(1)</script>",
                "content": [{"attachment": {"url": "Binary/none", "title": "gone"}}],
            },
        )
        page = visit.get(f"{visit.urls['control']}/chart").text
    assert "&lt;script&gt;" in page
    assert "gone: no content here" in page


def test_every_request_is_noted_without_its_query(healthy: Visit) -> None:
    healthy.get("DocumentReference?patient=p-1&_count=3")
    healthy.get("Patient/p-9")
    *_, search, read = healthy.control("requests")
    assert (search["method"], search["path"], search["status"]) == (
        "GET",
        "/fhir/DocumentReference",
        200,
    )
    assert (read["path"], read["status"]) == ("/fhir/Patient/p-9", 404)


def test_the_counts_say_what_the_hospital_holds(healthy: Visit) -> None:
    counts = healthy.control("counts")
    assert counts["resources"]["DocumentReference"] == DOCUMENTS
    assert (counts["studies"], counts["instances"], counts["pushable"]) == (1, 5, 2)
