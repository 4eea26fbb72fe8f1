"""The routes below /fhir: read a case record, a version of it, a file of it, a table of codes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fhir_bridge.case.case import Case
from fhir_bridge.errors import NotReady
from fhir_bridge.security.access import Access, Actor, Purpose
from fhir_bridge.servers.fhir.capability import BASE, statement
from fhir_bridge.standards.fhir import json
from fhir_bridge.store.records import StoredRecord
from fhir_bridge.store.shelves import Store

FHIR_JSON = "application/fhir+json"
_JSON = frozenset({FHIR_JSON, "application/json", "json", "text/json", "*/*", "application/*", ""})
MAX_VERSION = 2**31 - 1
_NO_SCRIPT = "default-src 'none'; frame-ancestors 'none'; sandbox"


class Api:
    """FHIR R4 for portals; every error is an OperationOutcome, made by the web application."""

    def __init__(
        self, store: Store, access: Access, now: Callable[[], datetime], public_url: str
    ) -> None:
        self._store, self._access = store, access
        self._started, self._url = now(), public_url.rstrip("/")
        self._router = APIRouter(prefix=BASE, tags=["fhir"])

    def router(self) -> APIRouter:
        """The routes."""
        router = self._router
        router.get("/metadata", summary="CapabilityStatement")(self.metadata)
        router.get("/Bundle/{case_id}", summary="The newest case record")(self.newest)
        router.get("/Bundle/{case_id}/_history/{version}", summary="A version of it")(self.version)
        router.get("/Binary/{sha256}", summary="A file that belongs to a case")(self.binary)
        router.get("/ConceptMap/{name}", summary="A table of codes")(self.concept_map)
        return router

    def metadata(self, request: Request) -> Response:
        """What this server can do."""
        _acceptable(request)
        url = (self._url or str(request.base_url).rstrip("/")) + BASE
        return _fhir(json.dumps(statement(self._router.routes, url=url, started=self._started)))

    def newest(self, request: Request, case_id: str) -> Response:
        """The exact bytes of the newest version; ETag is its SHA-256."""
        return self._bundle(request, self._open(request, case_id), None)

    def version(
        self, request: Request, case_id: str, version: Annotated[int, Path(le=MAX_VERSION)]
    ) -> Response:
        """The exact bytes of one version; they never change."""
        return self._bundle(request, self._open(request, case_id), version)

    def _open(self, request: Request, case_id: str) -> Case:
        _acceptable(request)
        return self._access.open_case(_actor(request), case_id, Purpose.REVIEW)

    def _bundle(self, request: Request, case: Case, version: int | None) -> Response:
        try:
            stored = self._store.records.get(case.id, version)
        except NotReady:
            raise HTTPException(404) from None
        headers = _caching(stored)
        if headers["ETag"] in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        location = f"{BASE}/Bundle/{case.id}/_history/{stored.version}"
        headers["Content-Location"] = location
        return _fhir(self._store.records.document(stored), headers)

    def binary(self, request: Request, sha256: str, case: str) -> Response:
        """
        A file's bytes as they arrived, or with Accept: application/fhir+json as a Binary resource
        (R4 2.29.4). Only a file of the named case is given; any other does not exist.
        """
        opened = self._access.open_case(_actor(request), case, Purpose.REVIEW)
        kind = self._kind_of(opened.id, sha256)
        body = self._store.originals.read(sha256)
        if FHIR_JSON in request.headers.get("accept", ""):
            data = base64.b64encode(body).decode()
            # A Binary's id has at most 64 letters, which is what a SHA-256 has (R4 id).
            return _fhir(
                json.dumps(
                    {
                        "resourceType": "Binary",
                        "id": sha256,
                        "contentType": kind,
                        "data": data,
                    }
                )
            )
        headers = {
            "ETag": f'"{sha256}"',
            "Content-Disposition": "attachment",
            "Content-Security-Policy": _NO_SCRIPT,
        }
        return Response(body, media_type=kind, headers=headers)

    def _kind_of(self, case_id: str, sha256: str) -> str:
        for file in self._store.ledgers.attachments(case_id):
            if file.sha256 == sha256:
                return file.content_type or "application/octet-stream"
        for instance in self._store.images.of_case(case_id):
            if instance.sha256 == sha256:
                return "application/dicom"
        for signed in self._store.opinions.of_case(case_id):
            if sha256 in (signed.pdf, signed.document):
                return "application/pdf" if sha256 == signed.pdf else FHIR_JSON
        raise HTTPException(404)

    def concept_map(self, request: Request, name: str) -> Response:
        """One of the published tables of mappings/ as ConceptMap."""
        from fhir_bridge.standards.terminology import translate

        _acceptable(request)
        if "url" not in translate.maps().get(name, {}):
            raise HTTPException(404)
        return _fhir(json.dumps(translate.concept_map(name)))


def make_router(
    store: Store, access: Access, *, now: Callable[[], datetime], public_url: str = ""
) -> APIRouter:
    """The routes below /fhir; `public_url` is how callers reach us, without a path."""
    return Api(store, access, now, public_url).router()


def _actor(request: Request) -> Actor:
    found = request.scope["state"]["actor"]
    assert isinstance(found, Actor)
    return found


def _acceptable(request: Request) -> None:
    """JSON is the only format; `_format` wins over Accept (R4 3.1.0.1.11)."""
    wanted = request.query_params.get("_format") or request.headers.get("accept", "")
    kinds = [kind.partition(";")[0].strip().lower() for kind in wanted.split(",")]
    if not _JSON.intersection(kinds):
        raise HTTPException(406)


def _caching(stored: StoredRecord) -> dict[str, str]:
    return {"ETag": f'"{stored.sha256}"', "Cache-Control": "no-store"}


def _tags(header: str) -> frozenset[str]:
    return frozenset(tag.strip().removeprefix("W/") for tag in header.split(","))


def _fhir(body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, media_type=f"{FHIR_JSON}; charset=utf-8", headers=headers)
