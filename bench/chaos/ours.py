"""Our side of chaos: one bridge, one hospital with one fault, one pull, told as one JSON line."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.chaos import chart

from fhir_bridge import exits
from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import Auth, TreatingProvider
from fhir_bridge.case.ledger import LedgerRow, RecordState
from fhir_bridge.logs import set_up_logs
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital
from fhir_bridge.standards.fhir import json

CLIENT = "chaos"
# What we know of and could not get, or have not got yet, is not held.
NOT_HELD = frozenset({RecordState.FAILED, RecordState.PENDING})


def main(fault: str, data: str, folder: str) -> None:
    """Pull the chart in `data` from a hospital with a fault ("" is a good day); print what came."""
    place = Path(folder)
    settings = Settings.load(data=place / "bridge", port=0, dimse_port=0, http_timeout_seconds=10)
    set_up_logs("ERROR")  # standard output is for the one line
    with serving(settings) as bridge:
        options = Options(
            data=Path(data),
            state=place / "hospital",
            client_id=CLIENT,
            jwks_url=f"{bridge.public_url}/.well-known/jwks.json",
            only="ehr",
            faults=(fault,) if fault else (),
        )
        with start_hospital(options) as hospital:
            told = _pull(bridge, hospital)
    sys.stdout.write(json.dumps(told).decode() + "\n")


def _pull(bridge: Bridge, hospital: RunningHospital) -> dict[str, Any]:
    where = str(hospital.urls["fhir"])
    bridge.add_provider(
        TreatingProvider(CLIENT, CLIENT, where, auth=Auth.PRIVATE_KEY_JWT, client_id=CLIENT)
    )
    case = bridge.new_case(LOCAL, chart.patient(), "oncology", "Is it so?", [CLIENT])
    began = time.perf_counter()
    result = bridge.engine.result(bridge.begin_pull(LOCAL, case, None))
    seconds = time.perf_counter() - began
    lines = bridge.certificate(case)
    return {
        "code": exits.of_pull(result, lines),
        "error": next((end["error"] for end in result["sources"] if end.get("error")), ""),
        "lines": [{name: line[name] for name in ("type", "got", "grade")} for line in lines],
        "ids": _ids(bridge.store.ledgers.rows(case)),
        "files": sorted(_bodies(bridge, case)),
        "leaked": _control(hospital, "foreign").get("authorization", False),
        "requests": len(seen(hospital)),
        "seconds": round(seconds, 2),
    }


def seen(hospital: RunningHospital) -> list[Mapping[str, Any]]:
    """Every request that the hospital saw, its own control door left out."""
    return list(_control(hospital, "requests"))


def _control(hospital: RunningHospital, what: str) -> Any:
    address = f"{hospital.urls['control']}/{what}"
    with urllib.request.urlopen(address) as answer:  # noqa: S310 (our own loopback)
        return json.loads(answer.read())


def _ids(rows: Iterable[LedgerRow]) -> dict[str, list[str]]:
    held: dict[str, set[str]] = {}
    for row in rows:
        if row.state not in NOT_HELD:
            held.setdefault(row.key.kind, set()).add(row.key.id)
    return {kind: sorted(ids) for kind, ids in held.items()}


def _bodies(bridge: Bridge, case: str) -> set[str]:
    """The digests of all attachments of which we hold bytes, wherever they came from."""
    return {one.sha256 for one in bridge.store.ledgers.attachments(case) if one.sha256}


if __name__ == "__main__":
    main(*sys.argv[1:])
