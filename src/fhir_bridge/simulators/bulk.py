"""The hospital's bulk export: ordered, written for a while, then fetched file by file."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import re
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from fhir_bridge.simulators.chart import BORN_AT, Chart
from fhir_bridge.simulators.wire import Refusal, Resource, outcome, write_json

NDJSON = "application/fhir+ndjson"
GROUP = "everybody"
POLLS = 2
DELETED_ID = "deleted-last-week"
_RANGE = re.compile(r"bytes=(\d+)-$")


@dataclass(slots=True)
class Job:
    """One export: whose records, of which types, and how often it was asked for."""

    types: tuple[str, ...]
    patient: str = ""
    since: str = ""
    request: str = ""
    polls: int = 0


class Bulk:
    """`$export` over the whole chart (Bulk Data Access v2); jobs live in memory."""

    def __init__(self, chart: Chart, base: str) -> None:
        self._chart, self._base = chart, base
        self._jobs: dict[str, Job] = {}
        self._numbers = itertools.count(1)

    def order(self, request: Request, patient: str = "") -> Response:
        """202 with the place of the job's status; `patient` narrows it to one of them."""
        if "respond-async" not in request.headers.get("prefer", ""):
            raise Refusal(400, "invalid", "an export needs Prefer: respond-async")
        if patient and self._chart.read("Patient", patient) is None:
            raise Refusal(404, "not-found", "no such patient here")
        asked = request.query_params
        if len(asked.getlist("_type")) > 1:
            raise Refusal(400, "invalid", "_type is one parameter with commas")
        types = tuple(filter(None, asked.get("_type", "").split(","))) or self._chart.types
        name = f"job-{next(self._numbers)}"
        self._jobs[name] = Job(types, patient, asked.get("_since", ""), str(request.url))
        place = f"{self._base}/bulk-status/{name}"
        return Response(b"", 202, {"Content-Location": place})

    def status(self, name: str) -> Response:
        """202 for a few polls, then the manifest."""
        job = self._job(name)
        job.polls += 1
        if job.polls <= POLLS:
            progress = f"{100 * job.polls // (POLLS + 1)} %"
            return Response(b"", 202, {"X-Progress": progress, "Retry-After": "1"})
        return JSONResponse(self._manifest(name, job))

    def _manifest(self, name: str, job: Job) -> dict[str, Any]:
        place = f"{self._base}/bulk-files/{name}"
        counts = {kind: len(self._resources(job, kind)) for kind in job.types}
        gone = {"type": "Bundle", "url": f"{place}/deleted.ndjson", "count": 1}
        return {
            "transactionTime": BORN_AT,
            "request": job.request,
            "requiresAccessToken": True,
            "output": [
                {"type": kind, "url": f"{place}/{kind}.ndjson", "count": count}
                for kind, count in counts.items()
                if count
            ],
            "error": [],
            "deleted": [gone] if job.since else [],
        }

    def file(self, request: Request, name: str, kind: str) -> Response:
        """The lines of one type, whole, compressed, or from a byte on (RFC 9110 14.2)."""
        body = self._body(self._job(name), kind)
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"', "Accept-Ranges": "bytes"}
        found = _RANGE.match(request.headers.get("range", ""))
        fresh = request.headers.get("if-range", headers["ETag"]) == headers["ETag"]
        if found and fresh:
            start = int(found[1])
            if start >= len(body):
                raise Refusal(416, "value", "that range lies behind the end")
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return Response(body[start:], 206, headers, NDJSON)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(gzip.compress(body), 200, {"Content-Encoding": "gzip"}, NDJSON)
        return Response(body, 200, headers, NDJSON)

    def _body(self, job: Job, kind: str) -> bytes:
        if kind == "OperationOutcome":
            return write_json(outcome("error", "exception", "some records were left out")) + b"\n"
        if kind == "deleted":
            request = {"method": "DELETE", "url": f"DocumentReference/{DELETED_ID}"}
            gone = {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": [{"request": request}],
            }
            return write_json(gone) + b"\n"
        return b"".join(write_json(one) + b"\n" for one in self._resources(job, kind))

    def _resources(self, job: Job, kind: str) -> list[Resource]:
        everybody = self._chart.all_of(kind)
        return [one for one in everybody if not job.patient or _is_about(one, job.patient)]

    def drop(self, name: str) -> Response:
        """The job and its files are forgotten."""
        self._job(name)
        del self._jobs[name]
        return Response(b"", 202)

    def _job(self, name: str) -> Job:
        if name not in self._jobs:
            raise Refusal(404, "not-found", "no such export here")
        return self._jobs[name]


def _is_about(resource: Resource, patient: str) -> bool:
    edge = resource.get("subject") or resource.get("patient") or {}
    return resource.get("id") == patient or edge.get("reference") == f"Patient/{patient}"


def export_router(chart: Chart, base: str, gate: Any) -> APIRouter:
    """The doors of the export below `/fhir`; stands before those of search and read."""
    bulk, router = Bulk(chart, base), APIRouter(prefix="/fhir")
    locked = APIRouter(dependencies=[gate])
    _add_orders(locked, bulk)

    @locked.get("/bulk-status/{name}")
    def status(name: str) -> Response:
        return bulk.status(name)

    @locked.delete("/bulk-status/{name}")
    def drop(name: str) -> Response:
        return bulk.drop(name)

    @locked.get("/bulk-files/{name}/{kind}.ndjson")
    def file(request: Request, name: str, kind: str) -> Response:
        return bulk.file(request, name, kind)

    @router.get("/bulk-open/{name}/{kind}.ndjson")
    def open_file(request: Request, name: str, kind: str) -> Response:
        if "authorization" in request.headers:
            raise Refusal(400, "security", "a presigned address takes no login")
        return bulk.file(request, name, kind)

    router.include_router(locked)
    return router


def _add_orders(locked: APIRouter, bulk: Bulk) -> None:
    @locked.get("/Patient/$export")
    def of_all(request: Request) -> Response:
        return bulk.order(request)

    @locked.get("/Patient/{patient}/$export")
    def of_one(request: Request, patient: str) -> Response:
        return bulk.order(request, patient)

    @locked.get("/Group/{group}/$export")
    def of_group(request: Request, group: str) -> Response:
        if group != GROUP:
            raise Refusal(404, "not-found", "no such group here")
        return bulk.order(request)


def operations(kind: str) -> list[dict[str, str]]:
    """What a CapabilityStatement says of exports, by type."""
    place = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
    names = {"Patient": "patient-export", "Group": "group-export"}
    found = names.get(kind)
    return [{"name": "export", "definition": f"{place}/{found}"}] if found else []
