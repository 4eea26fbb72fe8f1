"""The other pullers: each in an environment of its own, driven by an adapter, killed when late."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_bridge.errors import RecordError
from fhir_bridge.standards.fhir import json

ADAPTERS = Path(__file__).parents[1] / "rivals"
LATE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Rival:
    """
    One puller: its adapter `ask_<module>.py`, the oldest Python that reads its code.

    `login` tells whether it can log in by SMART Backend Services; `how` says, for the page, with
    which settings it runs.
    """

    name: str
    how: str
    python: tuple[int, int] = (3, 11)
    login: bool = False

    @property
    def adapter(self) -> Path:
        """The script that drives it."""
        return ADAPTERS / f"ask_{self.name.replace('-', '_')}.py"

    @property
    def lock(self) -> Path:
        """What is installed, with hashes."""
        return ADAPTERS / f"{self.name}.lock"

    @property
    def version(self) -> str:
        """`name version`, as its .in file pins it."""
        return self.lock.with_suffix(".in").read_text("utf-8").strip().replace("==", " ")


RIVALS = (
    Rival("smart-fetch", "command, crawl mode, patient by `--id-list`, no notes", login=True),
    Rival("fhirpy", "asynchronous client, `fetch_all`, `_count=20`"),
    Rival("fhirclient", "`perform_resources_iter`, `_count=20`"),
    Rival("fhir-pyrate", "`steal_bundles`, one process, the retries of its guide, `_count=20`"),
    Rival("helix", "`get_async`, `_count=20`", python=(3, 12)),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its standard output, or None when it was late and was killed."""

    out: str | None
    words: str


def environment(rival: Rival, folder: Path) -> Path | None:
    """The rival's Python, made once and made again when its lock changed; None without a base."""
    home = folder / rival.name
    python, stamp = home / "bin" / "python", home / ".installed"
    lock = rival.lock.read_bytes()
    if stamp.exists() and stamp.read_bytes() == lock:
        return python
    base = next(_interpreters(rival.python), None)
    if base is None:
        return None
    _must([base, "-m", "venv", "--clear", home])
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    _must([*pip, "--require-hashes", "-r", rival.lock])
    stamp.write_bytes(lock)
    return python


def _must(argv: Sequence[str | Path]) -> None:
    subprocess.run(argv, check=True)  # noqa: S603 (venv and pip)


def _interpreters(oldest: tuple[int, int]) -> Iterator[Path]:
    """This Python when it is young enough, else what stands on the path or under pyenv."""
    if sys.version_info[:2] >= oldest:
        yield Path(sys.executable).resolve()
    for minor in range(oldest[1], oldest[1] + 4):
        name = f"python3.{minor}"
        kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/{name}"))
        found = shutil.which(name)
        yield from filter(_runs, (*kept, *([Path(found)] if found else [])))


def _runs(python: Path) -> bool:
    """A name on the path may be a shim that leads nowhere."""
    tried: list[str | Path] = [python, "-c", ""]
    return not subprocess.run(tried, check=False, capture_output=True).returncode  # noqa: S603 (it)


def run(argv: Sequence[object], *, late_seconds: float = LATE_SECONDS) -> Ended:
    """Run a program and all that it starts; after `late_seconds` end exactly those."""
    with subprocess.Popen(  # noqa: S603 (our own pullers and adapters)
        [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as program:  # fmt: skip
        try:
            out, words = program.communicate(timeout=late_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            program.communicate()
            return Ended(None, "it was late and was ended")
    return Ended(out, words[-2000:])


def last_line(out: str) -> dict[str, Any] | None:
    """The JSON object that a program says last; None when it said none."""
    *_, last = ("", *out.strip().splitlines())
    try:
        return json.load_object(last.encode())
    except RecordError:
        return None


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """A new folder, taken away again when what ran in it has ended."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
