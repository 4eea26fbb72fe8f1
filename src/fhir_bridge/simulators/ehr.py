"""The EHR's FHIR R4 door: metadata, search, read, create, all behind the login."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from fhir_bridge.simulators import bulk, capability, searching
from fhir_bridge.simulators.chart import Chart, binary_of, is_base64
from fhir_bridge.simulators.login import Login, OAuthRefusal
from fhir_bridge.simulators.pages import Pages
from fhir_bridge.simulators.rules import PAGE_PARAMETERS, Rules
from fhir_bridge.simulators.wire import (
    CONTENT_TYPE,
    FHIR_TYPES,
    Refusal,
    Resource,
    fhir_answer,
    media_type,
    preferred,
    read_json,
    takes_json,
)

CREATED_HERE = ("Binary", "DocumentReference")
_BODY_CAP_BYTES = 25 * 1024 * 1024
_NO_STORE = {"Cache-Control": "no-store"}


def gate(login: Login) -> Any:
    """A dependency that lets nobody in without a living token (RFC 6750, 3)."""

    async def check(request: Request) -> None:
        if not login.admits(request.headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": 'Bearer realm="General Hospital"'}
            raise Refusal(401, "login", "a valid access token is needed", challenge)

    return Depends(check)


def auth_router(login: Login) -> APIRouter:
    """`POST /auth/token`."""
    router = APIRouter(prefix="/auth")

    @router.post("/token")
    async def token(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        try:
            return JSONResponse(await login.grant(form), headers=_NO_STORE)
        except OAuthRefusal as refusal:
            body = {"error": refusal.error, "error_description": refusal.words}
            return JSONResponse(body, refusal.status, headers=_NO_STORE)

    return router


class Ehr:
    """The FHIR interactions, each an answer made from the chart."""

    def __init__(self, chart: Chart, base: str, rules: Rules) -> None:
        self.chart, self.base, self.rules = chart, base, rules
        self.pages = Pages(chart, base, rules)
        self.types = tuple(kind for kind in chart.types if kind not in rules.absent)

    def search(self, request: Request, kind: str, form: bytes = b"") -> Response:
        """A searchset; parameters of the URL and of a POST form count alike."""
        self._known(kind)
        _acceptable(request)
        if kind == "Binary":
            raise Refusal(400, "not-supported", "Binary cannot be searched")
        asked = [*request.query_params.multi_items(), *_pairs(form)]
        strict = "handling=strict" in request.headers.get("prefer", "")
        return fhir_answer(self.pages.answer(kind, asked, strict=strict))

    def page(self, request: Request) -> Response:
        """A further page whose link has no type, as HAPI's have not."""
        asked = request.query_params.multi_items()
        if not any(name in PAGE_PARAMETERS for name, _ in asked):
            raise Refusal(400, "not-supported", "the whole system cannot be searched")
        return fhir_answer(self.pages.answer("", asked))

    def read(self, request: Request, kind: str, identity: str, version: str = "") -> Response:
        """One resource, its version as ETag; a Binary as its bytes unless JSON is preferred."""
        self._known(kind)
        if kind == "Binary":
            return self._read_binary(request, identity, version)
        _acceptable(request)
        resource = self.chart.read(kind, identity)
        if resource is None or version not in ("", resource["meta"]["versionId"]):
            raise Refusal(404, "not-found", "no such resource or version here")
        return fhir_answer(resource, headers=_tag(resource["meta"]["versionId"]))

    def _read_binary(self, request: Request, identity: str, version: str) -> Response:
        content = self.chart.content(identity)
        if content is None or version not in ("", content.version):
            raise Refusal(404, "not-found", "no such Binary here")
        # R4 binary.html#rest: JSON for a FHIR type in Accept, else the content as it is.
        if _wants_json(request):
            return fhir_answer(binary_of(identity, content), headers=_tag(content.version))
        return Response(content.body, 200, _tag(content.version), content.content_type)

    def create(self, request: Request, kind: str, body: bytes) -> Response:
        """201 with Location and ETag, or 200 with what If-None-Exist already matched."""
        self._known(kind)
        if kind not in CREATED_HERE:
            raise Refusal(405, "not-supported", "this type cannot be created here")
        if len(body) > _BODY_CAP_BYTES:
            raise Refusal(413, "too-long", "larger than this server takes")
        content_type = request.headers.get("content-type", "")
        resource = self._received(kind, content_type, body)
        made = self.chart.create(resource, _if_none_exist(request))
        return self._created(request, made.resource, 201 if made.new else 200)

    def _created(self, request: Request, resource: Resource, status: int) -> Response:
        version = resource["meta"]["versionId"]
        place = f"{self.base}/{resource['resourceType']}/{resource['id']}/_history/{version}"
        headers = {"Location": place, **_tag(version)}
        if "return=minimal" in request.headers.get("prefer", ""):
            return Response(b"", status, headers)
        return fhir_answer(resource, status, headers)

    def _received(self, kind: str, content_type: str, body: bytes) -> Resource:
        if kind == "Binary" and media_type(content_type) not in FHIR_TYPES:
            if not content_type:
                raise Refusal(415, "not-supported", "a Binary needs its Content-Type")
            data = base64.b64encode(body).decode()
            return {"resourceType": "Binary", "contentType": content_type, "data": data}
        if media_type(content_type) not in FHIR_TYPES:
            raise Refusal(415, "not-supported", "only application/fhir+json is taken here")
        resource = _parsed(kind, body)
        self._judge(kind, resource)
        return resource

    def _judge(self, kind: str, resource: Resource) -> None:
        needed = ("status", "content") if kind == "DocumentReference" else ("contentType",)
        for element in needed:
            if not resource.get(element):
                raise Refusal(422, "required", f"{kind}.{element} is missing")
        if kind == "Binary" and not is_base64(resource.get("data", "")):
            raise Refusal(422, "value", "Binary.data is not base64")
        about = resource.get("subject", {}).get("reference", "").split("/")[-2:]
        if about != [""] and (len(about) != 2 or self.chart.read(about[0], about[1]) is None):
            raise Refusal(422, "not-found", "DocumentReference.subject is nobody here")

    def _known(self, kind: str) -> None:
        if kind not in self.types:
            raise Refusal(404, "not-supported", "this resource type is not kept here")


def fhir_router(ehr: Ehr, login: Login) -> APIRouter:
    """Everything below `/fhir`."""
    router, unlocked = APIRouter(), APIRouter(prefix="/fhir")
    _open_doors(unlocked, ehr, login)
    locked = APIRouter(prefix="/fhir", dependencies=[gate(login)])

    @locked.get("")
    def page(request: Request) -> Response:
        return ehr.page(request)

    @locked.get("/{kind}")
    def search(request: Request, kind: str) -> Response:
        return ehr.search(request, kind)

    @locked.post("/{kind}/_search")
    async def search_by_form(request: Request, kind: str) -> Response:
        return ehr.search(request, kind, await request.body())

    @locked.get("/{kind}/{identity}")
    def read(request: Request, kind: str, identity: str) -> Response:
        return ehr.read(request, kind, identity)

    @locked.get("/{kind}/{identity}/_history/{version}")
    def vread(request: Request, kind: str, identity: str, version: str) -> Response:
        return ehr.read(request, kind, identity, version)

    @locked.post("/{kind}")
    async def create(request: Request, kind: str) -> Response:
        return ehr.create(request, kind, await request.body())

    router.include_router(unlocked)
    router.include_router(bulk.export_router(ehr.chart, ehr.base, gate(login)))
    router.include_router(locked)
    return router


def _open_doors(router: APIRouter, ehr: Ehr, login: Login) -> None:
    @router.get("/metadata")
    def metadata(request: Request) -> Response:
        _acceptable(request)
        offered = {kind: searching.parameters(kind) for kind in ehr.types}
        created = tuple(kind for kind in CREATED_HERE if kind in ehr.types)
        return fhir_answer(
            capability.statement(ehr.base, login.token_url, offered, created, ehr.rules)
        )

    @router.get("/.well-known/smart-configuration")
    def smart_configuration() -> Response:
        return JSONResponse(capability.smart_configuration(login.token_url))


def _parsed(kind: str, body: bytes) -> Resource:
    try:
        resource = read_json(body)
    except (ValueError, RecursionError) as broken:
        raise Refusal(400, "structure", "the body is no JSON") from broken
    if not isinstance(resource, dict) or resource.get("resourceType") != kind:
        raise Refusal(400, "structure", f"the body is no {kind}")
    return resource


def _pairs(form: bytes) -> list[tuple[str, str]]:
    return parse_qsl(form.decode("utf-8", "replace"), keep_blank_values=True)


def _if_none_exist(request: Request) -> list[tuple[str, str]]:
    """The query of an If-None-Exist header, with or without its `Type?` in front."""
    header = request.headers.get("if-none-exist", "")
    head, mark, query = header.partition("?")
    return _pairs((query if mark and "=" not in head else header).encode())


def _tag(version: str) -> Mapping[str, str]:
    return {"ETag": f'W/"{version}"'}


def _acceptable(request: Request) -> None:
    if not _wants_json(request) and not takes_json(request.headers.get("accept", "")):
        raise Refusal(406, "not-supported", f"this server answers {CONTENT_TYPE}")


def _wants_json(request: Request) -> bool:
    # `_format` overrides Accept (R4 http.html#parameters).
    asked = request.query_params.get("_format") or preferred(request.headers.get("accept", ""))
    return asked == "json" or media_type(asked) in FHIR_TYPES
