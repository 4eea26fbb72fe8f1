"""The one place that reads the clock and makes random ids; everything else is handed them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime


def now() -> datetime:
    """The current time, UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A random 128-bit id."""
    return str(uuid.uuid4())
