"""What a command prints: plain tables for people, JSON for scripts, one sentence for an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from fhir_bridge.errors import BridgeError
from fhir_bridge.exits import FAILED, INTERRUPTED

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def say(text: str = "") -> None:
    """One line for a person."""
    typer.echo(text)


def note(text: str) -> None:
    """One line beside the result: progress, hints."""
    typer.echo(text, err=True)


def print_json(value: object) -> None:
    """One JSON value on one line."""
    from fhir_bridge.standards.fhir import json

    typer.echo(json.dumps(value).decode())


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as they need to be."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(name), *(len(r[i]) for r in cells)) if cells else len(name)
              for i, name in enumerate(head)]  # fmt: skip
    for line in ([name.upper() for name in head], *cells):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())


def report(error: Exception) -> int:
    """Print an error as advice and code; returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, TyperException):
        # Wrong words: what typer raises shows itself, with the usage of the command.
        show = getattr(error, "show", lambda: note(error.message))
        show()
        return error.exit_code
    if isinstance(error, BridgeError):
        detail = f" ({error.detail})" if error.detail else ""
        note(f"{error.code}: {error.advice}{detail}")
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        sys.stderr.close()
        return FAILED
    if os.environ.get("FHIR_BRIDGE_TRACEBACK"):
        raise error
    note(
        f"FB-0001: something went wrong inside the bridge ({type(error).__name__}). "
        "FHIR_BRIDGE_TRACEBACK=1 shows where."
    )
    return FAILED
