"""How a hospital is started from elsewhere: its command line, and a context manager over it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from fhir_bridge.simulators.wire import read_json

NAME = "General Hospital"
STOP_SECONDS = 5.0


class HospitalDidNotStart(Exception):
    """No ready line before the deadline; the text is what the process said last."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    What one hospital is started with.

    `data` is a case folder, `state` keeps what is written into the chart (created when missing).
    Port 0 is any free port; a port that is taken gives way to the next free one. Without
    `client_id` and `jwks_url` the hospital has to be `open_door` (no login). `bridge_dimse` is
    `AET@HOST:PORT`, the only C-MOVE destination and where pushes go. `only` is "ehr" or "pacs".
    `profile` is a vendor whose manners the EHR has. `captures` is a folder of captured answers, by
    vendor, that the EHR gives in place of its own.
    """

    data: Path
    state: Path
    client_id: str | None = None
    jwks_url: str | None = None
    bridge_dimse: str | None = None
    http_port: int = 0
    dimse_port: int = 0
    only: str | None = None
    open_door: bool = False
    faults: tuple[str, ...] = ()
    profile: str | None = None
    captures: Path | None = None


def command(options: Options) -> list[str]:
    """The argv that starts this hospital with the interpreter that runs now."""
    argv = [sys.executable, "-X", "utf8", "-m", "fhir_bridge.simulators"]
    argv += ["--data", str(options.data), "--state", str(options.state)]
    argv += ["--http-port", str(options.http_port), "--dimse-port", str(options.dimse_port)]
    for flag, value in (
        ("--client-id", options.client_id),
        ("--jwks-url", options.jwks_url),
        ("--bridge-dimse", options.bridge_dimse),
        ("--only", options.only),
        ("--profile", options.profile),
        ("--captures", str(options.captures) if options.captures else None),
    ):
        argv += [flag, value] if value else []
    argv += ["--open"] if options.open_door else []
    return argv + [word for name in options.faults for word in ("--fault", name)]


@dataclass(slots=True)
class RunningHospital:
    """A hospital's process; `urls` is its ready line (name, fhir, dicomweb, dimse, control...)."""

    urls: Mapping[str, str | None]
    process: subprocess.Popen[str] = field(repr=False)

    def stop(self) -> None:
        """Ask it to stop, insist after five seconds; safe to call twice."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_hospital(options: Options, *, deadline_seconds: float = 60.0) -> RunningHospital:
    """Start a hospital and wait until it serves; raises HospitalDidNotStart."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        # A session of its own: Ctrl-C at the terminal reaches it through its parent, in order.
        process = subprocess.Popen(
            command(options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
            text=True, encoding="utf-8", start_new_session=True,
        )  # fmt: skip
        hospital = RunningHospital({}, process)
        try:
            hospital.urls = read_json(_ready_line(process, deadline_seconds))
        except ValueError as silent:
            hospital.stop()
            raise HospitalDidNotStart(_last_words(said)) from silent
        except BaseException:
            hospital.stop()
            raise
    return hospital


def _ready_line(process: subprocess.Popen[str], deadline_seconds: float) -> str:
    """The first line of stdout; empty when the process ends or is too slow."""
    watchdog = threading.Timer(deadline_seconds, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline() if process.stdout is not None else ""
    finally:
        watchdog.cancel()


def _last_words(said: IO[str]) -> str:
    said.seek(0)
    return said.read()[-2000:].strip() or "it ended or was too slow, without a word"
