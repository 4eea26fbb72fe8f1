"""A foreign FHIR R4 server as the tests see it: where it is, and how a chart is laid into it."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import simplejson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PER_TRANSACTION = 50


class LoadRefused(AssertionError):
    """The server did not take a resource that a test wanted to lay into it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; the body is the bytes as they came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, decimals kept as Decimal."""
        return simplejson.loads(self.body, use_decimal=True)


@dataclass(frozen=True, slots=True)
class FhirServer:
    """
    A running FHIR server: base has no slash at its end.

    loader_token opens everything and is for laying records in, never for the bridge; it is None
    when the server is open. SMART discovery is at base + /.well-known/smart-configuration.
    """

    name: str
    base: str
    loader_token: str | None = None

    def ask(
        self,
        method: str,
        path: str = "",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request to base + path as the loader; never raises on an HTTP status."""
        sent = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
        sent["Cache-Control"] = "no-cache"  # HAPI answers a search of the last minute from memory
        if self.loader_token:
            sent["Authorization"] = f"Bearer {self.loader_token}"
        return request(method, self.base + path, body, {**sent, **(headers or {})})

    def read(self, path: str) -> Any:
        """The JSON of GET base + path; LoadRefused if the status is not 200."""
        answer = self.ask("GET", path)
        if answer.status != http.client.OK:
            raise LoadRefused(f"{self.name}: GET {path}: {answer.status} {answer.body[:500]!r}")
        return answer.json()

    def load(self, resources: Sequence[Mapping[str, Any] | bytes]) -> None:
        """
        Lay resources (each with an id) into the server by PUT, in transactions.

        Bytes are sent as they are, so that their numbers keep their digits. Every entry's own
        status is looked at, since a server may answer 200 to a transaction that it half took.
        """
        for start in range(0, len(resources), PER_TRANSACTION):
            part = [encoded(one) for one in resources[start : start + PER_TRANSACTION]]
            self._transaction(part)

    def _transaction(self, resources: Sequence[bytes]) -> None:
        entries = b",".join(_put_entry(one) for one in resources)
        body = b'{"resourceType":"Bundle","type":"transaction","entry":[' + entries + b"]}"
        answer = self.ask("POST", "", body)
        if answer.status != http.client.OK:
            raise LoadRefused(f"{self.name}: {answer.status} {answer.body[:2000]!r}")
        for entry in answer.json()["entry"]:
            if not entry["response"]["status"].startswith("20"):
                raise LoadRefused(f"{self.name}: {entry['response']}")


def encoded(resource: Mapping[str, Any] | bytes) -> bytes:
    """A resource as JSON; bytes are left as they are."""
    if isinstance(resource, bytes):
        return resource
    return simplejson.dumps(resource, use_decimal=True).encode()


def _put_entry(resource: bytes) -> bytes:
    named = simplejson.loads(resource)
    url = f"{named['resourceType']}/{named['id']}"
    request_line = simplejson.dumps({"method": "PUT", "url": url}).encode()
    return b'{"request":' + request_line + b',"resource":' + resource + b"}"


def request(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One plain HTTP request to a loopback URL; no redirects, no retries, 30 s at most."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    target = where.path + (f"?{where.query}" if where.query else "")
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        lower = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, lower, response.read())
    finally:
        connection.close()
