"""What happened to a case: the only way its state changes, and what audit is written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Happened(StrEnum):
    """The names of the events; a name is a past participle and never changes its meaning."""

    CASE_OPENED = "case-opened"
    CASE_READ = "case-read"
    PULL_STARTED = "pull-started"
    PULL_PAUSED = "pull-paused"
    PULL_RESUMED = "pull-resumed"
    PULL_CANCELLED = "pull-cancelled"
    SOURCE_CONNECTED = "source-connected"
    PATIENT_PINNED = "patient-pinned"
    PATIENT_ASKED = "patient-asked"
    PAGE_STORED = "page-stored"
    RECORDS_SEEN = "records-seen"
    RECORD_GONE = "record-gone"
    ATTACHMENT_STORED = "attachment-stored"
    INSTANCE_STORED = "instance-stored"
    INSTANCE_RECEIVED = "instance-received"
    SLICE_ENDED = "slice-ended"
    SOURCE_ENDED = "source-ended"
    SOURCE_FAILED = "source-failed"
    RECORD_ASSEMBLED = "record-assembled"
    RECORD_FAILED = "record-failed"
    RECORD_RELEASED = "record-released"
    ASSIGNED = "assigned"
    OPINION_SIGNED = "opinion-signed"
    DELIVERY_MOVED = "delivery-moved"
    DELIVERY_RESUMED = "delivery-resumed"


@dataclass(frozen=True, slots=True)
class Event:
    """
    One thing that happened. `facts` holds ids, counts and codes only: never patient data.

    `number` is given by the store and grows; it is the SSE event id that a browser resumes from.
    """

    name: Happened
    case_id: str | None
    actor: str
    at: datetime
    facts: Mapping[str, str | int] = field(default_factory=dict)
    number: int = 0
