"""Every command explains itself, with an example, and at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ..doors import Desk

GROUPS = ("case", "provider", "opinion", "simulate")
COMMANDS = (
    "demo", "serve", "pull", "doctor", "provider add", "provider list", "provider test",
    "case new", "case list", "case show", "case ledger", "case certificate", "case record",
    "case confirm", "case release", "opinion finish", "opinion status", "simulate ehr",
    "simulate pacs",
)  # fmt: skip
HEAVY = (
    "fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "pydicom", "pynetdicom", "dbos",
    "httpx2", "numpy", "typst", "fhir.resources", "jinja2", "lxml", "cryptography", "structlog",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself_with_an_example_and_offers_json(desk: Desk, name: str) -> None:
    said = desk.type(*name.split(), "--help").out
    assert f"fhir-bridge {name}" in said.partition("Example:")[2]
    assert "--json" in said


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_explains_itself_with_an_example(desk: Desk, name: str) -> None:
    said = desk.type(name, "--help").out
    assert f"fhir-bridge {name}" in said.partition("Example:")[2]


def test_the_root_names_every_command_and_what_the_exit_codes_mean(desk: Desk) -> None:
    said = desk.type("--help").out
    assert {name.split()[0] for name in COMMANDS} <= set(said.split())
    for meaning in ("0 done", "3 partial", "4 needs a person", "7 configuration", "130"):
        assert meaning in " ".join(said.split())


def test_help_loads_no_heavy_library() -> None:
    """Ten libraries at start would make every --help wait for a second or more."""
    asked = [[*name.split(), "--help"] for name in ("", *GROUPS, *COMMANDS)]
    script = f"""
import sys
from fhir_bridge.cli import main
for words in {asked!r}:
    try:
        main(words)
    except SystemExit as ended:
        assert ended.code == 0, words
print("LOADED", *(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED"
