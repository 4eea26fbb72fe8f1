"""What a delivery asks of the world, and everything that one delivery needs to move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from fhir_bridge.case.delivery import Delivery, DeliveryState
from fhir_bridge.case.original import Answer
from fhir_bridge.pipeline.deliver.document_reference import Signed
from fhir_bridge.pipeline.deliver.plan import Declares, Site


class Chart(Protocol):
    """The destination's FHIR endpoint. Every answer is durable before it is returned."""

    def create(
        self, type_: str, body: bytes, *, content_type: str = ..., if_none_exist: str = ""
    ) -> Answer:
        """One attempt; raises DeliveryRefused, DeliveryUnknown and others."""

    def read(self, reference: str, *, previous: str = "", fresh: bool = False) -> Answer:
        """A resource by `Type/id`; `fresh` forbids caches."""

    def search(
        self, type_: str, params: Sequence[tuple[str, str]], *, post: bool = False,
        fresh: bool = False,
    ) -> Answer:  # fmt: skip
        """The first page of a search."""

    def follow(self, url: str, *, previous: str) -> Answer:
        """The page behind a `next` link."""

    def fetch(self, url: str, *, content_type: str = "") -> Answer:
        """An attachment, streamed to the store."""


class Ladder(Protocol):
    """Where deliveries are remembered."""

    def get(self, delivery_id: str) -> Delivery:
        """One delivery as it stands."""

    def moved_at(self, delivery_id: str) -> datetime:
        """When it last moved: the `at` of that move."""

    def move(
        self, delivery_id: str, state: DeliveryState, *, at: datetime, **changed: Any
    ) -> Delivery:
        """Commit one step with its event; raises WrongMoment where the ladder has no such step."""


class Bodies(Protocol):
    """The store of bodies."""

    def read(self, sha256: str) -> bytes:
        """A whole body."""


@dataclass(frozen=True, slots=True)
class Way:
    """One delivery's way: the chart it goes to, how that chart is known, and what is sent."""

    chart: Chart
    declares: Declares
    site: Site
    ladder: Ladder
    bodies: Bodies
    signed: Signed
    now: Callable[[], datetime]

    def move(self, delivery: Delivery, state: DeliveryState, **changed: Any) -> Delivery:
        """One step, now."""
        return self.ladder.move(delivery.id, state, at=self.now(), **changed)

    def seconds_left(self, delivery: Delivery, seconds: float) -> float:
        """What remains of a time that began with the last move."""
        passed = (self.now() - self.ladder.moved_at(delivery.id)).total_seconds()
        return max(0.0, seconds - passed)
