"""kill -9 in the middle of pushes: every acknowledged image is there afterwards, once."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, _config

KILLS, IMAGES, SENDERS = 3, 50, 2  # images a kill


@contextlib.contextmanager
def served(folder: Path):
    program = Path(__file__).parent / "serve_shelf.py"
    command = [sys.executable, str(program), str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = next(int(line.split()[1]) for line in child.stdout if line.startswith("port "))
        yield child, port
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def push_all(port: int, paths: list[Path], acknowledged: set[str]) -> None:
    """Send until the other side is gone; note each image that was answered with success."""
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(CTImageStorage, [ExplicitVRLittleEndian])
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 2
    association = entity.associate("127.0.0.1", port, ae_title="FHIRBRIDGE")
    if not association.is_established:
        return
    raw = association.dul.socket.socket
    for path in paths:
        with contextlib.suppress(RuntimeError, AttributeError):
            if association.send_c_store(path).Status == 0x0000:
                acknowledged.add(path.stem)
    if association.is_established:
        association.release()
    raw.close()


@pytest.fixture
def images(stand, tmp_path):
    paths = []
    for number in range(1, IMAGES * KILLS + 1):
        made = stand.dataset(number)
        path = tmp_path / f"{made.SOPInstanceUID}.dcm"
        path.write_bytes(stand.part10(made))
        paths.append(path)
    return paths


def test_no_acknowledged_image_is_lost_and_none_is_there_twice(
    stand, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    folder, acknowledged = tmp_path / "shelf", set()
    moments = random.Random(7)
    for turn in range(KILLS):
        mine = images[turn * IMAGES : (turn + 1) * IMAGES]
        goal = len(acknowledged) + moments.randrange(1, IMAGES * 3 // 4)
        with served(folder) as (child, port):
            threads = [
                threading.Thread(target=push_all, args=(port, mine[n::SENDERS], acknowledged))
                for n in range(SENDERS)
            ]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + 20
            while len(acknowledged) < goal and time.monotonic() < deadline:
                time.sleep(0.001)
            child.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join(30)
        assert goal <= len(acknowledged) < (turn + 1) * IMAGES, "killed in the middle"
        held = stand.FolderShelf(folder)
        rows = [row["sop"] for row in held.rows()]
        assert acknowledged <= set(rows)
        assert len(rows) == len(set(rows))
        for row in held.rows():
            path = next(p for p in images if p.stem == row["sop"])
            assert held.body(row["sha256"]).endswith(stand.bare(path.read_bytes()))
    print(f"{len(acknowledged)} acknowledged over {KILLS} kills, all there, once")
