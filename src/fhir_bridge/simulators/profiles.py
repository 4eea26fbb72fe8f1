"""The manners of real vendors: base path, pages, totals, demands, errors, attachments, metadata."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_bridge.simulators.born import Born
from fhir_bridge.simulators.rules import Asked, Rules
from fhir_bridge.simulators.wire import Refusal, Resource, fhir_answer, outcome, refusal_answer

Files = Mapping[str, tuple[str, Path]]
PLAIN_PATH = "/fhir"
_EPIC_CODES = "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369"
_PATIENT, _ABOUT = frozenset({"patient", "subject", "_id"}), "patient or _id is required"
_PEOPLE = frozenset(
    {"_id", "identifier", "name", "family", "given", "birthdate", "phone", "email", "gender"}
)
_NOT_ABOUT = frozenset({"Organization", "Practitioner", "PractitionerRole", "Location", "Endpoint"})


@dataclass(frozen=True, slots=True)
class Profile:
    """One vendor: `path` is its base, `refused` its way of saying no, `shown` its attachments."""

    name: str
    shows: str
    path: str = PLAIN_PATH
    rules: Rules = Rules()  # noqa: RUF009 (frozen)
    refused: Callable[[Refusal], Response] = refusal_answer
    shown: Callable[[dict[str, Any], str, Files], dict[str, Any]] = lambda one, _base, _files: one
    type_last: bool = False

    def born(self, born: Born, files: Files) -> Born:
        """The chart's first content as this vendor keeps it."""

        def change(resource: Resource) -> Resource:
            changed = _with_attachments(resource, lambda one: self.shown(one, born.base, files))
            kind = changed["resourceType"]
            rest = {key: value for key, value in changed.items() if key != "resourceType"}
            return {**rest, "resourceType": kind} if self.type_last else changed

        return born.changed(lambda one: one["resourceType"] not in self.rules.absent, change)

    def under(self, app: ASGIApp) -> ASGIApp:
        """An app below `path`; where it was before, there is nothing."""
        return app if self.path == PLAIN_PATH else _moved(app, self.path)


def _moved(app: ASGIApp, path: str) -> ASGIApp:
    async def moved(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked = scope["path"]
            if asked == path or asked.startswith(f"{path}/"):
                scope = {**scope, "path": PLAIN_PATH + asked.removeprefix(path)}
            elif asked.startswith(PLAIN_PATH):
                scope = {**scope, "path": "/nothing-here"}
            scope["raw_path"] = scope["path"].encode()
        await app(scope, receive, send)

    return moved


def _with_attachments(
    resource: Resource, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Resource:
    changed = dict(resource)
    if "content" in resource:
        changed["content"] = [
            {**one, "attachment": change(one["attachment"])} for one in resource["content"]
        ]
    if "presentedForm" in resource:
        changed["presentedForm"] = [change(one) for one in resource["presentedForm"]]
    return changed


def _absolute(attachment: dict[str, Any], base: str, _files: Files) -> dict[str, Any]:
    url = str(attachment.get("url", ""))
    return attachment | {"url": f"{base}/{url}"} if url.startswith("Binary/") else attachment


def _inline(attachment: dict[str, Any], _base: str, files: Files) -> dict[str, Any]:
    found = files.get(str(attachment.get("url", "")).rpartition("/")[2])
    if found is None:
        return attachment
    rest = {key: value for key, value in attachment.items() if key != "url"}
    return rest | {"data": base64.b64encode(found[1].read_bytes()).decode()}


# Totals.


def _page_size(_matched: int, shown: int) -> int:
    return shown


def _none(_matched: int, _shown: int) -> None:
    return None


# What a search has to name.


def _needs(kind: str, asked: Asked, words: str) -> None:
    names = {name.partition(":")[0].partition(".")[0] for name, _ in asked}
    wanted = _PEOPLE if kind == "Patient" else _PATIENT
    if kind not in _NOT_ABOUT and not names & wanted:
        raise Refusal(400, "business-rule", words)


def _epic_demands(kind: str, asked: Asked) -> None:
    _needs(kind, asked, "This resource requires demographics or _id parameter for searching.")
    names = {name for name, _ in asked}
    if kind in ("Observation", "Condition") and not names & {"category", "code", "_id"}:
        raise Refusal(400, "business-rule", "A category or code parameter is required.")


def _oracle_demands(kind: str, asked: Asked) -> None:
    _needs(kind, asked, f"at least one of {_ABOUT} must be provided")
    names = [name for name, _ in asked]
    if len({"date", "period", "_lastUpdated"} & set(names)) > 1:
        raise Refusal(400, "invalid", "date, period and _lastUpdated exclude each other")
    if "_id" in names and set(names) - {"_id"} and kind == "DocumentReference":
        raise Refusal(400, "invalid", "_id has to stand alone")


def _athena_demands(kind: str, asked: Asked) -> None:
    if kind != "Patient" and not any(name == "ah-practice" for name, _ in asked):
        raise Refusal(400, "required", "the ah-practice parameter is required")


# How a refusal is said.


def _epic_refusal(refusal: Refusal) -> Response:
    if refusal.status == 401:
        return Response(b"", 401, refusal.headers)
    if refusal.status == 404 and refusal.code == "not-supported":
        html = (
            b"<!DOCTYPE html><html><head><title>404 - File or directory not found.</title></html>"
        )
        return Response(html, 404, media_type="text/html")
    code = {400: "59159", 404: "59008"}.get(refusal.status, "59177")
    fatal = outcome("fatal", refusal.code, refusal.words)["issue"][0]
    fatal["details"] = {"coding": [{"system": _EPIC_CODES, "code": code}]}
    noted = outcome("information", "invalid", "Parameter has been ignored.")["issue"]
    issues = [*noted, fatal] if refusal.status == 400 else [fatal]
    body = {"resourceType": "OperationOutcome", "issue": issues}
    return fhir_answer(body, refusal.status, refusal.headers)


def _oracle_refusal(refusal: Refusal) -> Response:
    if refusal.status in (401, 403):
        return Response(refusal.words, refusal.status, refusal.headers, "text/plain")
    words = "Not Found" if refusal.status == 404 else refusal.words
    code = "not-found" if refusal.status == 404 else refusal.code
    issue = {"severity": "error", "code": code, "details": {"text": words}}
    body = {"resourceType": "OperationOutcome", "issue": [issue]}
    return fhir_answer(body, refusal.status, refusal.headers)


def _meditech_refusal(refusal: Refusal) -> Response:
    words = {401: "Unauthorized", 404: "Not Found"}.get(refusal.status, "Bad Request")
    body = {"resource": "v1/resource/error/_version/1/", "detail": words}
    return JSONResponse(body, refusal.status, refusal.headers)


def _athena_refusal(refusal: Refusal) -> Response:
    if refusal.status != 400:
        return refusal_answer(refusal)
    entry = {
        "search": {"mode": "outcome"},
        "resource": outcome("error", refusal.code, refusal.words),
    }
    return fhir_answer({"resourceType": "Bundle", "type": "searchset", "entry": [entry]})


def _hapi_refusal(refusal: Refusal) -> Response:
    number = {400: "0302", 404: "2001", 410: "0417"}.get(refusal.status, "0389")
    body = outcome("error", "processing", f"HAPI-{number}: {refusal.words}")
    return fhir_answer(body, refusal.status, refusal.headers)


PROFILES = (
    Profile(
        "epic", "everything on one page, totals are the page's, category demanded, HTML 404",
        "/interconnect-fhir-oauth/api/FHIR/R4",
        Rules(page_default=1000, page_max=1000, total=_page_size, counts=False,
              page_link="{base}/{kind}?sessionID={token}", demand=_epic_demands,
              software="Epic", security=("OAuth", "SMART-on-FHIR")),
        _epic_refusal,
    ),
    Profile(
        "oracle", "ten to a page, no totals, patient demanded, absolute Binary, no ImagingStudy",
        "/r4/ec2458f2-1e24-41c8-b71b-0e701af7583d",
        Rules(page_default=10, page_max=100, total=_none, count=_none,
              page_link="{base}/{kind}?-pageContext={token}&-pageDirection=NEXT",
              demand=_oracle_demands, absent=frozenset({"ImagingStudy"}), software="",
              security=()),
        _oracle_refusal, _absolute,
    ),
    Profile(
        "meditech", "totals are the page's, attachments inline, no Binary and no ImagingStudy",
        "/v2/uscore/STU6",
        Rules(page_default=100, page_max=100, total=_page_size, counts=False,
              page_link="{base}/{kind}?continue={token}",
              absent=frozenset({"Binary", "ImagingStudy"}),
              software="Interoperability Services: US Core FHIR R4", security=("SMART-on-FHIR",)),
        _meditech_refusal, _inline, type_last=True,
    ),
    Profile(
        "athena", "searches want ah-practice and are else 200 with nothing but an error",
        "/fhir/r4",
        Rules(page_default=25, page_max=100, page_link="{base}/{kind}?cursor={token}",
              demand=_athena_demands, software="athenaOne", security=("SMART-on-FHIR",)),
        _athena_refusal,
    ),
    Profile(
        "hapi", "twenty to a page, next links of the base itself with _getpages, no login stated",
        PLAIN_PATH,
        Rules(page_default=20, page_max=200, page_link="{base}?_getpages={token}"
              "&_getpagesoffset={start}&_count={size}&_bundletype=searchset",
              software="HAPI FHIR Server", security=()),
        _hapi_refusal, _absolute,
    ),
)  # fmt: skip
PLAIN = Profile("plain", "General Hospital as it is")
NAMES = tuple(profile.name for profile in PROFILES)


def profile_of(name: str | None) -> Profile:
    """The vendor of this name, or the hospital as it is; raises ValueError naming the vendors."""
    found = next((one for one in PROFILES if one.name == name), None)
    if name and found is None:
        raise ValueError(f"unknown profile {name}; known: {', '.join(NAMES)}")
    return found or PLAIN
