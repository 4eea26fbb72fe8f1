"""How a test comes in by the same doors as people do: a typed command, a served console."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog

from fhir_bridge.cli import main
from fhir_bridge.standards.fhir import json

PATIENCE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Typed:
    """What came of a typed command."""

    code: int
    out: str
    err: str
    raw: bytes = field(default=b"", repr=False)

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON value and nothing else."""
        return json.loads(self.out.encode())


@dataclass(slots=True)
class Desk:
    """One store and who works on it: the settings of every command that is typed here."""

    data: Path
    env: dict[str, str]

    def type(self, *words: object, code: int | None = 0) -> Typed:
        """Type a command in this process; `code` is the exit code that it must have."""
        before = dict(os.environ)
        os.environ.update(self.env)
        try:
            typed = _in_process([str(word) for word in words])
        finally:
            os.environ.clear()
            os.environ.update(before)
        return _expect(typed, code, words)

    def run(self, *words: object, code: int | None = 0, **env: str) -> Typed:
        """Type a command as its own process, as people do."""
        done = subprocess.run(
            command(*words), env=self.environment(**env), capture_output=True,
            timeout=PATIENCE_SECONDS, check=False, cwd=self.data.parent,
        )  # fmt: skip
        typed = Typed(done.returncode, done.stdout.decode(), done.stderr.decode(), done.stdout)
        return _expect(typed, code, words)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process that works on this store."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("FHIR_BRIDGE_")}
        return {**kept, **self.env, **more}

    @contextmanager
    def begun(self, *words: object, **env: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on, as its own process; stopped at the end if it still runs."""
        process = subprocess.Popen(
            command(*words), env=self.environment(**env), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=self.data.parent,
        )  # fmt: skip
        try:
            yield process
        finally:
            end(process)

    @contextmanager
    def serving(self, **env: str) -> Iterator[Served]:
        """`fhir-bridge serve` on this store."""
        with self.begun("serve", "--json", **env) as process:
            yield Served(process, json.load_object(first_line(process).encode()))


@dataclass(frozen=True, slots=True)
class Served:
    """A running service; `ready` is what it said first: `url`, `dicom`, `login`."""

    process: subprocess.Popen[str]
    ready: Mapping[str, Any]


def desk_in(folder: Path) -> Desk:
    """A store in a folder, on free ports; its receiver's port is known beforehand."""
    settings = {
        "FHIR_BRIDGE_DATA": str(folder / "bridge"),
        "FHIR_BRIDGE_PORT": str(free_port()),
        "FHIR_BRIDGE_DIMSE_PORT": str(free_port()),
        "FHIR_BRIDGE_CONFIG": "",
    }
    return Desk(folder / "bridge", settings)


def command(*words: object) -> list[str]:
    """The argv of a command as a process of its own."""
    return [sys.executable, "-m", "fhir_bridge", *map(str, words)]


def first_line(process: subprocess.Popen[str]) -> str:
    """The first line that a process says; raises AssertionError with its last words."""
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        process.wait(10)
        raise AssertionError(f"it said nothing: {process.stderr and process.stderr.read()}")
    return line


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """Stop a process that was started here; insist after a while."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None and not pipe.closed:
            pipe.close()
    return process.returncode


def free_port() -> int:
    """A port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_here(address: object) -> bool:
    """Whether a socket address stays on this machine."""
    if not isinstance(address, tuple):
        return True  # a path of a local socket
    host = str(address[0])
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in {"localhost", ""}


def started_by(pid: int) -> list[int]:
    """The children of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(number) for number in text.split()]


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _expect(typed: Typed, code: int | None, words: tuple[object, ...]) -> Typed:
    said = f"{typed.out[-2000:]}\n{typed.err[-2000:]}"
    assert code is None or typed.code == code, f"{words}: exit {typed.code}\n{said}"
    return typed


def _in_process(words: list[str]) -> Typed:
    out, err = _paper(), _paper()
    handlers, level = logging.root.handlers[:], logging.root.level
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(words)
    except SystemExit as ended:
        code = ended.code
    finally:
        structlog.reset_defaults()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    raw = _written(out)
    number = code if isinstance(code, int) else int(code is not None)
    return Typed(number, raw.decode(), _written(err).decode(), raw)


def _paper() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)


def _written(paper: io.TextIOWrapper) -> bytes:
    assert isinstance(paper.buffer, io.BytesIO)
    return paper.buffer.getvalue()
