"""What is written to the log: our sentences with allowed fields, and nothing that others say."""

from __future__ import annotations

import io
import logging
import sys

import pytest
import structlog

from fhir_bridge.logs import set_up_logs
from fhir_bridge.standards.fhir import json

SECRET = "DOE^JANE"


@pytest.fixture
def written(monkeypatch):
    """Sets the logs up, and gives back the lines that were written since."""
    log, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", log)
    set_up_logs("INFO")
    yield lambda: [json.loads(line.encode()) for line in log.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_field_that_is_not_on_the_list_is_dropped(written):
    structlog.get_logger().info("request answered", status=200, patient=SECRET)
    (line,) = written()
    assert (line["event"], line["status"]) == ("request answered", 200)
    assert SECRET not in str(line)


def test_a_library_is_named_and_its_words_and_tracebacks_are_not_written(written):
    foreign = logging.getLogger("some.library")
    foreign.warning("could not read %s", SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        foreign.exception("while reading %s", SECRET, extra={"patient": SECRET})
    warned, failed = written()
    assert (warned["logger"], warned["level"]) == ("some.library", "warning")
    assert failed["error"] == "ValueError"
    assert SECRET not in f"{warned}{failed}"
