"""One race: every contestant in turn, in a process of its own, against the same hospital."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench.chaos.rivals import RIVALS, environment, last_line, run
from bench.pull.chart import TYPES, Workload

from fhir_bridge.standards.fhir import json

HERE = Path(__file__).parent
OURS, FLOOR, LOOP = "fhir-bridge", "the wire", "plain loop"
SMART_FETCH, FHIRPY, GATHERED = "SMART Fetch", "fhirpy", "fhirpy, hand-written 16 at once"
PEERS = (SMART_FETCH, FHIRPY)
KNOWN = ("smart-fetch", "fhirpy")
LATE_SECONDS = 900.0
Told = dict[str, Any]


@dataclass(slots=True)
class Race:
    """What each contestant told in each round of one workload at one delay."""

    workload: Workload
    delay: float
    told: dict[str, list[Told]] = field(default_factory=dict)

    def seconds(self, name: str) -> float:
        """The median of a contestant."""
        return statistics.median(one["seconds"] for one in self.told[name])

    def most(self, what: str) -> float:
        """The most of something of ours: `rss_mb`, `connections`."""
        return max(float(one[what]) for one in self.told[OURS])

    def ratio(self, name: str) -> float:
        """How many times as long as ours a contestant took; the median of the rounds' ratios."""
        pairs = zip(self.told[name], self.told[OURS], strict=True)
        return statistics.median(one["seconds"] / ours["seconds"] for one, ours in pairs)


@contextmanager
def hospital(workload: Workload) -> Iterator[str]:
    """The base of a hospital with the workload's chart, for as long as it is needed."""
    argv = [sys.executable, "-m", "bench.pull.server", workload.name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 (ours)
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()


def set_delay(root: str, delay: float) -> Mapping[str, Any]:
    """Set the delay; returns what the hospital was asked since it was set before."""
    with urlopen(f"{root}/control?delay={delay}", timeout=60) as answer:  # noqa: S310 (loopback)
        return json.load_object(answer.read())


def contestants(rivals: Path, patients: int) -> Mapping[str, Sequence[object]]:
    """The command of each, without the base that comes after the script."""
    python = {rival.name: environment(rival, rivals) for rival in RIVALS if rival.name in KNOWN}
    kinds = ",".join(TYPES)
    found: dict[str, Sequence[object]] = {LOOP: [sys.executable, HERE / "loop.py", patients, kinds]}
    if python["smart-fetch"]:
        script = HERE / "rival_smart_fetch.py"
        found[SMART_FETCH] = [python["smart-fetch"], script, patients, kinds]
    if python["fhirpy"]:
        script = HERE / "rival_fhirpy.py"
        found[FHIRPY] = [python["fhirpy"], script, patients, kinds, 1]
        found[GATHERED] = [python["fhirpy"], script, patients, kinds, 16]
    return found


def race(
    root: str, workload: Workload, delay: float, rounds: int, others: Mapping[str, Sequence[object]]
) -> Race:
    """Run all of them `rounds` times, one after the other, ours and the bare wire first."""
    found = Race(workload, delay)
    for _ in range(rounds):
        ours = ours_once(root, workload, delay)
        _note(found, OURS, ours)
        _note(found, FLOOR, _floor(root, ours.pop("asked"), ours["connections"]))
        for name, (python, script, *words) in others.items():
            _note(found, name, _told([python, script, f"{root}/fhir", *words]))
    return found


def ours_once(root: str, workload: Workload, delay: float) -> Told:
    """Our pull into a store of its own; with what it asked, and how many requests at a time."""
    set_delay(root, delay)
    with tempfile.TemporaryDirectory(dir=Path("build")) as folder:
        argv = [sys.executable, "-m", "bench.pull.ours", f"{root}/fhir", workload.name, folder]
        told = _told(argv)
    noted = set_delay(root, delay)
    return {**told, "asked": noted["asked"], "connections": noted["most"]}


def _floor(root: str, asked: list[str], connections: int) -> Told:
    with tempfile.NamedTemporaryFile("wb") as file:
        file.write(json.dumps(asked))
        file.flush()
        argv = [sys.executable, "-m", "bench.pull.floor", f"{root}/fhir", file.name, connections]
        return _told(argv)


def chain_alone(root: str) -> Told:
    """The page chains of a chart, each page downloaded and thrown away."""
    return _told([sys.executable, "-m", "bench.pull.floor", f"{root}/fhir", ",".join(TYPES), 0])


def _note(found: Race, name: str, told: Told) -> None:
    found.told.setdefault(name, []).append(told)
    print(f"  {name}: {told['seconds']:.2f} s", flush=True)  # noqa: T201 (what a command tells)


def _told(argv: Sequence[object]) -> Told:
    ended = run(argv, late_seconds=LATE_SECONDS)
    told = last_line(ended.out or "")
    if told is None:
        raise SystemExit(f"{argv[1]} {argv[2]} told nothing: {ended.words}")
    return {**told, "seconds": float(told["seconds"])}
