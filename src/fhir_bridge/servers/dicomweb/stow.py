"""STOW-RS: a POST of instances, each answered by itself, each durable before it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

import anyio
import structlog
from anyio.from_thread import run as run_in_loop
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from fhir_bridge.case.imaging import Arrival, Instance
from fhir_bridge.case.original import How
from fhir_bridge.errors import BridgeError, TooLarge, Truncated, Unreadable
from fhir_bridge.servers.dicomweb.multipart import Part, Parts, media_type
from fhir_bridge.servers.dicomweb.results import Result, response, status
from fhir_bridge.standards.dicom import words
from fhir_bridge.standards.dicom.part10 import read_meta
from fhir_bridge.standards.fhir import json

log = structlog.get_logger(__name__)

DICOM, DICOM_JSON, PROBLEM = (
    "application/dicom",
    "application/dicom+json",
    "application/problem+json",
)
MAX_REQUEST_BYTES = 64 * 1024**3
_HEAD = 4096

Sender = Callable[..., str | Awaitable[str]]


class Receives(Protocol):
    """Who takes the images in: returns only after the instance is durable."""

    def accept(self, arrival: Arrival) -> Instance:
        """Store it, or raise a BridgeError that says what to answer."""
        ...


def router(
    receiver: Receives,
    *,
    sender: Sender,
    at_once: int = 8,
    max_request_bytes: int = MAX_REQUEST_BYTES,
) -> APIRouter:
    """
    The routes below /dicom-web. `sender` is a dependency that answers who posts (the source's id)
    or raises; at most `at_once` requests are taken in at the same time, the others wait.
    """
    found = APIRouter(prefix="/dicom-web", tags=["DICOMweb"])
    limiter: list[anyio.CapacityLimiter] = []

    async def store(request: Request, source: str, study_uid: str) -> Response:
        if not limiter:
            limiter.append(anyio.CapacityLimiter(at_once))
        kind, parameters = media_type(request.headers.get("content-type", ""))
        refusal = _refuse(kind, parameters, study_uid)
        if refusal is not None:
            return refusal
        body = _Body(request, max_request_bytes)
        intake = _Intake(receiver, source, study_uid)
        boundary = parameters["boundary"]
        try:
            await anyio.to_thread.run_sync(intake.run, body, boundary, limiter=limiter[0])
        except ClientDisconnect:
            log.warning("stow broke off", source=source, stored=intake.stored)
            return _problem(400, Truncated("the sender went away"))
        return intake.answer()

    # A default and no Annotated: FastAPI could not resolve the name of a local dependency.
    who = Depends(sender)

    @found.post("/studies", summary="Store instances (STOW-RS)")
    async def store_instances(request: Request, source: str = who) -> Response:
        return await store(request, source, "")

    @found.post("/studies/{study_uid}", summary="Store instances of one study (STOW-RS)")
    async def store_study(request: Request, study_uid: str, source: str = who) -> Response:
        return await store(request, source, study_uid)

    return found


class _Body:
    """The request's body for a worker thread: each chunk is fetched from the event loop."""

    def __init__(self, request: Request, max_bytes: int) -> None:
        self._stream = request.stream().__aiter__()
        self._left = max_bytes

    def __iter__(self) -> Iterator[bytes]:
        while True:
            chunk = run_in_loop(self._next)
            if chunk is None:
                return
            self._left -= len(chunk)
            if self._left < 0:
                raise TooLarge("a STOW request beyond the cap")
            if chunk:
                yield chunk

    async def _next(self) -> bytes | None:
        return await anext(self._stream, None)


class _Intake:
    """One request's parts, one after the other, and how each ended."""

    def __init__(self, receiver: Receives, source: str, study_uid: str) -> None:
        self._receiver, self._source, self._study_uid = receiver, source, study_uid
        self._results: list[Result] = []
        self._broken: BridgeError | None = None

    @property
    def stored(self) -> int:
        """How many instances are durable."""
        return sum(result.reason is None for result in self._results)

    def run(self, body: _Body, boundary: str) -> None:
        """Take in every part; a body that breaks off keeps what came whole before."""
        try:
            for part in Parts(iter(body), boundary):
                self._results.append(self._take(part))
        except BridgeError as error:
            log.warning("stow body broken", source=self._source, code=error.code)
            self._broken = error

    def answer(self) -> Response:
        """
        The response module, or a problem when there is nothing to report on.

        A body that broke after some instances still gets their results: 202 tells the sender to
        look at each (PS3.18 10.5.3.2).
        """
        if self._broken is not None:
            code = 413 if isinstance(self._broken, TooLarge) else 400
            if not self._results or isinstance(self._broken, TooLarge):
                return _problem(code, self._broken)
            self._results.append(Result(reason=words.failure_code(self._broken)))
        if not self._results:
            return _problem(400, Unreadable("no part in the body"))
        content = json.dumps(response(self._results))
        return Response(content, status(self._results), media_type=DICOM_JSON)

    def _take(self, part: Part) -> Result:
        kind, parameters = media_type(part.headers.get("content-type", DICOM))
        if kind != DICOM:
            return Result(reason=words.failure_code(Unreadable("not DICOM")))
        named = _Named(part.content)
        try:
            instance = self._receiver.accept(self._arrival(named, parameters))
        except Truncated:
            raise
        except BridgeError as error:
            log.warning("image not accepted", source=self._source, code=error.code)
            return Result(named.sop_class, named.sop_uid, words.failure_code(error))
        return Result(instance.sop_class, instance.sop_uid)

    def _arrival(self, named: _Named, parameters: dict[str, str]) -> Arrival:
        study = {"study_uid": self._study_uid} if self._study_uid else {}
        return Arrival(
            source=self._source,
            how=How.STOW,
            chunks=iter(named),
            part10=True,
            transfer_syntax=parameters.get("transfer-syntax", ""),
            request=f"POST /dicom-web/studies{'/' if study else ''}{self._study_uid}",
            pushed=True,
            facts=study,
        )


class _Named:
    """A part's content on its way, with the names in its File Meta kept for the answer."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content, self._head = content, b""
        self.sop_class = self.sop_uid = ""

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._content:
            if not self.sop_uid and len(self._head) < _HEAD:
                self._look(chunk)
            yield chunk

    def _look(self, chunk: bytes) -> None:
        self._head += chunk[:_HEAD]
        try:
            meta = read_meta(self._head)
        except BridgeError:
            return
        if meta is not None:
            self.sop_class, self.sop_uid = meta.sop_class, meta.sop_uid


def _refuse(kind: str, parameters: dict[str, str], study_uid: str) -> Response | None:
    """The answer for a request that is no STOW of DICOM files, None when it is one."""
    if kind != "multipart/related" or parameters.get("type", DICOM).lower() != DICOM:
        return _problem(415, Unreadable("send multipart/related with type application/dicom"))
    if not parameters.get("boundary"):
        return _problem(400, Unreadable("no boundary"))
    if study_uid and not words.is_legal_uid(study_uid):
        return _problem(400, Unreadable("the address has no study UID"))
    return None


def _problem(code: int, error: BridgeError) -> Response:
    """RFC 9457: what went wrong in words, without anything of the body."""
    content = {"title": error.advice, "status": code, "code": error.code, "detail": error.detail}
    return Response(json.dumps(content), code, media_type=PROBLEM)
