"""Thumbnails, made in a child process that can be killed and cannot take much."""

from __future__ import annotations

import os
import subprocess  # the one module that starts a child; never a shell, never a name from outside
import sys
from pathlib import Path

from fhir_bridge.errors import Hostile, Unreadable

_PROGRAM = "fhir_bridge.standards.dicom.preview"
_UNREADABLE, _HOSTILE = 3, 4
_MAX_PNG = 4 * 1024 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"


def thumbnail(path: Path, *, size: int = 192, deadline_seconds: float = 20.0) -> bytes:
    """
    A PNG of the image in `path`, at most `size` pixels a side.

    Raises Unreadable when it has no picture that we can decode and Hostile when decoding takes
    more than the deadline, 2 GiB of memory, or ends the child. Blocks; call it from a worker.
    """
    seconds = max(1, round(deadline_seconds))
    command = [sys.executable, "-P", "-W", "ignore", "-m", _PROGRAM]
    try:
        ended = subprocess.run(  # noqa: S603 (our own interpreter and module; no shell)
            [*command, str(path), str(size), str(seconds)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline_seconds,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Hostile("a preview took longer than its deadline") from None
    if ended.returncode == _UNREADABLE:
        raise Unreadable("no picture")
    if ended.returncode != 0 or len(ended.stdout) > _MAX_PNG:
        raise Hostile(f"a preview ended its process ({ended.returncode})")
    if not ended.stdout.startswith(_PNG):
        raise Unreadable("no picture")
    return ended.stdout


def _environment() -> dict[str, str]:
    # No secrets of ours, and no thread pools: each would reserve memory that the limit forbids.
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
