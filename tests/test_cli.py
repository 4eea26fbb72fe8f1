"""The console script: how errors of every kind leave it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fhir_bridge.cli import main

from .doors import Desk


def test_the_console_script_and_the_module_are_the_same_command(desk: Desk) -> None:
    script = Path(sys.executable).with_name("fhir-bridge")
    said = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[2:] == desk.run("--help").out.splitlines()[2:]


def test_an_unforeseen_error_is_one_sentence_with_exit_1(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("with a patient's name in it")

    monkeypatch.setattr("fhir_bridge.bridge.Bridge.open", broken)
    typed = desk.type("case", "list", code=1)
    assert "FB-0001" in typed.err
    assert "ZeroDivisionError" in typed.err
    assert "patient" not in typed.err
    assert typed.out == ""


def test_a_traceback_is_shown_to_an_engineer_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setenv("FHIR_BRIDGE_TRACEBACK", "1")
    monkeypatch.setattr("fhir_bridge.bridge.Bridge.open", broken)
    with pytest.raises(ZeroDivisionError):
        main(["case", "list"])


def test_a_reader_that_goes_away_leaves_no_traceback(desk: Desk) -> None:
    shell = f"{sys.executable} -m fhir_bridge simulate ehr --faults | head -n 1"
    done = subprocess.run(
        ["bash", "-c", shell], env=desk.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
