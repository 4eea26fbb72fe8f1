"""DCMTK's command-line SCUs and its storescp, and dicom3tools' dciodvfy, all time-bounded."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .peer import LOOPBACK, free_port, listens, need, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Node:
    """A DICOM application entity to call."""

    aet: str
    port: int
    host: str = LOOPBACK


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and all that it printed."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """A running storescp; what it receives lands in the folder, bit for bit."""

    node: Node
    folder: Path


@dataclass(frozen=True, slots=True)
class Dcmtk:
    """DCMTK's clients, calling as this AE title; every call ends within `seconds`."""

    aet: str = "DCMTK"
    seconds: float = 60

    def echo(self, node: Node) -> Ran:
        """C-ECHO."""
        return self.run("echoscu", *self._call(node))

    def store(self, node: Node, files: Sequence[Path], *options: str) -> Ran:
        """C-STORE with storescu; `-R` (propose only what is needed) unless options say more."""
        return self.run("storescu", "-R", *options, *self._call(node), *map(str, files))

    def send(self, node: Node, folder: Path, *options: str) -> Ran:
        """C-STORE of a folder's DICOM files with dcmsend, as they are (no transcoding)."""
        options = ("--scan-directories", "--recurse", "--no-halt", "--decompress-never", *options)
        return self.run("dcmsend", *options, *self._call(node), str(folder))

    def find(self, node: Node, *keys: str) -> Ran:
        """Study Root C-FIND; keys like `StudyInstanceUID=1.2.3`, level by QueryRetrieveLevel."""
        return self.run("findscu", "-S", *_keys(keys), *self._call(node))

    def get(self, node: Node, into: Path, *keys: str) -> Ran:
        """Study Root C-GET into a folder, bit for bit."""
        return self.run("getscu", "-S", "+B", "-od", str(into), *_keys(keys), *self._call(node))

    def move(self, node: Node, destination: str, *keys: str) -> Ran:
        """Study Root C-MOVE to an AE title that the node knows."""
        return self.run("movescu", "-S", "-aem", destination, *_keys(keys), *self._call(node))

    def run(self, program: str, *arguments: str) -> Ran:
        """Any DCMTK program. Raises subprocess.TimeoutExpired."""
        need("dcmtk", program)
        # -v: every DIMSE status and every rejected presentation context is said.
        ended = subprocess.run(
            [program, "-v", *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=self.seconds,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
        return Ran(ended.returncode, ended.stdout.decode(errors="replace"))

    def _call(self, node: Node) -> tuple[str, ...]:
        return ("-aet", self.aet, "-aec", node.aet, node.host, str(node.port))


def _keys(keys: Sequence[str]) -> list[str]:
    return [word for key in keys for word in ("-k", key)]


def iod_errors(file: Path) -> list[str]:
    """What dciodvfy calls an error in a DICOM file, measured against its IOD (PS3.3)."""
    need("dicom3tools", "dciodvfy")
    ended = subprocess.run(
        ["dciodvfy", str(file)],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    lines = ended.stdout.decode(errors="replace").splitlines()
    return [line for line in lines if line.startswith("Error - ")]


@contextmanager
def receiving(folder: Path, *options: str, aet: str = "STORESCP") -> Iterator[Receiver]:
    """Run storescp on a free port, writing into the folder; options inject faults (`--refuse`)."""
    need("dcmtk", "storescp")
    port, into = free_port(), folder / "received"
    into.mkdir(exist_ok=True)
    argv = ["storescp", "-v", "+xa", "+B", *options, "-aet", aet, "-od", str(into), str(port)]
    with running(
        argv, folder / "storescp.log", ready=lambda: listens(port), env={"TCP_NODELAY": "1"}
    ):
        yield Receiver(Node(aet, port), into)
