"""A hospital in a box on the command line: half of it at a time, with or without a fault."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fhir_bridge.standards.fhir import json

from ..doors import Desk, first_line, free_port, is_alive, started_by


@pytest.mark.parametrize("half", ["ehr", "pacs"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_on_its_port_until_told_and_leaves_nothing(
    desk: Desk, small_case: Path, tmp_path: Path, half: str, number: signal.Signals
) -> None:
    port = free_port()
    words = ("simulate", half, "--port", port, "--data", small_case, "--json")
    with desk.begun(*words, TMPDIR=str(tmp_path)) as process:
        urls = json.load_object(first_line(process).encode())
        assert str(port) in str(urls["fhir" if half == "ehr" else "dimse"])
        assert (urls["dimse"] is None) == (half == "ehr")
        children = started_by(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    assert len(children) == 1
    assert not any(map(is_alive, children))
    assert list(tmp_path.glob("fhir-bridge-*")) == []


def test_a_fault_shows_in_its_answers(desk: Desk, small_case: Path) -> None:
    words = ("simulate", "ehr", "--data", small_case, "--fault", "refuse-diagnostic-reports")
    with desk.begun(*words) as process:
        urls = json.load_object(first_line(process).encode())
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{urls['fhir']}/DiagnosticReport?patient=p-1")


def test_every_fault_is_listed_with_what_it_shows(desk: Desk) -> None:
    text = desk.type("simulate", "pacs", "--faults").out
    listed = desk.type("simulate", "ehr", "--faults", "--json").json
    assert len(listed) == len(text.splitlines()) > 20
    assert {"fault", "where", "shows"} == set(listed[0])
