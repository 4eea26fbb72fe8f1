"""Logs: a constant sentence and fields from an allow-list, as JSON lines on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# What may stand beside the sentence: ids, counts, codes, addresses of peers. Never content.
ALLOWED = frozenset(
    (
        "event",
        "level",
        "timestamp",
        "case",
        "source",
        "count",
        "code",
        "status",
        "error",
        "seconds",
        "milliseconds",
        "route",
        "method",
        "request",
        "request_id",
        "calling_aet",
        "called_aet",
        "our_aet",
        "address",
        "aet",
        "port",
        "associations",
        "stored",
        "worker",
        "delivery",
        "state",
        "version",
        "size",
        "type",
        "run",
        "slot",
        "logger",
    )
)


def only_allowed(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Drop every field that is not on the list, and cut long values."""
    return {key: _short(value) for key, value in event.items() if key in ALLOWED}


def _short(value: Any) -> Any:
    return value if isinstance(value, int | float) else str(value)[:200]


def set_up_logs(level: str) -> None:
    """Both structlog and the libraries' loggers write through the same list."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    written: list[Any] = [only_allowed, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *written],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *written],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, _without_text],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _without_text(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    # What a library writes, and its tracebacks, can quote the content it failed on: which library
    # it was, and the type of the error, say enough.
    event["event"] = "a library reports"
    error = event.pop("exc_info", None)
    if isinstance(error, tuple) and error[0] is not None:
        event["error"] = error[0].__name__
    return event


def _number(level: str) -> int:
    return logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
