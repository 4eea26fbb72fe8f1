"""A chart in memory that loses things, a ladder that is killed, and a clock of its own."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fhir_bridge.case.delivery import Delivery, DeliveryState, may_follow
from fhir_bridge.case.original import Answer, How, Original
from fhir_bridge.errors import (
    DeliveryRefused,
    DeliveryUnknown,
    ProviderRefused,
    ProviderUnreachable,
    WrongMoment,
)
from fhir_bridge.standards.fhir import json

BASE = "https://ehr.example/fhir"
START = datetime(2025, 7, 19, 8, 0, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone: nothing after this point ran."""


@dataclass
class Clock:
    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def wait(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Killer:
    """Kills at the n-th point where a process can be killed; never when `after` is negative."""

    after: int = -1
    points: int = 0

    def __call__(self) -> None:
        self.points += 1
        if self.points - 1 == self.after:
            raise Killed


@dataclass
class Ladder:
    clock: Clock
    point: Callable[[], None]
    rows: dict[str, Delivery] = field(default_factory=dict)
    moved: dict[str, datetime] = field(default_factory=dict)
    states: list[DeliveryState] = field(default_factory=list)

    def add(self, delivery: Delivery) -> None:
        self.rows[delivery.id], self.moved[delivery.id] = delivery, self.clock()

    def get(self, delivery_id: str) -> Delivery:
        return self.rows[delivery_id]

    def moved_at(self, delivery_id: str) -> datetime:
        return self.moved[delivery_id]

    def move(
        self, delivery_id: str, state: DeliveryState, *, at: datetime, **changed: Any
    ) -> Delivery:
        self.point()
        before = self.rows[delivery_id]
        if not may_follow(before.state, state):
            raise WrongMoment(f"{before.state} is not followed by {state}")
        self.rows[delivery_id] = replace(before, state=state, **changed)
        self.moved[delivery_id] = at
        self.states.append(state)
        self.point()
        return self.rows[delivery_id]


@dataclass
class Declared:
    creates: tuple[str, ...] = ("DocumentReference", "Binary")
    conditional_create: frozenset[str] = frozenset()
    silent: bool = False

    @property
    def interactions(self) -> dict[str, frozenset[str]]:
        if self.silent:
            return {}
        return {"Patient": frozenset({"read"})} | dict.fromkeys(self.creates, frozenset({"create"}))

    def can(self, kind: str, interaction: str) -> bool:
        return interaction in self.interactions.get(kind, ())


@dataclass
class Bodies:
    held: dict[str, bytes] = field(default_factory=dict)

    def put(self, body: bytes) -> str:
        sha256 = hashlib.sha256(body).hexdigest()
        self.held[sha256] = body
        return sha256

    def read(self, sha256: str) -> bytes:
        return self.held[sha256]


@dataclass
class Stored:
    resource: dict[str, Any]
    seen_from: datetime


@dataclass
class Chart:
    """`fault` is asked before each create (`lost`, `reply-lost`, `500`, an error, or nothing)."""

    clock: Clock
    point: Callable[[], None]
    bodies: Bodies
    fault: Callable[[str], object] = lambda _: None
    stumble: Callable[[], None] = lambda: None
    keep: Callable[[dict[str, Any]], dict[str, Any]] = lambda resource: resource
    lag_seconds: float = 0.0
    page_size: int = 10
    ignores: tuple[str, ...] = ()
    conditional: bool = False
    documents: dict[str, Stored] = field(default_factory=dict)
    binaries: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    creates: list[tuple[str, str]] = field(default_factory=list)

    def create(
        self,
        type_: str,
        body: bytes,
        *,
        content_type: str = "application/fhir+json",
        if_none_exist: str = "",
    ) -> Answer:
        self.point()
        self.creates.append((type_, content_type))
        fault = self.fault(type_)
        if isinstance(fault, Exception):
            raise fault
        if fault == "lost":
            raise DeliveryUnknown("no answer (ReadTimeout)")
        made = self._stored(type_, body, content_type, if_none_exist)
        self.point()
        if fault in ("reply-lost", "500"):
            raise DeliveryUnknown("HTTP 500" if fault == "500" else "no answer (ReadError)")
        return self._answer(b"", {"Location": f"{BASE}/{type_}/{made}/_history/1"}, 201)

    def _stored(self, type_: str, body: bytes, content_type: str, if_none_exist: str) -> str:
        if type_ == "Binary":
            id_ = f"b{len(self.binaries) + 1}"
            if content_type == "application/fhir+json":
                wrapped = json.load_object(body)
                content_type = wrapped["contentType"]
                body = base64.b64decode(wrapped["data"])
            self.binaries[id_] = (content_type, body)
            return id_
        wanted = dict(parse_qsl(if_none_exist)).get("identifier", "") if self.conditional else ""
        there = [i for i, d in self.documents.items() if wanted and _identified(d.resource, wanted)]
        if there:
            return there[0]
        id_ = f"d{len(self.documents) + 1}"
        resource = self.keep(json.load_object(body)) | {"id": id_, "meta": {"versionId": "1"}}
        seen_from = self.clock() + timedelta(seconds=self.lag_seconds)
        self.documents[id_] = Stored(resource, seen_from)
        return id_

    def read(self, reference: str, *, previous: str = "", fresh: bool = False) -> Answer:
        self._asked()
        assert fresh, "a read-back goes past caches"
        stored = self.documents.get(reference.removeprefix("DocumentReference/"))
        if stored is None:
            raise ProviderRefused("HTTP 404 (not-found)")
        return self._answer(json.dumps(stored.resource))

    def search(
        self,
        type_: str,
        params: Sequence[tuple[str, str]],
        *,
        post: bool = False,
        fresh: bool = False,
    ) -> Answer:
        self._asked()
        assert type_ == "DocumentReference"
        assert fresh, "a search for the opinion goes past caches"
        return self._page(dict(params), 0)

    def follow(self, url: str, *, previous: str) -> Answer:
        self._asked()
        asked = dict(parse_qsl(url.partition("?")[2]))
        return self._page(asked, int(asked.pop("page")))

    def fetch(self, url: str, *, content_type: str = "") -> Answer:
        self._asked()
        binary = self.binaries.get(url.rpartition("/")[2])
        if binary is None:
            raise ProviderRefused("HTTP 404 (not-found)")
        answer = self._answer(binary[1])
        self.bodies.put(binary[1])
        return replace(answer, body=None)

    def _asked(self) -> None:
        self.point()
        self.stumble()

    def _page(self, asked: dict[str, str], number: int) -> Answer:
        found = list(self._matches(asked))
        shown = found[number * self.page_size : (number + 1) * self.page_size]
        link = []
        if len(found) > (number + 1) * self.page_size:
            query = urlencode(asked | {"page": str(number + 1)})
            link = [{"relation": "next", "url": f"{BASE}/DocumentReference?{query}"}]
        entry = [{"fullUrl": f"{BASE}/DocumentReference/{r['id']}", "resource": r} for r in shown]
        bundle = {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entry}
        return self._answer(json.dumps(bundle))

    def _matches(self, asked: dict[str, str]) -> Iterator[dict[str, Any]]:
        asked = {key: value for key, value in asked.items() if key not in self.ignores}
        for stored in self.documents.values():
            resource = stored.resource
            if stored.seen_from > self.clock():
                continue
            if "identifier" in asked and not _identified(resource, asked["identifier"]):
                continue
            if "type" in asked and asked["type"].partition("|")[2] not in _codes(resource):
                continue
            if "date" in asked and resource["date"][:10] < asked["date"].removeprefix("ge"):
                continue
            yield resource

    def _answer(
        self, body: bytes, headers: dict[str, str] | None = None, status: int = 200
    ) -> Answer:
        sha256 = hashlib.sha256(body).hexdigest()
        original = Original(
            "x", "general", How.GET, "", sha256, len(body), self.clock(), status=status,
            headers=headers or {},
        )  # fmt: skip
        return Answer(original, BASE, body)


def _identified(resource: dict[str, Any], token: str) -> bool:
    listed = [resource.get("masterIdentifier"), *resource.get("identifier", [])]
    return token.partition("|")[2] in [i["value"] for i in listed if i]


def _codes(resource: dict[str, Any]) -> list[str]:
    return [coding["code"] for coding in resource.get("type", {}).get("coding", [])]


@dataclass
class Weather:
    """The faults of one delivery, drawn once from a seed."""

    chance: random.Random
    lost: float = 0.15
    reply_lost: float = 0.20
    failed: float = 0.05
    unreachable: float = 0.10

    def fault(self, _: str) -> object:
        drawn = self.chance.random()
        for name, share in (("lost", self.lost), ("reply-lost", self.reply_lost)):
            if drawn < share:
                return name
            drawn -= share
        if drawn < self.failed:
            return "500"
        drawn -= self.failed
        return ProviderUnreachable("no connection") if drawn < self.unreachable else None

    def stumble(self) -> None:
        if self.chance.random() < 0.05:
            raise ProviderUnreachable("no answer")


def refusing(status: int, *, times: int = 1, type_: str = "") -> Callable[[str], object]:
    """Refuses the first creates cleanly."""
    left = [times]

    def fault(kind: str) -> object:
        if left[0] and type_ in ("", kind):
            left[0] -= 1
            return DeliveryRefused(f"HTTP {status} (processing)")
        return None

    return fault
