"""Slots on this machine: a lock file per worker, freed by the system the moment a worker dies."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fhir_bridge.errors import ConfigurationError

MOST = 64


@dataclass(slots=True)
class Slot:
    """A taken slot: its name is the executor id of the job engine."""

    name: str
    _lock: IO[str]

    def free(self) -> None:
        """Give it back."""
        self._lock.close()


def take_slot(folder: Path) -> Slot:
    """
    The first free slot of this store on this machine.

    A worker that was killed leaves its slot free at once, so its restart takes the same name and
    goes on with the same work; nobody waits for a lease.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MOST + 1):
        lock = (folder / f"slot-{number}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        lock.write(str(os.getpid()))
        lock.flush()
        return Slot(f"{socket.gethostname()}-{number}", lock)
    raise ConfigurationError(f"more than {MOST} workers on one machine")


def is_abandoned(folder: Path, name: str) -> bool:
    """
    Whether a slot of this machine has no worker any more, whatever its heartbeat still says.

    False for a slot of another machine: of those only the heartbeat tells.
    """
    host, _, number = name.rpartition("-")
    if host != socket.gethostname():
        return False
    try:
        with (folder / f"slot-{number}").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """
    One process of this machine at a time: SQLite refuses at once, without waiting, when several
    make a new file a write-ahead one at the same moment.
    """
    try:
        held = lock.open("w")
    except OSError as error:
        kind = type(error).__name__
        raise ConfigurationError(f"FHIR_BRIDGE_DATA cannot be used ({kind})") from None
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
