"""The walk of `provider test` through one EHR: each step, what it sends and what it expects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fhir_bridge.case.case import Auth, TreatingProvider
from fhir_bridge.clients.ask import FHIR_JSON, Authoriser
from fhir_bridge.clients.capability import Capability
from fhir_bridge.clients.fhir import FhirClient
from fhir_bridge.clients.scopes import missing
from fhir_bridge.clients.smart import Tokens
from fhir_bridge.errors import NotFhir
from fhir_bridge.pipeline.pull.plan import NEVER, Search, searches, vendor_of, version_of
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.attachments import attachments, resolve

NOBODY = (("_id", "fhir-bridge-test"), ("_count", "1"))
SEARCHSET = "200 with a searchset Bundle"


@dataclass(frozen=True, slots=True)
class Step:
    """One check before it is made; `told` knows more of what was sent once it was."""

    name: str
    work: Callable[[], str]
    sent: str
    expected: str
    told: Callable[[], str] | None = None


@dataclass(slots=True)
class Walk:
    """One EHR, asked in the order of a pull."""

    ehr: FhirClient
    login: Authoriser
    provider: TreatingProvider
    patient: str = ""
    _capability: Capability = field(default_factory=Capability)
    _found: list[Mapping[str, Any]] = field(default_factory=list)

    def steps(self) -> Iterator[Step]:
        """The steps, each made only when the one before it is over."""
        base = urlsplit(self.ehr.base).path
        yield Step(
            "metadata", self._metadata, f"GET {base}/metadata, Accept {FHIR_JSON}",
            "200 with a CapabilityStatement, without login",
        )  # fmt: skip
        if self.provider.auth is not Auth.NONE:
            yield Step("login", self._log_in, "", _EXPECTED[self.provider.auth], self._sent)
        if not self.patient:
            yield self._search("search", "Patient", NOBODY)
            return
        yield Step(
            "patient", self._read, f"GET {base}/Patient/[id], Accept {FHIR_JSON}",
            "200 with this Patient: the id is one of this server",
        )  # fmt: skip
        for search in self._types():
            question = (("patient", self.patient), *search.pairs, ("_count", "5"))
            yield self._search(search.name, search.type, question)
        if any(self._addresses()):
            yield Step(
                "attachment", self._attachment, f"GET {base}/Binary/[id], by its own content type",
                "200 with the bytes: Binary needs its own scope at some servers",
            )  # fmt: skip

    def _metadata(self) -> str:
        self._capability = self.ehr.capability()
        return f"FHIR {self._capability.fhir_version} {self._capability.software}".strip()

    def _log_in(self) -> str:
        """A token, or a header that needs no asking and shows in the next step."""
        self.login.header()
        account = self.login.account() if isinstance(self.login, Tokens) else None
        if account is None:
            return f"{self.provider.auth.value}, sent with each request"
        gap = missing(account.asked, account.granted)
        short = f"; not granted: {' '.join(gap)}" if gap else ""
        proof = f"{account.method} {account.proof}".strip()
        return f"{proof}, {account.lifetime_seconds:.0f} s{short}"

    def _sent(self) -> str:
        account = self.login.account() if isinstance(self.login, Tokens) else None
        if account is None:
            return f"{self.provider.auth.value}, before anything reached a token endpoint"
        way = ", ".join(filter(None, [account.method, account.proof]))
        client = f"client {self.provider.client_id}; " if self.provider.client_id else ""
        return f"POST {account.token_endpoint}; {client}{way}; scope {account.asked}"

    def _read(self) -> str:
        body = self.ehr.read(f"Patient/{self.patient}").body
        if json.load_object(body or b"").get("resourceType") != "Patient":
            raise NotFhir("no Patient")
        return ""

    def _types(self) -> Sequence[Search]:
        here = self._capability
        vendor = self.provider.vendor or vendor_of(here, self.ehr.base)
        offered = searches(vendor, version_of(here))
        return [
            search
            for search in offered
            if "$" not in search.type
            and search.need != NEVER
            and (not here.interactions or here.can(search.type, "search-type"))
        ]

    def _search(self, name: str, kind: str, question: Sequence[tuple[str, str]]) -> Step:
        names = "&".join(parameter for parameter, _ in question)
        path = urlsplit(self.ehr.base).path
        sent = f"GET {path}/{kind}?{names}, Accept {FHIR_JSON}"
        return Step(name, lambda: self._page(kind, question), sent, SEARCHSET)

    def _page(self, kind: str, question: Sequence[tuple[str, str]]) -> str:
        bundle = json.load_object(self.ehr.search(kind, question).body or b"")
        if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "searchset":
            raise NotFhir("no searchset Bundle")
        entries = bundle.get("entry", [])
        found = [e["resource"] for e in entries if isinstance(e, dict) and "resource" in e]
        outcomes = [r for r in found if r.get("resourceType") == "OperationOutcome"]
        self._found += [r for r in found if r.get("resourceType") == kind]
        said = f", {len(outcomes)} outcome entries" if outcomes else ""
        return f"{len(found) - len(outcomes)} on the first page{said}"

    def _addresses(self) -> Iterator[tuple[str, str]]:
        for resource in self._found:
            for _, node in attachments(resource):
                if isinstance(node.get("url"), str):
                    yield node["url"], str(node.get("contentType", ""))

    def _attachment(self) -> str:
        url, content_type = next(self._addresses())
        answer = self.ehr.fetch(resolve(url, self.ehr.base), content_type=content_type)
        return f"{answer.original.size} bytes"


_EXPECTED = {
    Auth.BASIC: "a user and password that the server knows",
    Auth.HEADER: "a header that the gateway knows",
    Auth.CLIENT_SECRET: "200 with an access token: client id and secret registered",
    Auth.PRIVATE_KEY_JWT: (
        "200 with an access token: client id registered with our JWKS address, which the server "
        "reaches, and the scopes granted"
    ),
    Auth.UDAP: (
        "signed metadata that lead to the trust anchors, a registration, and 200 with an access "
        "token"
    ),
}
