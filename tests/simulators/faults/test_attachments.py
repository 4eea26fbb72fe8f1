"""Every fault of attachments shows on the wire what its line says."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2
import pytest

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.faults import attachments

from ..small_case import PDF, Visit
from .probing import JSON, Probe, Probes, attachment, document, untold

PDF_ONLY, BEARER = {"accept": "application/pdf"}, {"authorization": "Bearer secret"}


def get(visit: Visit, **headers: str) -> httpx2.Response:
    return visit.get(attachment(visit)["url"], headers=headers)


def breaks(visit: Visit) -> bool:
    with pytest.raises(httpx2.TransportError):
        get(visit)
    return True


def declared(name: str, value: object) -> Probe:
    return lambda visit: attachment(visit)[name] == value and get(visit).content == PDF


def only_anonymous(visit: Visit) -> bool:
    statuses = [get(visit).status_code, get(visit, **BEARER).status_code]
    return statuses == [200, 400] and visit.control("foreign")["authorization"]


def renewed(visit: Visit) -> bool:
    page = visit.get("DocumentReference?_id=d-1").json()["entry"][0]["resource"]
    stale = page["content"][0]["attachment"]["url"]
    return (visit.get(stale).status_code, get(visit).status_code) == (403, 200)


def verbatim(visit: Visit) -> bool:
    bare = attachment(visit)["url"].partition("?")[0]
    return get(visit).content == attachments.MADE and visit.get(bare).status_code == 400


def three(visit: Visit) -> bool:
    urls = [one["attachment"]["url"] for one in document(visit)["content"]]
    return len({visit.get(url).content for url in urls}) == 3


def shared(visit: Visit) -> bool:
    report = visit.get("DiagnosticReport/r-0").json()
    return bool(report["presentedForm"][0]["url"] == attachment(visit)["url"])


def always_wrapped(visit: Visit) -> bool:
    return base64.b64decode(get(visit, **PDF_ONLY).json()["data"]) == PDF


def exact(visit: Visit) -> bool:
    asked = [JSON, {"accept": "*/*"}, PDF_ONLY]
    return [get(visit, **one).status_code for one in asked] == [406, 406, 200]


def begins(visit: Visit, length: int) -> bytes:
    """What came of the attachment when `length` bytes were there, then nobody listened."""
    with visit.http.stream("GET", f"{visit.urls['fhir']}/{attachment(visit)['url']}") as answer:
        raw, came = answer.iter_raw(), b""
        while len(came) < length:
            came += next(raw)
        return came


def drips(visit: Visit) -> bool:
    began = time.monotonic()
    return begins(visit, 2).startswith(PDF[:2]) and time.monotonic() - began >= 0.4


def never_ready(visit: Visit) -> bool:
    """Lines keep coming, so that waiting for the next byte never takes long."""
    began, url = time.monotonic(), f"{visit.urls['fhir']}/{attachment(visit)['url']}"
    with pytest.raises(httpx2.TimeoutException):
        visit.http.get(url, timeout=edges.SLOW_HEADER_SECONDS / 5)
    return time.monotonic() - began < 2 * edges.SLOW_HEADER_SECONDS


def huge(visit: Visit) -> bool:
    url = f"{visit.urls['fhir']}/{attachment(visit)['url']}"
    with visit.http.stream("GET", url) as answer:
        return int(answer.headers["content-length"]) == attachments.HUGE_MEBIBYTES << 20


def bomb(visit: Visit) -> bool:
    url = f"{visit.urls['fhir']}/{attachment(visit)['url']}"
    with visit.http.stream("GET", url) as answer:
        small = int(answer.headers["content-length"]) < 2 << 20
        return small and answer.headers["content-encoding"] == "gzip"


def redirects(visit: Visit) -> bool:
    answer = get(visit)
    target = answer.headers["location"]
    return answer.status_code == 302 and target == visit.urls["foreign"]


PROBES: Probes = {
    "foreign-attachment": lambda visit: attachment(visit)["url"] == visit.urls["foreign"],
    "attachment-absolute": lambda visit: (
        attachment(visit)["url"].startswith(f"{visit.urls['fhir']}/Binary/")
        and get(visit).content == PDF
    ),
    "attachment-presigned": only_anonymous,
    "attachment-presigned-stale": renewed,
    "attachment-operation": verbatim,
    "attachment-nowhere": lambda visit: [*attachment(visit)] == ["extension"],
    "attachment-file-url": lambda visit: attachment(visit)["url"].startswith("file:"),
    "attachment-missing": lambda visit: get(visit).status_code == 404,
    "attachment-renditions": three,
    "attachment-in-both": shared,
    "attachment-wrong-type": declared("contentType", "image/png"),
    "attachment-wrong-size": declared("size", 7),
    "attachment-wrong-hash": declared("hash", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM="),
    "binary-json-only": always_wrapped,
    "binary-raw-only": lambda visit: get(visit, **JSON).content == PDF,
    "binary-exact-accept": exact,
    "binary-not-base64": lambda visit: get(visit).json()["data"] == "%%%",
    "attachment-500": lambda visit: get(visit).status_code == 500,
    "attachment-html-login": lambda visit: get(visit).content.startswith(b"<!DOCTYPE html>"),
    "attachment-empty": lambda visit: get(visit).content == b"",
    "attachment-truncated": breaks,
    "attachment-without-length": lambda visit: (
        "content-length" not in (came := get(visit)).headers and came.content == PDF
    ),
    "attachment-reset": breaks,
    "attachment-drips": drips,
    "attachment-slow-headers": never_ready,
    "attachment-huge": huge,
    "attachment-gzip-bomb": bomb,
    "attachment-redirects": redirects,
}


@pytest.mark.parametrize("name", PROBES)
def test_a_fault_shows_what_it_says(
    open_hospital: Callable[..., AbstractContextManager[Visit]], name: str
) -> None:
    with open_hospital(name, only="ehr") as visit:
        assert PROBES[name](visit)


def test_every_fault_of_attachments_is_looked_at() -> None:
    assert untold(attachments.ROWS, PROBES) == set()
