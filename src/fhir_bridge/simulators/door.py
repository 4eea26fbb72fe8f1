"""The visitor's door, which the bridge never uses: the chart to look at, what was seen, a push."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, Response

from fhir_bridge.simulators.chart import Chart
from fhir_bridge.simulators.images import Archive
from fhir_bridge.simulators.pacs import Pacs
from fhir_bridge.simulators.seen import Requests
from fhir_bridge.simulators.wire import Refusal, Resource, write_json

PREFIX = "/simulator"
_HERE = Path(__file__).parent
_STRICT = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_SHOWN_IN_PLACE = ("application/pdf", "text/plain", "image/png", "image/jpeg")


def door_router(
    chart: Chart, requests: Requests, archive: Archive, pacs: Pacs | None,
    foreign: Callable[[], Mapping[str, Any]],
) -> APIRouter:  # fmt: skip
    """Everything below `/simulator`; no login, for it only shows made-up people."""
    router = APIRouter(prefix=PREFIX)
    _add_reports(router, chart, requests, archive, foreign)
    _add_chart(router, chart)
    if pacs is not None:
        _add_push(router, pacs)
    return router


def _add_reports(
    router: APIRouter, chart: Chart, requests: Requests, archive: Archive,
    foreign: Callable[[], Mapping[str, Any]],
) -> None:  # fmt: skip
    @router.get("/requests")
    def seen() -> Response:
        return JSONResponse(requests.as_json())

    @router.get("/foreign")
    def visits() -> Response:
        return JSONResponse(dict(foreign()))

    @router.get("/counts")
    def counts() -> Response:
        return JSONResponse(
            {
                "resources": chart.counts(),
                "created": {kind: len(chart.created(kind)) for kind in chart.types},
                "studies": len(archive.find("STUDY", {})),
                "instances": len(archive.listed),
                "pushable": len(archive.pushable),
            }
        )


def _add_chart(router: APIRouter, chart: Chart) -> None:
    templates = Environment(loader=FileSystemLoader(_HERE), autoescape=True)

    @router.get("/chart")
    def page() -> Response:
        html = templates.get_template("chart.html").render(chart_of(chart))
        return HTMLResponse(html, headers=_STRICT)

    @router.get("/chart.css")
    def style() -> Response:
        return Response((_HERE / "chart.css").read_text("utf-8"), media_type="text/css")

    @router.get("/chart.json")
    def listed() -> Response:
        return Response(write_json(chart_of(chart)), media_type="application/json")

    @router.get("/documents/{identity}/{number}")
    def content(identity: str, number: int) -> Response:
        return _content(chart, identity, number)


def _content(chart: Chart, identity: str, number: int) -> Response:
    document = chart.read("DocumentReference", identity)
    contents = document["content"] if document is not None else []
    found = chart.attachment(contents[number]["attachment"]) if number < len(contents) else None
    if found is None:
        raise Refusal(404, "not-found", "there is nothing to show")
    bare = found.content_type.partition(";")[0].strip()
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    if bare not in _SHOWN_IN_PLACE:
        headers["Content-Disposition"] = "attachment"
    return Response(found.body, headers=headers, media_type=found.content_type)


def _add_push(router: APIRouter, pacs: Pacs) -> None:
    @router.post("/push")
    async def push_all() -> Response:
        return JSONResponse(asdict(await run_in_threadpool(pacs.push)))

    @router.post("/push/{study}")
    async def push_one(study: str) -> Response:
        return JSONResponse(asdict(await run_in_threadpool(pacs.push, study)))


def chart_of(chart: Chart) -> dict[str, Any]:
    """What the hospital's physician sees: the patient, what was delivered, all documents."""
    written = {resource["id"] for resource in chart.created("DocumentReference")}
    documents = [_shown(chart, one, written) for one in chart.all_of("DocumentReference")]
    documents.sort(key=lambda one: (one["delivered"], one["received"]), reverse=True)
    patients = chart.all_of("Patient")
    return {
        "patient": _identity(patients[0]) if patients else None,
        "delivered": [one for one in documents if one["delivered"]],
        "documents": documents,
    }


def _identity(patient: Resource) -> dict[str, str]:
    name: Resource = next(iter(patient.get("name", ())), {})
    given = " ".join(name.get("given", ()))
    numbers = [one.get("value", "") for one in patient.get("identifier", ())]
    return {
        "name": f"{name.get('family', '').upper()}, {given}",
        "born": patient.get("birthDate", ""),
        "sex": patient.get("gender", ""),
        "number": next(iter(numbers), ""),
    }


def _shown(chart: Chart, document: Resource, written: set[str]) -> dict[str, Any]:
    kind = document.get("type", {})
    codings = [coding.get("display", "") for coding in kind.get("coding", ())]
    named = next((text for text in (kind.get("text"), *codings) if text), "Document")
    masters = [document["masterIdentifier"]] if "masterIdentifier" in document else []
    identifiers = [*masters, *document.get("identifier", ())]
    return {
        "id": document["id"],
        "title": document.get("description") or named,
        "type": named,
        "date": document.get("date", ""),
        "received": document["meta"]["lastUpdated"],
        "status": document.get("status", ""),
        "authors": [_author(chart, document, one) for one in document.get("author", ())],
        "delivered": document["id"] in written,
        "identifiers": [f"{one.get('system', '')}|{one.get('value', '')}" for one in identifiers],
        "attachments": [
            _attachment(chart, document["id"], number, one["attachment"])
            for number, one in enumerate(document["content"])
        ],
    }


def _author(chart: Chart, document: Resource, author: Resource) -> str:
    if author.get("display"):
        return str(author["display"])
    kind, _, identity = author.get("reference", "").partition("/")
    inside = (one for one in document.get("contained", ()) if f"#{one.get('id')}" == kind)
    person = chart.read(kind, identity) or next(inside, {})
    names = person.get("name", "")
    if isinstance(names, str):
        return names
    return str(names[0].get("text") or names[0].get("family", "")) if names else ""


def _attachment(chart: Chart, identity: str, number: int, attachment: Resource) -> dict[str, Any]:
    content = chart.attachment(attachment)
    return {
        "title": attachment.get("title", ""),
        "contentType": attachment.get("contentType", ""),
        "link": f"{PREFIX}/documents/{identity}/{number}" if content is not None else None,
        "size": len(content.body) if content is not None else None,
        "sha256": hashlib.sha256(content.body).hexdigest() if content is not None else None,
    }
