"""An EHR's FHIR endpoint: search, follow, read, fetch files, create."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, Literal
from urllib.parse import urlencode

from fhir_bridge.case.original import Answer
from fhir_bridge.clients.ask import FHIR_JSON, Ask
from fhir_bridge.clients.capability import Capability
from fhir_bridge.clients.http import Wire
from fhir_bridge.clients.origins import contained, joined, origin_of
from fhir_bridge.clients.verdict import expect_fhir
from fhir_bridge.errors import (
    AttachmentMissing,
    BridgeError,
    ForeignAddress,
    PageExpired,
    ProviderRefused,
    Unreadable,
)
from fhir_bridge.standards.fhir import json

_FORM = "application/x-www-form-urlencoded"
_NO_POST_SEARCH = ("HTTP 400", "HTTP 404", "HTTP 405", "HTTP 415")
_OTHER_ACCEPT = ("HTTP 406", "HTTP 415")
_EXPIRED = ("HTTP 404", "HTTP 410")
_FRESH = {"Cache-Control": "no-cache"}


class FhirClient:
    """
    One FHIR R4 endpoint. `base` has no slash at its end. Answers are durable when they return.

    Every method may raise ProviderUnreachable, ProviderBusy, ProviderFailed, ProviderRefused,
    LoginRefused, Truncated, TooLarge and NotFhir; `detail` of a refusal begins with `HTTP 404`.
    """

    def __init__(self, base: str, wire: Wire, *, foreign_files: bool = False) -> None:
        self.base, self.wire = base.rstrip("/"), wire
        self._foreign_files = foreign_files
        self._statement: Capability | None = None
        self._asking = Lock()

    def for_case(self, case_id: str) -> FhirClient:
        """The same client; what it gets belongs to the case."""
        return FhirClient(self.base, self.wire.for_case(case_id), foreign_files=self._foreign_files)

    def capability(self) -> Capability:
        """`GET [base]/metadata` (R4 http.html#capabilities); asked once by each client."""
        with self._asking:
            if self._statement is None:
                answer = self._page(f"{self.base}/metadata")
                self._statement = Capability.of(json.load_object(answer.body or b""))
            return self._statement

    def search(
        self, type_: str, params: Sequence[tuple[str, str]], *, post: bool = False,
        fresh: bool = True,
    ) -> Answer:  # fmt: skip
        """
        The first page of a search (R4 http.html#search).

        `post` keeps names and numbers out of the server's access log: `POST [type]/_search`, and
        GET where the server does not have it.
        """
        if post:
            try:
                return self._post_search(type_, params)
            except ProviderRefused as refused:
                if not refused.detail.startswith(_NO_POST_SEARCH):
                    raise
        query = f"?{urlencode(params)}" if params else ""
        return self._page(f"{self.base}/{type_}{query}", fresh=fresh)

    def _post_search(self, type_: str, params: Sequence[tuple[str, str]]) -> Answer:
        form = urlencode(params)
        ask = Ask(
            f"{self.base}/{type_}/_search", "POST", body=form.encode(),
            headers={"Content-Type": _FORM}, judge=expect_fhir, facts={"form": form},
        )  # fmt: skip
        return self.wire.ask(ask)

    def follow(self, url: str, *, previous: str) -> Answer:
        """
        The page behind a `next` link, which is opaque and taken as it is.

        `previous` is the original of the page that named it. Raises ForeignAddress for a link
        that leads to another origin, PageExpired for a page that the server no longer knows.
        """
        try:
            return self._page(self._within(url), previous=previous)
        except ProviderRefused as refused:
            if refused.detail.startswith(_EXPIRED):
                raise PageExpired(refused.detail) from None
            raise

    def read(self, reference: str, *, previous: str = "", fresh: bool = False) -> Answer:
        """
        A resource by `Type/id`, `Type/id/_history/vid` or an absolute URL below the base.

        `fresh` forbids caches. Raises ForeignAddress for a resource of another endpoint.
        """
        url = contained(reference, self.base)
        if not url.startswith(f"{self.base}/"):
            raise ForeignAddress("a reference leads outside the endpoint's base")
        return self._page(url, previous=previous, fresh=fresh)

    def _page(self, url: str, *, previous: str = "", fresh: bool = False) -> Answer:
        headers = _FRESH if fresh else {}
        return self.wire.ask(Ask(url, headers=headers, previous=previous, judge=expect_fhir))

    def fetch(self, url: str, *, content_type: str = "", previous: str = "") -> Answer:
        """
        The content of an attachment (R4 binary.html#rest), streamed to the store; `body` is None.

        Asked by its own content type, then as a Binary resource, then as anything: servers
        differ. XML is asked as a Binary resource first, because `application/xml` is one of FHIR's
        own formats (R4 http.html#mime-type): a server may answer a Binary in XML. The content of a
        Binary resource is stored by itself, with `wrapped` in its facts and the resource's original
        as `previous`. Raises ForeignAddress for another origin, unless foreign files are allowed,
        which are fetched without login; AttachmentMissing for a Binary without content, Unreadable
        for one that cannot be decoded.
        """
        ask = self._file(url, previous)
        answer = self._first_accepted(ask, content_type)
        resource = _binary(answer.body)
        return replace(answer, body=None) if resource is None else self._unwrapped(answer, resource)

    def _within(self, url: str) -> str:
        """A link found in an answer, absolute: on this endpoint, or where the operator allows."""
        absolute = joined(f"{self.base}/", url)
        if origin_of(absolute) in self.wire.allowed:
            return absolute
        return contained(url, self.base)

    def _file(self, url: str, previous: str) -> Ask:
        try:
            url = self._within(url)
        except ForeignAddress:
            if not self._foreign_files:
                raise
            origin_of(url)  # still refuses what is no plain http address
        foreign: Literal["refuse", "anonymous"] = "anonymous" if self._foreign_files else "refuse"
        return Ask(url, previous=previous, kind="file", foreign=foreign)

    def _first_accepted(self, ask: Ask, content_type: str) -> Answer:
        wanted = (content_type, FHIR_JSON)
        if "xml" in content_type.lower():
            wanted = (FHIR_JSON, content_type)
        *first, last = dict.fromkeys(filter(None, (*wanted, "*/*")))
        for accept in first:
            try:
                return self.wire.ask(replace(ask, accept=accept))
            except ProviderRefused as refused:
                if not refused.detail.startswith(_OTHER_ACCEPT):
                    raise
        return self.wire.ask(replace(ask, accept=last))

    def _unwrapped(self, answer: Answer, resource: Mapping[str, Any]) -> Answer:
        """The content as an original of its own, behind the resource that carried it."""
        raw, blob = answer.original, self.wire.put(_content(resource))
        inner = replace(
            raw, id=self.wire.new_id(), sha256=blob.sha256, size=blob.size, previous=raw.id,
            content_type=str(resource.get("contentType", "")),
            facts={**raw.facts, "wrapped": "Binary"},
        )  # fmt: skip
        return Answer(self.wire.keep.keep(inner), answer.url)

    def create(
        self, type_: str, body: bytes, *, content_type: str = FHIR_JSON, if_none_exist: str = ""
    ) -> Answer:
        """
        `POST [base]/[type]` (R4 http.html#create), one attempt; an empty type posts a transaction.

        `if_none_exist` is the query of a conditional create. Raises DeliveryUnknown when it cannot
        be told whether it took effect, DeliveryRefused for a clean refusal, and
        ProviderUnreachable when nothing had left.
        """
        headers = {"Content-Type": content_type}
        if if_none_exist:
            headers["If-None-Exist"] = if_none_exist
        url = f"{self.base}/{type_}".rstrip("/")
        return self.wire.ask(Ask(url, "POST", headers=headers, body=body, changes=True))


def _binary(body: bytes | None) -> Mapping[str, Any] | None:
    try:
        resource = json.load_object(body or b"")
    except BridgeError:
        return None
    return resource if resource.get("resourceType") == "Binary" else None


def _content(binary: Mapping[str, Any]) -> bytes:
    encoded = binary.get("data")
    if not isinstance(encoded, str) or not encoded:
        raise AttachmentMissing("a Binary without content")
    try:
        # Line breaks inside base64 are common and mean nothing.
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("the content of a Binary is not base64") from None
