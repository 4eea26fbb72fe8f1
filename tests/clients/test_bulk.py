"""An export's client: what it asks, where its login goes, and how a broken download goes on."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
import simplejson

from fhir_bridge.case.export import ExportFile, Pending, Ready
from fhir_bridge.clients.bulk import BulkClient
from fhir_bridge.errors import ForeignAddress, NotFhir, ProviderBusy, ProviderRefused

from .scripted import CANARY, Bearer, says

LINES = b'{"resourceType":"Patient","id":"1"}\n' * 40
STATUS = "/fhir/job/1"
TAG = {"ETag": '"v1"'}


@pytest.fixture
def desk(ehr, open_wire):
    def open_(*, foreign_files: bool = False, **wire: object) -> BulkClient:
        opened = open_wire(f"{ehr.url}/fhir", **wire).with_login(Bearer(CANARY))
        return BulkClient(f"{ehr.url}/fhir", opened, foreign_files=foreign_files)

    return open_


def file_at(url: str, **more: object) -> ExportFile:
    return ExportFile(0, "output", "Patient", url, needs_token=True, **more)


def manifest(**more: object) -> bytes:
    return simplejson.dumps({"output": [], "requiresAccessToken": True} | more).encode()


def test_an_order_asks_to_be_answered_later_and_names_the_status(ehr, desk):
    ehr.on("/fhir/Group/7/$export", says(202, b"", {"Content-Location": STATUS}))
    place = desk().order("Group/7/$export", ["Patient", "Observation"])
    assert place == ehr.url + STATUS
    (call,) = ehr.calls
    assert call.path.endswith("?_type=Patient,Observation&_outputFormat=application/fhir%2Bndjson")
    assert call.headers["prefer"] == "respond-async"
    assert call.headers["accept"] == "application/fhir+json"


@pytest.mark.parametrize("status", [200, 202])
def test_an_order_that_does_not_say_where_is_none(ehr, desk, status):
    ehr.on("/fhir/Patient/$export", says(status, manifest()))
    with pytest.raises(NotFhir):
        desk().order("Patient/$export", ["Patient"])


def test_a_status_elsewhere_is_never_asked(ehr, stranger, desk):
    ehr.on("/fhir/Patient/$export", says(202, b"", {"Content-Location": stranger.url}))
    with pytest.raises(ForeignAddress):
        desk().order("Patient/$export", ["Patient"])
    with pytest.raises(ForeignAddress):
        desk().look(stranger.url, 0)
    assert stranger.calls == []


@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7.0), ("18000", 900.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)],
)
def test_a_job_at_work_says_how_long_to_wait(ehr, desk, header, wait):
    ehr.on(STATUS, says(202, b"", {"Retry-After": header, "X-Progress": "half" * 60}))
    found = desk().look(ehr.url + STATUS, 0)
    assert isinstance(found, Pending)
    assert (found.wait_seconds, len(found.progress)) == (wait, 80)


def test_a_busy_status_is_told_at_once_and_slept_over_by_others(ehr, desk):
    ehr.on(STATUS, says(429, b"", {"Retry-After": "30"}))
    with pytest.raises(ProviderBusy) as busy:
        desk().look(ehr.url + STATUS, 0)
    assert busy.value.retry_after_seconds == pytest.approx(30, abs=1)
    assert len(ehr.calls) == 1


def test_a_manifest_numbers_its_files_and_resolves_their_addresses(ehr, desk):
    output = [{"type": "Patient", "url": "files/1", "count": 3}]
    link = [{"relation": "next", "url": "1?page=2"}]
    ehr.on(STATUS, says(200, manifest(output=output, link=link)))
    found = desk().look(ehr.url + STATUS, 5)
    assert isinstance(found, Ready)
    (file,) = found.files
    assert (file.number, file.url, file.promised) == (5, f"{ehr.url}/fhir/job/files/1", 3)
    assert (file.needs_token, found.next_url) == (True, f"{ehr.url}/fhir/job/1?page=2")


def test_a_file_that_needs_a_login_elsewhere_is_not_even_asked_for(ehr, stranger, desk):
    for client in (desk(), desk(foreign_files=True)):
        with pytest.raises(ForeignAddress):
            client.fetch(file_at(f"{stranger.url}/1.ndjson"))
    assert stranger.calls == []


@pytest.mark.parametrize("needs_token", [True, False])
def test_the_login_goes_along_only_where_the_manifest_asks_for_it(ehr, stranger, desk, needs_token):
    """To the allow-list too: a presigned address refuses a login."""
    client = desk(allowed=[stranger.url])
    for server in (ehr, stranger):
        server.on("/1.ndjson", says(200, LINES))
        client.fetch(replace(file_at(f"{server.url}/1.ndjson"), needs_token=needs_token))
        sent = server.calls[-1].headers.get("authorization", "")
        assert (CANARY in sent) == needs_token


def test_a_compressed_file_is_kept_as_what_it_means(ehr, desk, keep):
    ehr.on("/1.ndjson", says(200, gzip.compress(LINES), {"Content-Encoding": "gzip"} | TAG))
    came = desk().fetch(file_at(f"{ehr.url}/1.ndjson"))
    assert keep.blobs[came.sha256] == LINES
    assert (came.whole, came.validator) == (True, "")
    assert ehr.calls[0].headers["accept-encoding"] == "gzip"


def test_half_a_compressed_file_cannot_be_gone_on_with(ehr, desk, keep):
    coded = gzip.compress(LINES * 50)
    ehr.on("/1.ndjson", says(200, coded[:-20], {"Content-Encoding": "gzip"} | TAG))
    came = desk().fetch(file_at(f"{ehr.url}/1.ndjson"))
    assert (came.whole, came.validator, keep.rows[-1].truncated) == (False, "", True)


def _closing(reaction):
    def close(door) -> None:
        reaction(door)
        door.close_connection = True

    return close


@pytest.mark.parametrize("unchanged", [True, False])
def test_a_broken_download_goes_on_or_begins_anew_when_the_file_changed(ehr, desk, keep, unchanged):
    client, url = desk(), f"{ehr.url}/1.ndjson"
    ehr.on("/1.ndjson", _closing(says(200, LINES[:70], {"Content-Length": str(len(LINES))} | TAG)))
    came = client.fetch(file_at(url, attempts=1))
    assert (came.whole, came.size, came.validator) == (False, 70, '"v1"')
    file = file_at(url, attempts=1, sha256=came.sha256, size=70, validator=came.validator)
    place = f"bytes 70-{len(LINES) - 1}/{len(LINES)}"
    rest = says(206, LINES[70:], {"Content-Range": place} | TAG)
    ehr.on("/1.ndjson", rest if unchanged else says(200, b"{}\n", {"ETag": '"v2"'}))
    came = client.fetch(file, [keep.blobs[file.sha256]])
    assert keep.blobs[came.sha256] == (LINES if unchanged else b"{}\n")
    assert came.whole
    sent = ehr.calls[-1].headers
    assert (sent["range"], sent["if-range"]) == ("bytes=70-", '"v1"')
    assert sent["accept-encoding"] == "identity"


@pytest.mark.parametrize("place", ["bytes 60-99/100", "pages 70-", ""])
def test_a_part_that_was_not_asked_for_is_refused(ehr, desk, place):
    ehr.on("/1.ndjson", says(206, b"x", {"Content-Range": place}))
    file = file_at(f"{ehr.url}/1.ndjson", attempts=1, size=70, validator='"v1"')
    with pytest.raises(ProviderRefused):
        desk().fetch(file, [b"y" * 70])


def test_an_excerpt_is_an_original_behind_the_file_it_was_taken_from(desk, keep, ehr):
    lines = [b'{"resourceType":"Patient","x":1.50}', b'{"id":"\xe2\x80\xa8"}']
    name = desk().excerpt(file_at(f"{ehr.url}/1.ndjson", original="o1", lines=4), lines)
    (row,) = keep.rows
    assert (row.id, row.previous) == (name, "o1")
    assert row.facts == {"wrapped": "NDJSON", "after_line": "4"}
    assert b'{"resource":' + lines[0] + b'},{"resource":' + lines[1] + b"}" in keep.body(row)
