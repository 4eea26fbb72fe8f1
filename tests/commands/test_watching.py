"""Lines of progress: in place on a terminal, one after the other in a file."""

from __future__ import annotations

import doctest
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fhir_bridge import clock
from fhir_bridge.case.progress import Listing, Pace, Progress
from fhir_bridge.commands import watching
from fhir_bridge.commands.watching import Board, line

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
AT_WORK = Progress(
    "general", step="fetching documents", pace=Pace(20, 10.0), requests=30, bytes=3_400_000,
    lists=(Listing(ended=False, got=1412, said=2000, page_size=100),), files=50, settled=30,
)  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def board(sources: list[Progress], out: io.StringIO) -> Board:
    progress = SimpleNamespace(of_case=lambda case, now: sources)
    bridge: Any = SimpleNamespace(store=SimpleNamespace(progress=progress))
    return Board(bridge, "c1", out)


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(watching, "SCREEN_SECONDS", 0.0)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(watching).failed == 0


def test_a_line_says_the_step_the_counts_and_how_long_it_may_take() -> None:
    assert line(AT_WORK, NOW) == (
        "general  fetching documents, 1,412 of 2,000 records, 30 of 50 files, 3.4 MB, "
        "about 13 s left"
    )
    images = replace(AT_WORK, step="fetching images", images=90, held=12, pace=Pace())
    assert "12 of 90 images, 3.4 MB" in line(images, NOW)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"step": "waiting", "error": "FB-2002", "waits_until": NOW + timedelta(seconds=30)},
         "general  waiting (FB-2002) until 14:00:30 UTC, "),
        ({"step": "waiting", "error": "FB-2002", "waits_until": NOW},
         "general  waiting (FB-2002), "),
        ({"told": "pause"}, "general  pausing, "),
        ({"step": "paused"}, "general  paused, "),
        ({"step": ""}, "general  not begun, "),
        ({"step": "asks who the patient is", "error": "FB-3002"},
         "general  a person must say who the patient is (FB-3002), "),
        ({"step": "failed", "error": "FB-2003"}, "general  failed (FB-2003), "),
    ],
)  # fmt: skip
def test_a_line_says_why_nothing_moves(changed: dict[str, Any], says: str) -> None:
    assert line(replace(AT_WORK, **changed), NOW).startswith(says)


def test_a_terminal_shows_one_line_for_each_source_in_place(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    sources, out = [AT_WORK, Progress("st-anne")], Terminal()
    shown = board(sources, out)
    shown.show()
    sources[0] = replace(AT_WORK, step="done")
    shown.show()
    first, second = out.getvalue().split("\x1b[2A")
    assert first == "\r\x1b[Kgeneral  fetching documents, 1,412 of 2\n\r\x1b[Kst-anne  not begun\n"
    assert second.startswith("\r\x1b[Kgeneral  done, 1,412 of 2,000 records,")


def test_elsewhere_a_line_is_printed_when_the_step_changes_and_at_the_end() -> None:
    sources, out = [AT_WORK], io.StringIO()
    shown = board(sources, out)
    for got in (1500, 1600):
        shown.show()
        sources[0] = replace(AT_WORK, lists=(Listing(ended=False, got=got, said=2000),))
    sources[0] = replace(sources[0], step="checking")
    shown.show()
    sources[0] = replace(sources[0], files=51)
    shown.show(last=True)
    shown.show(last=True)
    steps = [text.split("  ")[1].split(",")[0] for text in out.getvalue().splitlines()]
    assert steps == ["fetching documents", "checking", "checking"]


def test_in_a_file_growing_numbers_are_told_every_few_seconds(monkeypatch) -> None:
    monkeypatch.setattr(watching, "PLAIN_SECONDS", 0.0)
    sources, out = [AT_WORK], io.StringIO()
    shown = board(sources, out)
    shown.show()
    shown.show()
    sources[0] = replace(AT_WORK, settled=31)
    shown.show()
    assert len(out.getvalue().splitlines()) == 2
