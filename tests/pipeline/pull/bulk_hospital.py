"""A hospital in the box with two patients, and everything that one export of it needs."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_bridge.case.case import Case
from fhir_bridge.clients.bulk import BulkClient, kick_offs
from fhir_bridge.clients.fhir import FhirClient
from fhir_bridge.clients.http import Wire
from fhir_bridge.clients.patience import Patience
from fhir_bridge.pipeline.pull import bulk, pages
from fhir_bridge.pipeline.pull.bulk import Done
from fhir_bridge.pipeline.pull.source import Source
from fhir_bridge.simulators import service
from fhir_bridge.simulators.hospital import Options
from fhir_bridge.simulators.wire import write_json
from fhir_bridge.store.exports import Exports
from fhir_bridge.store.shelves import Store

from .fake_ehr import NOW, lines, patient, source_of

TYPES = ("DocumentReference", "DiagnosticReport")
OURS, THEIRS, REPORTS = 12, 5, 3
# What text readers take for an end of line, and characters of two to four bytes.
ODD = "Ünïcödé\u2028\u0085 日本 🩻"


def chart() -> dict[str, list[dict[str, Any]]]:
    def about(kind: str, id_: str, whose: str) -> dict[str, Any]:
        meta = {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z"}
        return {
            "resourceType": kind, "id": id_, "meta": meta, "status": "current",
            "description": ODD, "subject": {"reference": f"Patient/{whose}"},
        }  # fmt: skip

    documents = [about("DocumentReference", f"d{n}", "p1") for n in range(OURS)]
    others = [about("DocumentReference", f"o{n}", "p2") for n in range(THEIRS)]
    for one in [*documents, *others]:
        one["content"] = []
    mixed = [one for pair in zip(documents, others, strict=False) for one in pair]
    meta = {"meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z"}}
    return {
        "Patient": [patient() | meta, patient("p2", identifier=[{"value": "9"}]) | meta],
        "DocumentReference": mixed + documents[THEIRS:],
        "DiagnosticReport": [about("DiagnosticReport", f"r{n}", "p1") for n in range(REPORTS)],
    }


def write_chart(folder: Path) -> Path:
    (folder / "ehr").mkdir(parents=True)
    for kind, many in chart().items():
        (folder / "ehr" / f"{kind}.json").write_bytes(write_json(many))
    return folder


@contextmanager
def hospital(folder: Path, state: Path, *faults: str) -> Iterator[dict[str, Any]]:
    """A hospital in this process, on a real port, without login; stopped at the end."""
    options = Options(folder, state, only="ehr", open_door=True, faults=faults)
    built = service.build(options)
    ready = threading.Event()
    serving = threading.Thread(
        target=lambda: asyncio.run(built.run(lambda _urls: ready.set())), daemon=True
    )
    serving.start()
    assert ready.wait(10)
    try:
        yield dict(built.urls)
    finally:
        built.leave()
        serving.join(10)
        built.close()


@dataclass
class Visit:
    """One case's export at one hospital: its source, its desk, its jobs."""

    store: Store
    case: Case
    source: Source
    ehr: FhirClient
    desk: BulkClient
    jobs: Exports

    def begin(self, *, of: str = "everybody", run: int = 1, since: str = "") -> bool:
        paths = kick_offs(of, "p1")
        return bulk.begin(self.source, self.jobs, TYPES, run, paths=paths, since=since)

    def steps(self, *, most: int = 200) -> tuple[Done, list[float]]:
        """The export to its end, without the waits; how long each would have been."""
        waits: list[float] = []
        for _ in range(most):
            ended = bulk.step(self.source, self.desk, self.jobs)
            if isinstance(ended, Done):
                return ended, waits
            waits.append(ended.seconds)
        raise AssertionError("the export has no end")

    def pages(self, left: Sequence[str]) -> None:
        """What the export left open, page by page, and then the counts."""
        for type_ in left:
            while pages.turn(self.source, self.ehr, type_):
                pass
        for type_ in TYPES:
            pages.recount(self.source, self.ehr, type_)

    def held(self, kind: str = "DocumentReference") -> set[str]:
        rows = self.store.ledgers.rows(self.case.id)
        return {row.key.id for row in rows if row.key.kind == kind and row.original}

    def line(self, kind: str = "DocumentReference") -> Any:
        return lines(self.source)[kind]

    def export(self) -> Any:
        return self.jobs.get(self.case.id, self.source.id)

    def requests(self) -> list[str]:
        return [row.request for row in self.store.originals.of_case(self.case.id)]


@contextmanager
def visit(store: Store, case: Case, base: str, **wire: Any) -> Iterator[Visit]:
    opened = Wire.open(
        "st-anne", base, keep=store.originals, now=lambda: NOW, new_id=lambda: str(uuid.uuid4()),
        patience=Patience(first_seconds=0.01, longest_seconds=0.02), **wire,
    ).for_case(case.id)  # fmt: skip
    ehr = FhirClient(base, opened)
    source = source_of(store, case, ehr)  # type: ignore[arg-type]
    jobs = Exports(store.database, store.originals)
    try:
        yield Visit(store, case, source, ehr, BulkClient(base, opened), jobs)
    finally:
        opened.close()
