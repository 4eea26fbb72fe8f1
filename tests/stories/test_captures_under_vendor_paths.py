"""
Captured answers, given under their vendors' own paths: every entry ends in the ledger.

They are read where they lie (FHIR_BRIDGE_CAPTURES, or `../shared/payloads` beside the project) and
are no part of it. One simulated hospital gives them all, one case draws on each vendor's base.
"""

from __future__ import annotations

import os
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.case.certificate import COMPLETE
from fhir_bridge.case.ledger import LedgerRow
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import Options, start_hospital
from fhir_bridge.standards.fhir import json

from ..doors import free_port

BESIDE = Path(__file__).parents[3] / "shared" / "payloads"
CAPTURES = Path(os.environ.get("FHIR_BRIDGE_CAPTURES", BESIDE))
EPIC, ORACLE = "/interconnect-fhir-oauth/api/FHIR/R4", "/r4/ec2458f2-1e24-41c8-b71b-0e701af7583d"
MEDITECH, GATEWAY = "/v2/uscore/STU6", "/fhir"
DOCUMENT, REPORT = "DocumentReference", "DiagnosticReport"

pytestmark = pytest.mark.skipif(
    not CAPTURES.is_dir(), reason="no captures: set FHIR_BRIDGE_CAPTURES to their folder"
)


@dataclass(frozen=True, slots=True)
class Visit:
    """What one base said it has, and what came of it."""

    said: Mapping[str, frozenset[str]]
    rows: Sequence[LedgerRow]
    lines: Mapping[str, Mapping[str, Any]]

    def states(self, kind: str) -> Counter[str]:
        return Counter(row.state.value for row in self.rows if row.key.kind == kind)


Visits = Mapping[str, Visit]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())


def ids(base: str, kind: str) -> frozenset[str]:
    """The ids of the entries that the base's searchset shows."""
    entries = json.load_object(get(f"{base}/{kind}")).get("entry", ())
    wrapped = (e["resource"] for e in entries if isinstance(e.get("resource"), dict))
    return frozenset(one["id"] for one in wrapped if one["resourceType"] == kind and "id" in one)


def visit(bridge: Bridge, home: Mapping[str, Any], name: str) -> Visit:
    base = str(home["base"])
    patient = json.load_object(get(f"{base}/Patient/{home['patient']}"))
    bridge.add_provider(TreatingProvider(id=name, name=name, fhir=base))
    case = bridge.new_case(LOCAL, patient, "oncology", "Is it so?", [name])
    bridge.engine.result(bridge.begin_pull(LOCAL, case, None))
    lines = {line["type"]: line for line in bridge.certificate(case)}
    said = {kind: ids(base, kind) for kind in (DOCUMENT, REPORT)}
    return Visit(said, list(bridge.store.ledgers.rows(case)), lines)


@pytest.fixture(scope="module")
def visits(small_case: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visits]:
    """Every base pulled, by its path."""
    options = Options(
        data=small_case, state=tmp_path_factory.mktemp("hospital"), only="ehr", open_door=True,
        captures=CAPTURES,
    )  # fmt: skip
    folder, ports = tmp_path_factory.mktemp("bridge"), {"port": free_port(), "dimse_port": 0}
    settings = Settings.load(data=folder / "data", workers=8, log_level="ERROR", **ports)
    with start_hospital(options) as hospital, serving(settings) as bridge:
        homes = json.loads(get(f"{hospital.urls['control']}/captures"))
        origin = str(hospital.urls["control"]).removesuffix("/simulator")
        with ThreadPoolExecutor(4) as pool:
            pulled = [
                pool.submit(visit, bridge, home, f"home-{number}")
                for number, home in enumerate(homes)
            ]
            yield {
                str(home["base"]).removeprefix(origin): one.result()
                for home, one in zip(homes, pulled, strict=True)
            }


def test_every_entry_of_every_vendor_ends_in_the_ledger(visits: Visits) -> None:
    for path, one in visits.items():
        for kind, said in one.said.items():
            known = {row.key.id for row in one.rows if row.key.kind == kind}
            asked = kind in one.lines and "not offered" not in str(one.lines[kind])
            assert not asked or said <= known, (path, kind, said - known)


def test_every_record_has_a_state_and_every_loss_a_reason(visits: Visits) -> None:
    for path, one in visits.items():
        states = Counter(row.state.value for row in one.rows)
        assert states["pending"] == 0, path
        silent = [row for row in one.rows if row.state.value != "kept" and not row.reason]
        assert silent == [], path


def test_a_chart_on_one_page_is_whole_although_half_its_attachments_are_empty(
    visits: Visits,
) -> None:
    epic = visits[EPIC]
    assert len(epic.said[DOCUMENT]) == 70
    assert sum(epic.states(DOCUMENT).values()) == 70
    assert epic.lines[DOCUMENT]["got"] == 70


def test_a_chain_whose_next_page_is_gone_is_not_called_complete(visits: Visits) -> None:
    oracle = visits[ORACLE]
    assert oracle.lines[DOCUMENT]["got"] == 10
    assert oracle.lines[DOCUMENT]["grade"] not in COMPLETE


def test_what_stands_within_the_record_is_kept_with_its_attachments(visits: Visits) -> None:
    meditech = visits[MEDITECH]
    assert meditech.states(DOCUMENT) == {"kept": 7}
    assert meditech.states("Attachment")["failed"] == 0


def test_nobody_is_found_where_the_register_is_empty(visits: Visits) -> None:
    assert [row for row in visits[GATEWAY].rows if row.key.kind == DOCUMENT] == []
