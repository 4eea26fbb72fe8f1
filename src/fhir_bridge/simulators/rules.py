"""How this hospital behaves: every habit that a fault may change, with its healthy value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fhir_bridge.simulators.images import Instance
from fhir_bridge.simulators.wire import Resource


def as_sent(resource: Resource) -> Resource:
    """The healthy way to store a document: nothing in it is touched."""
    return resource


def everything(instances: Sequence[Instance]) -> Sequence[Instance]:
    """The healthy way to hand out a study: all that is listed."""
    return instances


@dataclass(frozen=True, slots=True)
class Rules:
    """Pages in entries, times in seconds; a token that is used up is answered with 401."""

    page_default: int = 10
    page_max: int = 50
    token_uses: int | None = None
    index_lag_seconds: float = 0.0
    shows_decoy: bool = False
    foreign_attachment: bool = False
    keep_document: Callable[[Resource], Resource] = as_sent
    hand_out: Callable[[Sequence[Instance]], Sequence[Instance]] = everything
    image_delay_seconds: float = 0.0
    offers_get: bool = True
