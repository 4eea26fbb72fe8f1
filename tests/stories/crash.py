"""What the crash tests share: a service that can be killed, its hospital, and what came of it."""

from __future__ import annotations

import random
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.security.access import LOCAL
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json
from fhir_bridge.store.cases import parse_node

from ..doors import Desk, command, free_port

CASE, SOURCE = "c0ffee00-0000-4000-8000-000000000001", "general-hospital"
PATIENCE_SECONDS = 60.0
# All crash stories together, on both databases, cost about five minutes of processor time.
# The engine gives a workflow up after five recoveries: a story kills it four times at most.
KILLS_A_STORY = 4
# What one killed process may have had in hand: four reads, or four files, beside each other; and
# what every new process asks for itself: the endpoint's metadata.
IN_HAND, ANEW = 4, 3

# How long a delivery stands on each rung here, in seconds: the first one waits for a worker.
LENGTHS = {"queued": 0.25, "sent": 0.04, "accepted": 0.06, "read-back": 0.08}
RUNGS = ("queued", "sent", "unknown", "accepted", "read-back", "confirmed")


@dataclass(slots=True)
class Service:
    """`fhir-bridge serve` as a process of its own, on ports that stay the same."""

    desk: Desk
    process: subprocess.Popen[bytes] | None = None
    seconds_to_start: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start it and wait until it says that it serves."""
        port = self.desk.env["FHIR_BRIDGE_PORT"]
        begun, said = time.monotonic(), self.desk.data.parent / f"serve-{port}.out"
        with said.open("wb") as out, said.with_suffix(".err").open("ab") as err:
            self.process = subprocess.Popen(
                command("serve"), env=self.desk.environment(), stdin=subprocess.DEVNULL,
                stdout=out, stderr=err,
            )  # fmt: skip
        while b"serves" not in said.read_bytes():
            assert self.process.poll() is None, said.with_suffix(".err").read_text()[-2000:]
            assert time.monotonic() - begun < PATIENCE_SECONDS, "it does not start"
            time.sleep(0.01)
        self.seconds_to_start.append(time.monotonic() - begun)

    def kill(self) -> None:
        """kill -9, by its own pid."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30) -> float:
        """SIGTERM; returns how long it took to end, with exit code 0."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(seconds) == 0
        return time.monotonic() - begun


@contextmanager
def serving(*desks: Desk) -> Iterator[list[Service]]:
    """A started service on each desk; killed at the end."""
    services = [Service(desk) for desk in desks]
    try:
        for service in services:
            service.start()
        yield services
    finally:
        for service in services:
            if service.process is not None and service.process.poll() is None:
                service.kill()


@contextmanager
def looking(desk: Desk) -> Iterator[Bridge]:
    """The desk's store, opened beside the service and working nothing itself."""
    values = {k.removeprefix("FHIR_BRIDGE_").lower(): v for k, v in desk.env.items() if v}
    bridge = Bridge.open(Settings.load(**values))
    bridge.engine.stand_in = lambda: None
    with bridge:
        yield bridge


def introduce(bridge: Bridge, hospital: RunningHospital, case: Path) -> None:
    """Make the hospital known and open the one case."""
    urls = hospital.urls
    bridge.add_provider(
        TreatingProvider(
            id=SOURCE, name=str(urls["name"]), fhir=str(urls["fhir"]),
            dicomweb=str(urls["dicomweb"]), dimse=parse_node(str(urls["dimse"])),
        )
    )  # fmt: skip
    patient = json.load_object((case / "patient.json").read_bytes())
    bridge.new_case(LOCAL, patient, "oncology", "May it be removed?", [SOURCE], case_id=CASE)


def tell(hospital: RunningHospital, what: str) -> Any:
    """What the simulator says of itself: `requests`, `counts`, `chart.json`."""
    with urllib.request.urlopen(f"{hospital.urls['control']}/{what}", timeout=10) as answer:
        return json.loads(answer.read())


def requests(hospital: RunningHospital) -> Counter[tuple[str, str]]:
    """(method, path) -> how often the hospital was asked; without what only proves life."""
    lines = tell(hospital, "requests")
    return Counter((str(line["method"]), str(line["path"])) for line in lines)


def segments(chance: random.Random, seconds: float, kills: int) -> list[float]:
    """Random moments spread over a length, as the times from one to the next."""
    moments = sorted(chance.uniform(0, seconds) for _ in range(kills))
    return [then - now for now, then in zip([0.0, *moments], moments, strict=False)]


def wait_for(bridge: Bridge, workflow: str, seconds: float = PATIENCE_SECONDS) -> float:
    """Until a workflow has ended well; returns how long that took."""
    begun = time.monotonic()
    while bridge.engine.unfinished(workflow):
        assert time.monotonic() - begun < seconds, f"{workflow} does not end"
        time.sleep(0.05)
    assert bridge.engine.status(workflow) == "SUCCESS", bridge.engine.status(workflow)
    return time.monotonic() - begun


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one pull came to. `kills` are those that met it at work."""

    sha256: str
    entries: int
    ledger: Counter[str]
    grades: tuple[tuple[str, str, int], ...]
    asked: Counter[tuple[str, str]]
    kills: int
    seconds: float
    twice: int
    """Search pages whose bytes were stored more than once."""


def pull(desk: Desk, hospital: RunningHospital, case: Path, pauses: Sequence[float] = ()) -> Pulled:
    """One pull; after each pause the service is killed and started again."""
    before, kills, begun = requests(hospital), 0, time.monotonic()
    with serving(desk) as (service,), looking(desk) as bridge:
        introduce(bridge, hospital, case)
        began, workflow = time.monotonic(), bridge.begin_pull(LOCAL, CASE, None)
        for pause in pauses:
            time.sleep(pause)
            kills += killed(service, bridge, workflow)
        wait_for(bridge, workflow)
        seconds = time.monotonic() - (begun if pauses else began)
        return _pulled(bridge, requests(hospital) - before, kills, seconds)


def killed(service: Service, bridge: Bridge, workflow: str) -> bool:
    """Kill and start again; whether the workflow was at work and not through."""
    service.kill()
    at_work = bridge.engine.unfinished(workflow)
    service.start()
    return at_work


def _pulled(bridge: Bridge, asked: Counter[tuple[str, str]], kills: int, seconds: float) -> Pulled:
    record = bridge.store.records.get(CASE)
    rows = bridge.certificate(CASE)
    pages = Counter(
        o.request for o in bridge.store.originals.of_case(CASE) if "_count" in o.request
    )
    return Pulled(
        sha256=record.sha256,
        entries=record.entries,
        ledger=Counter(row.state.value for row in bridge.store.ledgers.rows(CASE)),
        grades=tuple(sorted((r["type"], r["grade"], r["got"]) for r in rows)),
        asked=asked,
        kills=kills,
        seconds=seconds,
        twice=sum(count - 1 for count in pages.values()),
    )


def repeated(calm: Pulled, stormy: Pulled) -> int:
    """How many requests more than an undisturbed pull the hospital saw."""
    return sum((stormy.asked - calm.asked).values())


def delivered(hospital: RunningHospital) -> Counter[str]:
    """Our identifiers in the chart -> in how many documents each stands."""
    documents = tell(hospital, "chart.json")["delivered"]
    named = ({one.partition("|")[2] for one in each["identifiers"]} for each in documents)
    return Counter(one for each in named for one in each)


def until(condition: Any, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something to become true; a store that is busy answers later."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        with suppress(OSError):
            if condition():
                return
        time.sleep(0.005)
    raise AssertionError("it did not happen")


def storm_of_pulls(
    new_desk: Callable[[], Desk], hospital: RunningHospital, case: Path, *, kills: int, seed: int
) -> list[Pulled]:
    """
    Pulls killed at random moments, spread over the length of an undisturbed one, until so many
    kills met one at work; the undisturbed one comes first. Each must come to the same. The last
    tenth is left out: there a kill would mostly come too late.
    """
    chance = random.Random(seed)
    calm = pull(new_desk(), hospital, case)
    found = [calm]
    while (left := kills - sum(one.kills for one in found)) > 0:
        pauses = segments(chance, 0.9 * calm.seconds, min(left, KILLS_A_STORY))
        one = pull(new_desk(), hospital, case, pauses)
        found.append(one)
        assert (one.sha256, one.entries) == (calm.sha256, calm.entries)
        assert (one.ledger, one.grades) == (calm.ledger, calm.grades)
        assert one.twice <= one.kills
        assert repeated(calm, one) <= len(pauses) * (IN_HAND + ANEW), one.asked - calm.asked
    return found


def account(found: Sequence[Pulled]) -> str:
    """The figures of a storm, for whoever reads the test's output."""
    calm, *stormy = found
    kills, again = sum(one.kills for one in stormy), sum(repeated(calm, one) for one in stormy)
    return (
        f"undisturbed {calm.seconds:.1f} s, {sum(calm.asked.values())} requests; "
        f"{kills} kills in {len(stormy)} pulls, {sum(one.seconds for one in stormy):.0f} s, "
        f"{again} requests repeated, {sum(one.twice for one in stormy)} pages stored twice"
    )


def stores(folders: pytest.TempPathFactory) -> Callable[[], Desk]:
    """New stores behind the same two ports, as a hospital knows them."""
    ports = {"FHIR_BRIDGE_PORT": str(free_port()), "FHIR_BRIDGE_DIMSE_PORT": str(free_port())}

    def opened() -> Desk:
        data = folders.mktemp("desk") / "bridge"
        return Desk(data, {"FHIR_BRIDGE_DATA": str(data), "FHIR_BRIDGE_CONFIG": "", **ports})

    return opened


def our_node(desk: Desk) -> str:
    """Where the hospital sends images."""
    return f"FHIRBRIDGE@127.0.0.1:{desk.env['FHIR_BRIDGE_DIMSE_PORT']}"


@dataclass(frozen=True, slots=True)
class Delivered:
    """How one opinion version came through: where each kill met it, and where it ended."""

    met: tuple[str, ...]
    state: str
    attempts: int
    seconds: float


def deliver(
    service: Service, bridge: Bridge, text: bytes, moments: Sequence[tuple[str, float]] = ()
) -> Delivered:
    """Sign an opinion and let it be delivered; so long after each rung the service is killed."""
    met = []
    bridge.desk.finish(LOCAL, CASE, text, kind="md")
    delivery = bridge.store.opinions.deliveries(CASE)[0]
    workflow, begun = f"deliver:{delivery.id}", time.monotonic()
    for rung, pause in moments:
        until(lambda rung=rung: RUNGS.index(_state(bridge, delivery.id)) >= RUNGS.index(rung))
        time.sleep(pause)
        service.kill()
        if bridge.engine.unfinished(workflow):
            met.append(_state(bridge, delivery.id))
        service.start()
    wait_for(bridge, workflow)
    end = bridge.store.opinions.get(delivery.id)
    return Delivered(tuple(met), end.state.value, end.attempts, time.monotonic() - begun)


def _state(bridge: Bridge, delivery: str) -> str:
    return bridge.store.opinions.get(delivery).state.value


def storm_of_deliveries(
    desk: Desk, hospital: RunningHospital, case: Path, *, kills: int, seed: int
) -> list[Delivered]:
    """
    Opinion after opinion of one case, each a new version, killed at a random moment of each rung
    until so many kills met one on its way; the first one goes undisturbed.
    """
    chance, opinion = random.Random(seed), (case / "opinion.md").read_bytes()
    with serving(desk) as (service,), looking(desk) as bridge:
        introduce(bridge, hospital, case)
        wait_for(bridge, bridge.begin_pull(LOCAL, CASE, None))
        found = [deliver(service, bridge, opinion)]
        while (left := kills - sum(len(one.met) for one in found)) > 0:
            version = f"This is version {len(found) + 1}.\n\n## Evidence"
            text = opinion.replace(b"## Evidence", version.encode())
            moments = [(rung, chance.uniform(0, most)) for rung, most in LENGTHS.items()]
            found.append(deliver(service, bridge, text, moments[:left]))
            identifiers = [d.identifier for d in bridge.store.opinions.deliveries(CASE)]
            chart = delivered(hospital)
            assert found[-1].state == "confirmed", found[-1]
            assert [chart[one] for one in identifiers] == [1] * len(found), chart
            assert tell(hospital, "counts")["created"]["DocumentReference"] == len(found)
        return found


def ladder(found: Sequence[Delivered]) -> str:
    """The figures of a storm of deliveries."""
    calm, *stormy = found
    met = Counter(state for one in stormy for state in one.met)
    return (
        f"undisturbed {calm.seconds:.1f} s; {met.total()} kills in {len(stormy)} deliveries, "
        f"{sum(one.seconds for one in stormy):.0f} s; met at {dict(met)}; "
        f"bytes left {sum(one.attempts for one in stormy)} times"
    )


def owner(bridge: Bridge, workflow: str) -> int:
    """Which service has a workflow, counted from 0 in the order of their start."""
    (found,) = bridge.engine.client().list_workflows(workflow_ids=[workflow])
    return int(str(found.executor_id).rpartition("-")[2]) - 1
