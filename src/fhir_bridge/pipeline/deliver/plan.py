"""Which form the opinion takes at a destination: decided from what the destination declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fhir_bridge.case.delivery import DeliveryState

MIB = 1024 * 1024

NO_PATIENT = "It is not settled yet who the patient is at this hospital. Please confirm that first."
TAKES_NOTHING = "This hospital's system takes no documents. Send the opinion on paper."
TOO_LARGE = "The opinion is larger than this hospital's system takes. Integration was told."
INLINE_REFUSED = "The hospital did not take the opinion in one piece; it is sent as separate files."
REFUSED = "The hospital's system refused the opinion. Call the hospital or send it on paper."
LOGIN = "The hospital refused our login. Integration was told; nothing was filed by this attempt."
BUSY = "The hospital's system asked us to wait. The bridge tries again by itself."
TOO_OFTEN = "The opinion was tried many times without success. Call the hospital or use paper."
SEVERAL = "The chart holds this opinion more than once. Call the hospital to remove one."
CANNOT_LOOK = "It cannot be told whether the opinion arrived. Look into the chart before resending."
NOT_READABLE = "The hospital took the opinion but does not show it to us. Look into the chart."
NOT_LISTED = "The opinion is stored at the hospital, but its chart search does not list it yet."
DIFFERS = "The hospital's chart shows something other than the opinion. Call the hospital."


class Rung(StrEnum):
    """The forms, the preferred one first (standards-and-ehrs B3, rows 4 and 5)."""

    INLINE = "inline"
    BINARY = "binary"


class Declares(Protocol):
    """What a CapabilityStatement says; necessary, never sufficient."""

    @property
    def interactions(self) -> Mapping[str, frozenset[str]]:
        """By resource type; empty when the statement names no type at all."""

    @property
    def conditional_create(self) -> frozenset[str]:
        """The types that honour If-None-Exist."""

    def can(self, kind: str, interaction: str) -> bool:
        """Whether an interaction is declared for a type."""


@dataclass(frozen=True, slots=True)
class Site:
    """
    What an operator sets for one destination, and who the patient is there.

    `max_inline_bytes` bounds the base64 of both contents. `index_lag_seconds` is the longest time
    between a create and its being found by search: a wrong value here is how duplicates happen.
    `patience_seconds` is how long an accepted opinion may stay invisible, `retry_seconds` the first
    pause after a failed attempt.
    """

    patient_id: str
    prefers_binary: bool = False
    max_inline_bytes: int = 5 * MIB
    index_lag_seconds: float = 10.0
    patience_seconds: float = 120.0
    retry_seconds: float = 2.0
    max_attempts: int = 12
    max_pages: int = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """A rung, or the state in which a person has to act and the sentence for that person."""

    rung: Rung | None
    state: DeliveryState = DeliveryState.QUEUED
    reason: str = ""


def takes(declares: Declares, type_: str) -> bool:
    """Whether a create is worth an attempt: declared, or nothing at all is declared there."""
    return not declares.interactions or declares.can(type_, "create")


def plan(declares: Declares, site: Site, *, content_bytes: int, refused_inline: bool) -> Plan:
    """Choose the form. `content_bytes` is the size of all contents before base64."""
    if not site.patient_id:
        return Plan(None, DeliveryState.HELD, NO_PATIENT)
    if not takes(declares, "DocumentReference"):
        return Plan(None, DeliveryState.MANUAL, TAKES_NOTHING)
    fits = content_bytes * 4 <= site.max_inline_bytes * 3
    if fits and not site.prefers_binary and not refused_inline:
        return Plan(Rung.INLINE)
    if takes(declares, "Binary"):
        return Plan(Rung.BINARY)
    if fits and not refused_inline:
        return Plan(Rung.INLINE)
    return Plan(None, DeliveryState.HELD, REFUSED if refused_inline else TOO_LARGE)
