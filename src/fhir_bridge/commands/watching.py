"""What `pull --watch` shows: one line for each treating provider, refreshed on a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from datetime import datetime

    from fhir_bridge.bridge import Bridge
    from fhir_bridge.case.progress import Progress

SCREEN_SECONDS, PLAIN_SECONDS = 0.5, 5.0
_STATES = {
    "not-begun": "not begun",
    "needs-person": "a person must say who the patient is",
}


class Board:
    """
    The lines of a case's sources on `out` (standard error unless told otherwise).

    On a terminal they change in place; elsewhere a line is printed when its source takes another
    step, and every few seconds while its numbers grow.
    """

    def __init__(self, bridge: Bridge, case: str, out: TextIO | None = None) -> None:
        self._bridge, self._case, self._out = bridge, case, out or sys.stderr
        self._live = self._out.isatty()
        self._next, self._height = 0.0, 0
        self._told: dict[str, tuple[str, str, float]] = {}

    def show(self, *, last: bool = False) -> None:
        """Look again, unless it was just done; at the end of a pull in any case."""
        if time.monotonic() < self._next and not last:
            return
        self._next = time.monotonic() + SCREEN_SECONDS
        from fhir_bridge import clock

        now = clock.now()
        sources = self._bridge.store.progress.of_case(self._case, now=now)
        if self._live:
            self._redraw([line(one, now) for one in sources])
        else:
            for one in sources:
                self._print(one, now, last=last)

    def _redraw(self, lines: list[str]) -> None:
        width = shutil.get_terminal_size().columns
        up = f"\x1b[{self._height}A" if self._height else ""
        self._out.write(up + "".join(f"\r\x1b[K{text[: width - 1]}\n" for text in lines))
        self._out.flush()
        self._height = len(lines)

    def _print(self, one: Progress, now: datetime, *, last: bool) -> None:
        text, step, at = line(one, now), f"{one.standing} {one.step}", time.monotonic()
        before = self._told.get(one.source)
        if before is not None:
            grown = text != before[1] and (last or at - before[2] >= PLAIN_SECONDS)
            if step == before[0] and not grown:
                return
        self._told[one.source] = (step, text, at)
        self._out.write(f"{text}\n")
        self._out.flush()


def line(one: Progress, now: datetime) -> str:
    """
    One source in one line: the step, what came, how long it may take, why it waits.

    >>> from fhir_bridge.case.progress import Progress
    >>> line(Progress("general", "listing", requests=2, bytes=90_500), None)
    'general  listing, 90.5 kB'
    """
    facts = [_doing(one, now)]
    if one.lists:
        facts.append(_of(one.records, one.said, "records"))
    if one.files:
        facts.append(_of(one.settled, one.files, "files"))
    if one.images:
        facts.append(_of(one.held, one.images, "images"))
    if one.bytes:
        facts.append(size(one.bytes))
    left = one.seconds_left(now)
    if left is not None:
        facts.append(f"about {left:,.0f} s left")
    return f"{one.source}  {', '.join(facts)}"


def _doing(one: Progress, now: datetime) -> str:
    state = one.standing.value
    if state in ("working", "done"):
        return one.step
    doing = _STATES.get(state, state) + (f" ({one.error})" if one.error else "")
    if one.waits_until is None or one.waits_until <= now:
        return doing
    return f"{doing} until {one.waits_until:%H:%M:%S} UTC"


def _of(number: int, total: int | None, what: str) -> str:
    return f"{number:,} {what}" if total is None else f"{number:,} of {total:,} {what}"


def size(number: int) -> str:
    """
    Bytes, short.

    >>> size(900), size(1_300_000)
    ('900 B', '1.3 MB')
    """
    scale, unit = next(
        ((s, u) for s, u in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if number >= s), (1, "B")
    )
    return f"{number / scale:,.1f} {unit}" if scale > 1 else f"{number} B"
