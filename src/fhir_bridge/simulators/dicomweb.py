"""The PACS's DICOMweb door: QIDO-RS and WADO-RS (PS3.18 10.4, 10.6), behind the EHR's login."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from starlette.responses import Response, StreamingResponse

from fhir_bridge.simulators.ehr import gate
from fhir_bridge.simulators.images import Archive, Instance
from fhir_bridge.simulators.login import Login
from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.wire import Refusal, write_json

DICOM_JSON = "application/dicom+json"
_DICOM = "application/dicom"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_CHUNK_BYTES = 262_144
_NOT_KEYS = frozenset({"limit", "offset", "includefield", "fuzzymatching"})
_PATHS = {
    "STUDY": "/studies/{StudyInstanceUID}",
    "SERIES": "/studies/{StudyInstanceUID}/series/{SeriesInstanceUID}",
    "IMAGE": "/studies/{StudyInstanceUID}/series/{SeriesInstanceUID}/instances/{SOPInstanceUID}",
}
_UID_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class DicomWeb:
    """Queries and retrieves, each an answer made from the archive."""

    def __init__(self, archive: Archive, base: str, rules: Rules) -> None:
        self._archive, self._base, self._rules = archive, base, rules

    def query(self, request: Request, level: str) -> Response:
        """QIDO-RS: 200 with the page that limit and offset choose, 204 when it is empty."""
        asked = request.query_params
        keys = _keys(asked) | _uids(request)
        start = _number(asked.get("offset"), 0)
        end = start + _number(asked.get("limit"), 1000)
        rows = self._archive.find(level, keys)[start:end]
        if not rows:
            return Response(status_code=204)
        return _dicom_json([self._listed(row, level) for row in rows])

    def _listed(self, row: Dataset, level: str) -> dict[str, Any]:
        url = self._base + _PATHS[level].format(**{k: row.get(k) for k in _UID_KEYS})
        return dict(row.to_json_dict()) | {"00081190": {"vr": "UR", "Value": [url]}}

    def metadata(self, request: Request) -> Response:
        """The headers of every instance, without bulk values."""
        return _dicom_json([one.header.to_json_dict() for one in self._asked_for(request)])

    def retrieve(self, request: Request) -> Response:
        """WADO-RS: multipart/related, each part a Part 10 file as stored; else 404 or 406."""
        instances = self._rules.hand_out(self._asked_for(request))
        if not _acceptable(request.headers.get("accept", ""), instances):
            raise Refusal(406, "not-supported", "only application/dicom, as it is stored")
        boundary = secrets.token_hex(16)
        content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return StreamingResponse(self._parts(instances, boundary), media_type=content_type)

    def _asked_for(self, request: Request) -> Sequence[Instance]:
        found = self._archive.stored(_uids(request))
        if not found:
            raise Refusal(404, "not-found", "no such study, series or instance")
        return found

    async def _parts(self, instances: Sequence[Instance], boundary: str) -> AsyncIterator[bytes]:
        for one in instances:
            await asyncio.sleep(self._rules.image_delay_seconds)
            yield _part_head(one, boundary)
            with one.path.open("rb") as stored:
                while chunk := stored.read(_CHUNK_BYTES):
                    yield chunk
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()


def dicomweb_router(web: DicomWeb, login: Login) -> APIRouter:
    """Everything below `/dicom-web`."""
    router = APIRouter(prefix="/dicom-web", dependencies=[gate(login)])
    for path, level in (
        ("/studies", "STUDY"),
        ("/series", "SERIES"),
        ("/instances", "IMAGE"),
        ("/studies/{study}/series", "SERIES"),
        ("/studies/{study}/instances", "IMAGE"),
        ("/studies/{study}/series/{series}/instances", "IMAGE"),
    ):
        _add_query(router, web, path, level)
    for path in ("", "/series/{series}", "/series/{series}/instances/{instance}"):
        router.add_api_route(f"/studies/{{study}}{path}", web.retrieve, response_model=None)
        router.add_api_route(f"/studies/{{study}}{path}/metadata", web.metadata,
                             response_model=None)  # fmt: skip
    return router


def _add_query(router: APIRouter, web: DicomWeb, path: str, level: str) -> None:
    @router.get(path)
    def query(request: Request) -> Response:
        return web.query(request, level)


def _uids(request: Request) -> dict[str, str]:
    names = zip(("study", "series", "instance"), _UID_KEYS, strict=True)
    path = request.path_params
    return {keyword: path[name] for name, keyword in names if name in path}


def _keys(asked: Mapping[str, str]) -> dict[str, str]:
    """Matching keys by keyword or by tag; attributes that nobody knows are ignored."""
    found: dict[str, str] = {}
    for name, value in asked.items():
        keyword = keyword_for_tag(int(name, 16)) if re.fullmatch("[0-9A-Fa-f]{8}", name) else name
        if name not in _NOT_KEYS and tag_for_keyword(keyword) is not None:
            found[keyword] = value
    return found


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdecimal():
        raise Refusal(400, "value", "limit and offset are numbers")
    return int(text)


def _acceptable(accept: str, instances: Sequence[Instance]) -> bool:
    """
    Whether the Accept header takes every instance as it is stored (PS3.18 8.7.3.5.2).

    Without `transfer-syntax` Explicit VR Little Endian is asked for; `*` takes all.
    """
    return all(any(_takes(part, one.syntax) for part in accept.split(",")) for one in instances)


def _takes(part: str, syntax: str) -> bool:
    media, *rest = (piece.strip() for piece in part.split(";"))
    split = (piece.partition("=") for piece in rest)
    named = {name.strip().lower(): value.strip(' "') for name, _, value in split}
    if media in ("*/*", ""):
        return True
    if media != "multipart/related" or named.get("type", _DICOM) != _DICOM:
        return False
    return named.get("transfer-syntax", _EXPLICIT_LITTLE_ENDIAN) in ("*", syntax)


def _part_head(one: Instance, boundary: str) -> bytes:
    return (
        f"--{boundary}\r\n"
        f"Content-Type: application/dicom; transfer-syntax={one.syntax}\r\n"
        f"Content-Length: {one.path.stat().st_size}\r\n\r\n"
    ).encode()


def _dicom_json(content: list[dict[str, Any]]) -> Response:
    return Response(write_json(content), media_type=DICOM_JSON)
