"""The kinds of column: text of any source, aware times, small JSON of our own."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, TypeDecorator
from sqlalchemy import Text as PlainText

from fhir_bridge.standards.fhir import json

_UNSAFE = re.compile(r"[\x00\\\ud800-\udfff]")
_ESCAPED = re.compile(r"\\([0-9a-f]{4})")


class Text(TypeDecorator[str]):
    """
    Any text of any source: U+0000 (which PostgreSQL refuses) and lone surrogates (which have no
    UTF-8) are written as escapes and come back as they were.
    """

    impl = PlainText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape; the backslash too, so that two texts never become one."""
        return None if value is None else _UNSAFE.sub(lambda m: f"\\{ord(m[0]):04x}", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Back to what it was."""
        if value is None or "\\" not in value:
            return value
        return _ESCAPED.sub(lambda m: chr(int(m[1], 16)), value)


class Instant(TypeDecorator[datetime]):
    """An aware UTC time; SQLite would hand it back without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store as UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return with the zone."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


class Facts(TypeDecorator[object]):
    """Small JSON of our own as text: never jsonb, which refuses U+0000 and reorders keys."""

    impl = PlainText
    cache_ok = True

    def process_bind_param(self, value: object | None, dialect: Dialect) -> str | None:
        """Write canonical JSON."""
        return None if value is None else json.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> object | None:
        """Read it back."""
        return None if value is None else json.loads(value.encode())
