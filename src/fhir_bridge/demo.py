"""The demo: the real service, a hospital in a box, one case all the way through."""

from __future__ import annotations

import socket
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir_bridge import exits, tables
from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import Auth, TreatingProvider
from fhir_bridge.case.ids import bridge_id, slug
from fhir_bridge.errors import BridgeError, PortTaken
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.faults import FAULTS
from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital
from fhir_bridge.standards.fhir import json
from fhir_bridge.store.cases import parse_node

CASE = "oncology"
PORT = 8400
DIMSE_PORT = 11112
PORTS_TRIED = 8
CLIENT_ID = "fhir-bridge-demo"
ISSUER = ("general-hospital", "https://general-hospital.example/mrn")
# The same case each time: the same evidence then gives the same bytes.
CASE_ID = bridge_id("demo", "Case", CASE)

Tell = Callable[[str], None]


@dataclass(slots=True)
class Demo:
    """A bridge and a hospital that know each other, with one case opened."""

    bridge: Bridge
    hospital: RunningHospital
    case_id: str
    link: str
    opinion: bytes = field(repr=False)

    def push(self) -> int:
        """Radiology at the hospital sends what it has not offered: returns how many arrived."""
        address = f"{self.hospital.urls['control']}/push"
        request = urllib.request.Request(address, method="POST")  # noqa: S310 (our own loopback)
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (likewise)
            return int(json.load_object(answer.read())["sent"])


@contextmanager
def staged(folder: Path, faults: Sequence[str], *, port: int = PORT) -> Iterator[Demo]:
    """Set the stage on free ports; leaving it ends both processes."""
    data = tables.folder("fixtures", "cases", CASE)
    with ExitStack() as stage:
        bridge = _serve_somewhere(stage, folder / "bridge", port)
        options = Options(
            data=data,
            state=folder / "hospital",
            client_id=CLIENT_ID,
            jwks_url=f"{bridge.public_url}/.well-known/jwks.json",
            bridge_dimse=f"{bridge.settings.dimse_aet}@127.0.0.1:{bridge.dimse_port}",
            faults=tuple(faults),
        )
        hospital = stage.enter_context(start_hospital(options))
        yield _introduced(bridge, hospital, data)


def _serve_somewhere(stage: ExitStack, data: Path, port: int) -> Bridge:
    """A bridge on ports that are free, also when another demo looks for some at this moment."""
    for _ in range(PORTS_TRIED):
        settings = Settings.load(
            data=data,
            port=free_port(port),
            dimse_port=free_port(DIMSE_PORT),
            host="127.0.0.1",
            dimse_host="127.0.0.1",
            database_url="",
            public_url="",
            login_token="",
            tls_certificate=None,
            tls_key=None,
            log_level="WARNING",
        )
        with suppress(PortTaken):
            return stage.enter_context(serving(settings))
    raise PortTaken("every port that was free was taken a moment later")


def _introduced(bridge: Bridge, hospital: RunningHospital, data: Path) -> Demo:
    """What an engineer and a nurse would type: the provider, then the case."""
    urls = hospital.urls
    provider = TreatingProvider(
        id=slug(str(urls["name"])),
        name=str(urls["name"]),
        fhir=str(urls["fhir"]),
        auth=Auth.PRIVATE_KEY_JWT,
        client_id=CLIENT_ID,
        dimse=parse_node(str(urls["dimse"])),
        dicomweb=str(urls["dicomweb"]),
        issuers=dict([ISSUER]),
    )
    bridge.add_provider(provider)
    patient = json.load_object((data / "patient.json").read_bytes())
    case = json.load_object((data / "case.json").read_bytes())
    known = {c.id for c in bridge.store.cases.all()}
    if CASE_ID not in known:
        bridge.new_case(
            LOCAL, patient, case["specialty"], case["question"], [provider.id], case_id=CASE_ID
        )
    opinion = (data / "opinion.md").read_bytes()
    bridge.desk.prepare(CASE_ID, opinion.decode())
    link = f"{bridge.public_url}/login?t={bridge.door.link()}"
    return Demo(bridge, hospital, CASE_ID, link, opinion)


@contextmanager
def place(keep: Path | None) -> Iterator[Path]:
    """The folder of a demo: deleted at the end, unless it is to be kept."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="fhir-bridge-demo-") as folder:
        yield Path(folder)


def check_faults(names: Sequence[str]) -> str:
    """A sentence about the first unknown fault, or empty."""
    known = sorted(row.name for row in FAULTS)
    unknown = [name for name in names if name not in known]
    return f"no fault is called {unknown[0]}; known are: {', '.join(known)}" if unknown else ""


def run_headless(demo: Demo, tell: Tell) -> tuple[dict[str, Any], int]:
    """Every step as a nurse and a specialist would do it; returns the account and the exit code."""
    begun, bridge, case_id = time.monotonic(), demo.bridge, demo.case_id
    pushed = demo.push()
    tell(f"radiology pushed {pushed} images")
    result = bridge.engine.result(bridge.begin_pull(LOCAL, case_id, None))
    certificate = bridge.certificate(case_id)
    code = exits.of_pull(result, certificate)
    for row in certificate:
        tell(f"{row['type']}: {row['got']} of {row['said']}, {row['grade']}")
    if code == 0:
        code = _opinion(demo, tell)
    account = _account(demo, certificate, pushed)
    account["seconds"] = round(time.monotonic() - begun, 1)
    return account, code


def _opinion(demo: Demo, tell: Tell) -> int:
    bridge, case_id = demo.bridge, demo.case_id
    try:
        bridge.desk.finish(LOCAL, case_id, demo.opinion, kind="md")
    except BridgeError as error:
        tell(str(error))
        return error.exit_code
    bridge.desk.wait(case_id)
    rows = bridge.deliveries(case_id)
    for row in rows:
        tell(f"opinion at {row['destination']}: {row['state']}, read back {row['read_back']}")
    return exits.of_delivery(rows)


def _account(demo: Demo, certificate: list[dict[str, Any]], pushed: int) -> dict[str, Any]:
    bridge, case_id = demo.bridge, demo.case_id
    rows = bridge.store.ledgers.rows(case_id)
    states = Counter(row.state.value for row in rows)
    delivery = next(iter(bridge.store.opinions.deliveries(case_id)), None)
    return {
        "case": case_id,
        "seconds": 0.0,
        "ledger": {"seen": len(rows), "states": dict(states)},
        "certificate": [
            {key: row[key] for key in ("source", "type", "said", "got", "grade")}
            for row in certificate
        ],
        "bundle": _bundle(bridge, case_id),
        "images": _images(bridge, case_id),
        "pushed": pushed,
        "opinion": {
            "state": delivery.state.value if delivery else "drafted",
            "confirmed": bool(delivery and delivery.state.value in ("confirmed", "opened")),
            "read_back_equal": bool(delivery and delivery.read_back == "equal"),
        },
    }


def _bundle(bridge: Bridge, case_id: str) -> dict[str, Any]:
    try:
        record = bridge.store.records.get(case_id)
    except BridgeError:
        return {"entries": 0, "sha256": ""}
    return {"entries": record.entries, "sha256": record.sha256}


def _images(bridge: Bridge, case_id: str) -> dict[str, int]:
    """Held: what stands in the case; received: what arrived in any way, also unassigned."""
    held = bridge.store.images.of_case(case_id)
    waiting = bridge.store.images.unassigned()
    return {"held": len(held), "received": len(held) + len(waiting)}


def free_port(preferred: int, host: str = "127.0.0.1") -> int:
    """The preferred port, or the next free one."""
    for port in (*range(preferred, min(preferred + 50, 65536)), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PortTaken("no free port")
