"""The foreign judges of a FHIR document: HAPI FHIR's validator, Medplum's, and fhirkit-rs."""

from __future__ import annotations

import queue
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import simplejson

from . import fhirkit
from .peer import BUILT, HERE, PeerFailed, need, stop
from .resource_file import written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

HAPI = BUILT / "validator"
MEDPLUM = HERE / "node" / "node_modules" / "@medplum" / "definitions"
# Short-lived and read-mostly: the first compiler alone and one collector start fastest.
_JVM = ("-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class Judge(Protocol):
    """Whoever can say what is wrong with a FHIR R4 resource."""

    def validate(self, resource: Mapping[str, Any] | bytes) -> list[str]:
        """The errors as `location: message`, none if it is valid. Warnings are left out."""


@dataclass(frozen=True, slots=True)
class LineServer:
    """A validator that reads one file path a line and answers one line of JSON."""

    name: str
    program: subprocess.Popen[bytes]
    lines: queue.Queue[bytes]

    def validate(self, resource: Mapping[str, Any] | bytes) -> list[str]:
        """The errors as `location: message`; raises PeerFailed without an answer in 60 s."""
        with written(resource) as file:
            answer = self._ask(file)
        return [f"{error['location']}: {error['message']}" for error in answer["errors"]]

    def wait_until_ready(self) -> None:
        """Read the line that says the definitions are loaded."""
        self._next_line()

    def _ask(self, file: Path) -> dict[str, Any]:
        if self.program.stdin is None:
            raise PeerFailed(f"{self.name} takes no questions")
        self.program.stdin.write(f"{file}\n".encode())
        self.program.stdin.flush()
        return dict(simplejson.loads(self._next_line()))

    def _next_line(self) -> bytes:
        try:
            line = self.lines.get(timeout=60)
        except queue.Empty:
            raise PeerFailed(f"{self.name} did not answer within 60 s") from None
        if not line:
            raise PeerFailed(f"{self.name} ended")
        return line


@dataclass(frozen=True, slots=True)
class Judges:
    """All judges that run here, by name."""

    by_name: Mapping[str, Judge]

    def judge(self, document: Mapping[str, Any] | bytes) -> dict[str, list[str]]:
        """What each judge calls an error in this document, by its name; all empty if valid."""
        return {name: judge.validate(document) for name, judge in self.by_name.items()}


@contextmanager
def hapi() -> Iterator[LineServer]:
    """The HAPI FHIR instance validator for R4: profiles, invariants, bindings, document rules."""
    need("hapi-fhir-validator", "java", HAPI / "classes" / "Validator.class")
    classpath = f"{HAPI / 'classes'}:{HAPI / 'lib'}/*"
    with _line_server("hapi", ["java", *_JVM, "-cp", classpath, "Validator"]) as server:
        yield server


@contextmanager
def medplum() -> Iterator[LineServer]:
    """Medplum's validateResource: structure and the invariants of the base profiles."""
    need("medplum", "node", MEDPLUM)
    with _line_server("medplum", ["node", str(HERE / "node" / "validate.mjs")]) as server:
        yield server


@contextmanager
def _line_server(name: str, argv: Sequence[str]) -> Iterator[LineServer]:
    program = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = LineServer(name, program, queue.Queue())
    reader = threading.Thread(target=_read_lines, args=(program, server.lines))
    reader.start()
    try:
        server.wait_until_ready()
        yield server
    finally:
        stop(program)
        reader.join()
        for pipe in (program.stdin, program.stdout):
            if pipe:
                pipe.close()


def _read_lines(program: subprocess.Popen[bytes], lines: queue.Queue[bytes]) -> None:
    """Put each line into the queue, and an empty one at the end."""
    for line in program.stdout or ():
        lines.put(line)
    lines.put(b"")


@contextmanager
def all_judges() -> Iterator[Judges]:
    """Start all three."""
    with ExitStack() as stack:
        yield Judges(
            {
                "hapi": stack.enter_context(hapi()),
                "medplum": stack.enter_context(medplum()),
                "fhirkit": fhirkit.installed(),
            }
        )
