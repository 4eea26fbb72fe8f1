"""A hospital goes on working: each further pull finds what it amended, deleted and merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json

from .. import small_case as small
from ..doors import Desk, free_port
from . import crash

Record = dict[str, Any]
DOCUMENTS, REPORTS = ("GET", "/fhir/DocumentReference"), ("GET", "/fhir/DiagnosticReport")


@dataclass(slots=True)
class Chart:
    """A case folder that is edited while its hospital is closed, and served again at one port."""

    folder: Path
    start: Callable[..., RunningHospital]
    port: int = field(default_factory=free_port)
    open: RunningHospital | None = None

    def opened(self) -> RunningHospital:
        if self.open is not None:
            self.open.stop()
        self.open = self.start(data=self.folder, http_port=self.port, only="ehr")
        return self.open

    def edit(self, kind: str, change: Callable[[dict[str, Record]], None]) -> None:
        """Change the records of a kind, by id."""
        file = self.folder / "ehr" / f"{kind}.json"
        records = {one["id"]: one for one in json.loads(file.read_bytes())}
        change(records)
        file.write_bytes(json.dumps(list(records.values())))


def changed(record: Record, version: str, **more: Any) -> Record:
    """A new version of a record, stamped with the real time as servers do."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**record, "meta": {"versionId": version, "lastUpdated": now}, **more}


@dataclass(frozen=True, slots=True)
class Told:
    """What the nurse can see after a pull, and what it asked of the hospital."""

    asked: Counter[tuple[str, str]]
    lines: Mapping[str, Mapping[str, Any]]
    ends: Mapping[tuple[str, str], str]
    record: str


def pulled(desk: Desk, case: str, general: RunningHospital) -> Told:
    desk.type("pull", case)
    out = desk.data.parent / "record.json"
    desk.type("case", "record", case, "--out", out)
    ledger = desk.type("case", "ledger", case, "--json").json
    assert ledger["states"].get("pending", 0) == 0
    return Told(
        crash.requests(general),
        {one["type"]: one for one in desk.type("case", "certificate", case, "--json").json},
        {(one["id"], one["version"]): one["state"] for one in ledger["records"]},
        out.read_text("utf-8"),
    )


def test_each_further_pull_finds_what_the_hospital_did_since(
    desk: Desk,
    hospital: Callable[..., RunningHospital],
    introduce: Callable[..., str],
    tmp_path: Path,
) -> None:
    """Issue 4, again: amended, retracted, replaced, deleted, brought back, merged."""
    chart = Chart(small.write(tmp_path / "chart", images=False), hospital)
    case = introduce(desk, chart.opened())
    assert chart.open is not None
    first = pulled(desk, case, chart.open)
    assert (first.asked["GET", "/fhir/Binary/b-0"], "Final words" in first.record) == (1, False)

    deleted: dict[str, Record] = {}
    chart.edit("DiagnosticReport", _amend_and_retract)
    chart.edit("DocumentReference", lambda records: _replace_and_delete(records, deleted))
    second = pulled(desk, case, chart.opened())
    _finds_what_changed(first, second)

    chart.edit("DocumentReference", lambda records: records.update(deleted))
    third = pulled(desk, case, chart.opened())
    assert third.ends["doc-5", "1"] == "kept"
    assert "/fhir/Binary/b-5" not in {path for _, path in third.asked}, "held since the first pull"

    chart.edit("Patient", _merge)
    chart.opened()
    desk.type("pull", case, code=4)
    [source] = desk.type("case", "show", case, "--json").json["sources"]
    assert source["candidates"] == ["p-2", "p-1"]


def _amend_and_retract(records: dict[str, Record]) -> None:
    records["rep-0"] = changed(records["rep-0"], "2", status="amended", conclusion="Final words.")
    records["rep-1"] = changed(records["rep-1"], "2", status="entered-in-error")


def _replace_and_delete(records: dict[str, Record], deleted: dict[str, Record]) -> None:
    relation = {"code": "replaces", "target": {"reference": "DocumentReference/doc-0"}}
    records["doc-new"] = changed(records["doc-0"], "1", id="doc-new", relatesTo=[relation])
    deleted["doc-5"] = records.pop("doc-5")


def _merge(records: dict[str, Record]) -> None:
    into = {"other": {"reference": "Patient/p-2"}, "type": "replaced-by"}
    records["p-2"] = changed(records["p-1"], "1", id="p-2")
    records["p-1"] = changed(records["p-1"], "2", active=False, link=[into])


def _finds_what_changed(first: Told, second: Told) -> None:
    assert "Final words" in second.record
    wanted = {
        ("rep-0", "1"): "superseded", ("rep-0", "2"): "kept",
        ("rep-1", "1"): "superseded", ("rep-1", "2"): "excluded",
        ("doc-0", "1"): "superseded", ("doc-new", "1"): "kept",
        ("doc-5", "1"): "quarantined", ("doc-4", "1"): "kept",
    }  # fmt: skip
    assert {key: second.ends[key] for key in wanted} == wanted
    documents = second.lines["DocumentReference"]
    assert (documents["grade"], documents["got"]) == ("consistent", small.DOCUMENTS)
    assert second.lines["DiagnosticReport"]["grade"] == "consistent"
    # The changes and the count; the documents in full as well, because their count did not agree.
    assert second.asked[REPORTS] == 2
    assert second.asked["GET", "/fhir/DocumentReference/doc-5"] == 1
    assert sum(second.asked.values()) < sum(first.asked.values())
    files = [path for _, path in second.asked if path.startswith("/fhir/Binary/")]
    assert files == ["/fhir/Binary/b-0"], "what did not change is not fetched again"
