"""Attachments: one Binary for each content, no address with a server, and an end for each key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_bridge.case.ledger import RecordState
from fhir_bridge.pipeline.normalize.contents import MAX_EMBEDDED, ORIGINAL_URL


def attachment_end(found, chart, index=-1):
    return found.end(chart.attachments[index].key)


def test_a_report_and_a_document_of_the_same_bytes_share_one_binary(chart, seen):
    chart.bodies = {"Binary/1": b"%PDF-1"}
    subject = {"reference": "Patient/p1"}
    chart.document("d", "Binary/1", description="x")
    form = [{"url": "Binary/1", "contentType": "application/x-wrong", "hash": "aGFzaA=="}]
    chart.add("DiagnosticReport", "r", subject=subject, presentedForm=form)
    found = seen(chart)
    (binary,) = found.kinds("Binary")
    assert binary.resource["contentType"] == "application/pdf"
    document = found.resource("DocumentReference", "d")["content"][0]["attachment"]
    report = found.resource("DiagnosticReport", "r")["presentedForm"][0]
    assert document == {"url": binary.full_url}
    assert report == {
        "url": binary.full_url,
        "contentType": "application/x-wrong",
        "hash": "aGFzaA==",
    }
    assert attachment_end(found, chart).entry == binary.full_url


def test_inline_content_becomes_a_binary_too(chart, seen):
    chart.document("d", content=[{"attachment": {"data": "aGk=", "contentType": "text/plain"}}])
    sha = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
    chart.attachments[-1] = replace(
        chart.attachments[-1], sha256=sha, size=2, content_type="text/plain"
    )
    found = seen(chart)
    (binary,) = found.kinds("Binary")
    assert binary.resource["meta"] == {"source": f"urn:sha256:{sha}"}
    attachment = found.resource("DocumentReference", "d")["content"][0]["attachment"]
    assert attachment == {"url": binary.full_url, "contentType": "text/plain"}


def test_the_same_bytes_under_another_address_are_merged(chart, seen):
    chart.bodies = {"Binary/1": b"%PDF-1", "Binary/2": b"%PDF-1"}
    chart.document("a", "Binary/1")
    chart.document("b", "Binary/2", docStatus="final")
    found = seen(chart)
    assert attachment_end(found, chart, -2).state is RecordState.KEPT
    end = attachment_end(found, chart)
    assert (end.state, end.target) == (RecordState.MERGED_INTO, str(chart.attachments[-2].key))


def test_what_failed_keeps_its_address_without_the_server(chart, seen):
    chart.document("d", "http://127.0.0.1:4711/r4/Binary/gone?token=secret")
    found = seen(chart)
    end = attachment_end(found, chart)
    assert (end.state, end.rule) == (RecordState.FAILED, "FB-4002")
    attachment = found.resource("DocumentReference", "d")["content"][0]["attachment"]
    assert attachment == {"extension": [{"url": ORIGINAL_URL, "valueUri": "Binary/gone"}]}
    assert found.reasons()["content[0].attachment"] == "the hospital does not hand it over"


def test_what_has_neither_address_nor_content_is_left_out_with_its_reason(chart, seen):
    chart.document("d")
    found = seen(chart)
    end = attachment_end(found, chart)
    assert (end.state, end.rule) == (RecordState.EXCLUDED, "no-content")
    assert found.resource("DocumentReference", "d")["content"] == [
        {"attachment": {"title": "empty"}}
    ]


def test_what_is_too_large_is_held_and_listed(chart, seen):
    chart.bodies = {"Binary/big": b"%PDF-1"}
    chart.document("d", "Binary/big")
    chart.attachments[-1] = replace(chart.attachments[-1], size=MAX_EMBEDDED + 1)
    found = seen(chart)
    assert found.kinds("Binary") == []
    end = attachment_end(found, chart)
    parent = found.entry("DocumentReference", "d")
    assert (end.state, end.entry) == (RecordState.KEPT, parent.full_url)
    assert "too large to embed" in found.reasons()["content[0].attachment"]


def test_attachments_share_the_end_of_a_record_that_is_not_shown(chart, seen):
    chart.bodies = {"Binary/1": b"%PDF-1", "Binary/2": b"%PDF-2"}
    chart.document("wrong", "Binary/1", status="entered-in-error")
    chart.document("other", "Binary/2", subject={"reference": "Patient/p2"})
    found = seen(chart)
    assert found.kinds("Binary") == []
    assert attachment_end(found, chart, -2).state is RecordState.EXCLUDED
    assert attachment_end(found, chart).state is RecordState.QUARANTINED


def test_bytes_that_one_shown_record_names_are_shown_whatever_else_names_them(chart, seen):
    chart.bodies = {"Binary/1": b"%PDF-1"}
    chart.document("a", "Binary/1", status="entered-in-error")
    chart.document("b", "Binary/1")
    found = seen(chart)
    assert chart.attachments[-1].key == chart.attachments[-2].key
    assert attachment_end(found, chart).state is RecordState.KEPT


def test_a_binary_that_came_as_a_record_is_the_attachment_with_its_bytes(chart, seen):
    chart.bodies = {"Binary/1": b"hi"}
    chart.document("d", "Binary/1")
    key = chart.add("Binary", "1", contentType="text/plain", data="aGk=")
    lonely = chart.add("Binary", "2", contentType="text/plain", data="b3RoZXI=")
    found = seen(chart)
    assert found.end(key).state is RecordState.MERGED_INTO
    assert found.end(lonely).state is RecordState.KEPT
    assert len(found.kinds("Binary")) == 2


@pytest.mark.parametrize("address", [" ", "#nothing", 5, ["Binary/1"], {"a": 1}, True])
def test_an_address_that_is_none_does_not_stay_and_does_not_keep_the_record_back(
    chart, seen, address
):
    chart.document("d", content=[{"attachment": {"url": address, "title": "Letter"}}])
    found = seen(chart)
    attachment = found.resource("DocumentReference", "d")["content"][0]["attachment"]
    assert "url" not in attachment
    assert attachment["title"] == "Letter"
