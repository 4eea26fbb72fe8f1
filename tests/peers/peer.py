"""What all foreign peers share: is it installed, a free port, start, wait until ready, stop."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
BUILT = ROOT / "build" / "peers"
REQUIRED = os.environ.get("FHIR_BRIDGE_PEERS") == "require"
LOOPBACK = "127.0.0.1"

MISSING: set[str] = set()
"""Names of the peers that a test asked for and this machine does not have."""

# An empty proxy table: a proxy named in the environment must not see loopback traffic.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PeerFailed(RuntimeError):
    """A peer that is installed did not start, or did not answer in time; the text ends its log."""


def need(peer: str, *places: str | Path) -> None:
    """
    Go on if every place exists: a path, or the name of a command on the search path.

    Otherwise skip the test, or fail it where FHIR_BRIDGE_PEERS=require, and name the way out.
    """
    if all(_exists(place) for place in places):
        return
    MISSING.add(peer)
    sentence = f"the peer {peer} is not installed here; `make peers` installs it"
    if REQUIRED:
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def _exists(place: str | Path) -> bool:
    return shutil.which(place) is not None if isinstance(place, str) else place.exists()


def free_port() -> int:
    """A loopback TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Return when ready() is true; raise PeerFailed after so many seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise PeerFailed(f"{what} was not ready within {seconds} s")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether an HTTP GET of this URL is answered with a 2xx."""
    try:
        with _OPENER.open(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def listens(port: int) -> bool:
    """Whether a TCP connection to this loopback port is accepted."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


@contextmanager
def running(
    argv: Sequence[str | Path],
    log: Path,
    *,
    ready: Callable[[], bool],
    seconds: float = 30,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    ended_by: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a peer in its own process group until the block ends; its output goes to the log.

    Raises PeerFailed with the end of the log if it dies or is not ready in time.
    """
    with log.open("ab") as output:
        peer = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        _wait_for(peer, log, ready, seconds)
        yield peer
    finally:
        stop(peer, ended_by)


def _wait_for(
    peer: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool], seconds: float
) -> None:
    name = Path(str(peer.args[0] if isinstance(peer.args, list) else peer.args)).name

    def ready_or_dead() -> bool:
        return peer.poll() is not None or ready()

    try:
        wait_until(ready_or_dead, name, seconds)
    except PeerFailed as late:
        raise PeerFailed(f"{late}: {_tail(log)}") from None
    if peer.poll() is not None:
        raise PeerFailed(f"{name} ended with {peer.returncode}: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def stop(peer: subprocess.Popen[bytes], ended_by: signal.Signals = signal.SIGTERM) -> None:
    """End the peer's process group, at first politely, and reap it."""
    for sent in (ended_by, signal.SIGKILL):
        try:
            os.killpg(peer.pid, sent)
        except ProcessLookupError:
            break
        try:
            peer.wait(10)
        except subprocess.TimeoutExpired:
            continue
        break
    peer.wait(10)
