"""
A worker as a process of its own: the real engine and slots, with steps that only write a journal.

Started as `python worker_process.py URL FOLDER MOOD LEASE`; says its slot when it works, and stops
at SIGTERM. MOOD is what happens in the one round of a pull: `sleep:2.5`, `die`, or nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from fhir_bridge import clock
from fhir_bridge.store.database import Database, make_engine, make_job_engine
from fhir_bridge.store.slots import take_slot
from fhir_bridge.store.workers import Workers
from fhir_bridge.workflows import Engine


@dataclass(frozen=True, slots=True)
class Scripted:
    """workflows.PullSteps and CaseSteps, told what to do by a mood."""

    journal: Path
    mood: str = ""

    def note(self, what: str) -> None:
        """Append a line; one write, so that processes never mix."""
        with self.journal.open("ab", buffering=0) as journal:
            journal.write(f"{what} {os.getpid()}\n".encode())

    def connect(self, case_id: str, source: str, run: int) -> Mapping[str, Any]:
        self.note(f"connect {case_id}")
        return {"ready": True}

    def collect(self, case_id: str, source: str, impatient: bool) -> Mapping[str, Any]:
        self.note(f"begun {case_id}")
        verb, _, argument = self.mood.partition(":")
        if verb == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(argument or 0))
        self.note(f"ended {case_id}")
        return {"more": False, "moved": True, "rest": 0.0, "told": ""}

    def image(self, case_id: str, source: str, run: int) -> int:
        return 0

    def close(self, case_id: str, source: str) -> str:
        return "proven"

    def again(self, case_id: str, source: str, error: str) -> float:
        return 0.0

    def retry(self, case_id: str, run: int, sources: Sequence[str]) -> None:
        self.note(f"retry {case_id}")

    def assemble(self, case_id: str) -> int:
        self.note(f"assembled {case_id}")
        return 1

    def advance(self, delivery_id: str) -> Mapping[str, Any]:
        self.note(f"advanced {delivery_id}")
        return {"done": True, "state": "confirmed", "wait": 0}

    def stopped(self, case_id: str, source: str, error: str) -> None:
        self.note(f"stopped {case_id} {source} {error}")


def engine_over(url: str, database: Database, workers: Workers, lease: float) -> Engine:
    """The job engine over a store's rows."""
    return Engine(
        database.engine,
        connections=make_job_engine(url),
        slots=workers,
        now=clock.now,
        lease_seconds=lease,
        workers=4,
    )


def main(url: str, folder: Path, mood: str, lease: float) -> None:
    """Work until SIGTERM."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    database = Database(make_engine(url))
    database.migrate()
    engine = engine_over(url, database, Workers(database, lease=timedelta(seconds=lease)), lease)
    slot, steps = take_slot(folder / "slots"), Scripted(folder / "journal", mood)
    engine.start(slot.name, steps, steps)
    sys.stdout.write(f"{slot.name}\n")
    sys.stdout.flush()
    over.wait()
    if not engine.stop(grace_seconds=3):
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
