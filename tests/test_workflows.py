"""What the bridge rests on in its durable engine, held against the very version that is pinned."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fhir_bridge import clock, errors
from fhir_bridge.case.delivery import Delivery, DeliveryState
from fhir_bridge.errors import BridgeError, ConfigurationError, StoreError
from fhir_bridge.store import schema, slots
from fhir_bridge.store.database import Database, make_engine
from fhir_bridge.store.opinions import Opinions
from fhir_bridge.store.originals import Originals
from fhir_bridge.store.workers import Workers
from fhir_bridge.workflows import APPLICATION_VERSION, Engine, OurJson, pull_id
from fhir_bridge.workflows.ports import MAX_RECOVERY_ATTEMPTS

from . import worker_process
from .doors import first_line

CASE = "c-1"
SECRET = "Smallcase, Ada"
LEASE = 1.5


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An empty database; the tests of PostgreSQL give another one."""
    return f"sqlite:///{tmp_path / 'bridge.sqlite'}"


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a worker process and returns when it works; all are killed at the end."""
    with ExitStack() as open_ones:

        def started(mood: str = "", lease: float = LEASE) -> subprocess.Popen[str]:
            words = [url, tmp_path, mood, lease]
            argv = [sys.executable, "-m", worker_process.__name__, *map(str, words)]
            process = subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                cwd=Path(__file__).parents[1],
            )  # fmt: skip
            open_ones.callback(_end, process)
            process.slot = first_line(process).strip()
            return process

        yield started


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The store's own connections, closed at the end."""
    made = Database(make_engine(url))
    made.migrate()
    yield made
    made.engine.dispose()


@pytest.fixture
def workers(database: Database) -> Workers:
    """Who is alive."""
    return Workers(database, lease=timedelta(seconds=LEASE))


@pytest.fixture
def engine(url: str, database: Database, workers: Workers) -> Iterator[Engine]:
    """Starts work and asks after it, without being a worker."""
    made = worker_process.engine_over(url, database, workers, LEASE)
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path: Path) -> Callable[[str], list[str]]:
    """The pids that wrote a line beginning so, in order."""

    def pids(beginning: str) -> list[str]:
        path = tmp_path / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.rsplit(" ", 1)[1] for line in lines if line.startswith(beginning)]

    return pids


def begin(engine: Engine, case: str = CASE, run: int = 1) -> str:
    with engine._database.begin() as connection:
        engine.pull_in(connection, case, run, ["north", "south"][:1])
    return pull_id(case, run)


def until(condition: Callable[[], object], seconds: float = 20) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it did not happen"
        time.sleep(0.05)
    return time.monotonic() - begun


def ended(engine: Engine, workflow: str) -> str:
    until(lambda: not engine.unfinished(workflow))
    return engine.status(workflow)


# -- what is written down --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [StoreError, errors.PatientNotCertain, errors.ReadBackDiffers])
def test_a_replay_sees_the_type_of_an_error_and_nobody_reads_its_text(
    kind: type[BridgeError],
) -> None:
    written = OurJson().serialize(kind(SECRET))
    assert SECRET not in written
    assert type(OurJson().deserialize(written)) is kind


def test_an_error_that_is_not_ours_comes_back_without_its_text() -> None:
    written = OurJson().serialize(ValueError(SECRET))
    assert SECRET not in written
    assert type(OurJson().deserialize(written)) is RuntimeError


@pytest.mark.parametrize(
    "value", [None, True, 3, 2.5, "word", ["a", 1, 0.1], {"done": False, "wait": 2.0}]
)
def test_a_replay_sees_the_values_that_the_run_saw(value: object) -> None:
    again = OurJson().deserialize(OurJson().serialize(value))
    assert again == value
    assert repr(again) == repr(value)


def test_nothing_in_the_tables_could_be_unpickled_and_every_row_is_of_our_version(
    database: Database, engine_at_work: Callable[[worker_process.Scripted], Engine], tmp_path: Path
) -> None:
    engine = engine_at_work(_Failing(tmp_path / "journal"))
    assert ended(engine, begin(engine)) == "SUCCESS"
    assert engine.result(pull_id(CASE, 1))["sources"][0]["state"] == "failed"
    assert ended(engine, begin(engine, "c-2")) == "SUCCESS"
    cells = list(_engine_cells(database))
    assert len(cells) > 50
    assert not [cell for cell in cells if "pickle" in str(cell) or SECRET in str(cell)]
    query = f"select distinct application_version from {_prefix(database)}workflow_status"
    with database.read() as connection:
        versions = list(connection.execute(sa.text(query)).scalars())
    assert versions == [APPLICATION_VERSION] == ["fb-2"]


class _Failing(worker_process.Scripted):
    """Its first case meets an error that says what it should not."""

    def collect(self, case_id: str, source: str, impatient: bool) -> Mapping[str, Any]:
        if case_id == CASE:
            raise RuntimeError(SECRET)
        return {"more": False, "moved": True, "rest": 0.0, "told": ""}


def _prefix(database: Database) -> str:
    return "" if database.engine.dialect.name == "sqlite" else "dbos."


def _engine_cells(database: Database) -> Iterator[object]:
    """Every value in every table of the job engine."""
    schema_ = _prefix(database).rstrip(".") or None
    names = sa.inspect(database.engine).get_table_names(schema=schema_)
    with database.read() as connection:
        for name in names:
            if not name.startswith(("fb_", "alembic", "sqlite_")):
                query = sa.text(f'select * from {_prefix(database)}"{name}"')
                for row in connection.execute(query):
                    yield from row


@pytest.fixture
def engine_at_work(engine: Engine) -> Iterator[Callable[[worker_process.Scripted], Engine]]:
    """A working engine in this process; stopped at the end."""

    def start(steps: worker_process.Scripted) -> Engine:
        engine.start("here-1", steps, steps)
        return engine

    yield start
    engine.stop()


# -- who works -------------------------------------------------------------------------------------


def test_two_processes_never_get_the_same_slot(start: Callable[..., subprocess.Popen[str]]) -> None:
    names = [start().slot for _ in range(3)]
    assert len(set(names)) == 3


def test_a_killed_worker_leaves_its_slot_to_the_next_one_at_once(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = start()
    assert not slots.is_abandoned(tmp_path / "slots", first.slot)
    first.kill()
    first.wait()
    assert slots.is_abandoned(tmp_path / "slots", first.slot)
    assert start().slot == first.slot


def test_only_the_heartbeat_tells_of_slots_on_other_machines(tmp_path: Path) -> None:
    assert not slots.is_abandoned(tmp_path, "elsewhere-1")


def test_slots_end_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "MOST", 1)
    slot = slots.take_slot(tmp_path)
    with pytest.raises(ConfigurationError):
        slots.take_slot(tmp_path)
    slot.free()


def test_the_work_of_a_dead_worker_is_done_once_more_by_one_survivor(
    start: Callable[..., subprocess.Popen[str]],
    engine: Engine,
    journal: Callable[[str], list[str]],
) -> None:
    victim = start("sleep:30")
    workflow = begin(engine)
    until(lambda: journal("begun"))
    survivors = [start(), start()]
    victim.kill()
    assert ended(engine, workflow) == "SUCCESS"
    begun = journal("begun")
    assert begun[0] == str(victim.pid)
    assert len(begun) == 2, "the round was made by one survivor, once"
    assert int(begun[1]) in {survivor.pid for survivor in survivors}
    assert len(journal("connect")) == 1, "what was recorded is not done again"
    assert len(journal("assembled")) == 1


def test_a_survivor_that_dies_before_it_took_over_does_not_lose_the_work(
    engine: Engine, workers: Workers
) -> None:
    """The slot is buried after its work was given back, never before."""
    given_back: list[bool] = []
    workers.beat("dead-1", at=clock.now() - timedelta(hours=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "fhir_bridge.workflows.engine.DBOS._recover_pending_workflows",
            lambda _: given_back.append(list(workers.dead(at=clock.now())) == ["dead-1"]),
        )
        engine._take_over()
    assert given_back == [True]
    assert workers.dead(at=clock.now()) == []


def test_a_worker_that_left_in_order_is_dead_at_once_and_keeps_its_row(workers: Workers) -> None:
    workers.beat("here-1", at=clock.now(), serving="http://127.0.0.1:1")
    workers.leave("here-1")
    assert list(workers.dead(at=clock.now())) == ["here-1"]
    assert workers.serving(at=clock.now()) == {}


def test_a_worker_asked_to_stop_ends_after_the_step_and_the_next_one_goes_on(
    start: Callable[..., subprocess.Popen[str]],
    engine: Engine,
    journal: Callable[[str], list[str]],
) -> None:
    first = start("sleep:1")
    workflow = begin(engine)
    until(lambda: journal("begun"))
    assert _stopped(first) < 3 + 2
    assert engine.unfinished(workflow)
    assert journal("ended") == [str(first.pid)]
    second = start()
    assert ended(engine, workflow) == "SUCCESS"
    assert journal("begun") == [str(first.pid)], "its result was recorded"
    assert journal("assembled") == [str(second.pid)]


def test_a_step_that_outlives_the_grace_is_cut_off_and_done_again(
    start: Callable[..., subprocess.Popen[str]],
    engine: Engine,
    journal: Callable[[str], list[str]],
) -> None:
    first = start("sleep:60")
    workflow = begin(engine)
    until(lambda: journal("begun"))
    assert _stopped(first) < 3 + 2
    second = start()
    assert ended(engine, workflow) == "SUCCESS"
    assert journal("ended") == [str(second.pid)]


def test_what_a_stopped_worker_left_is_taken_by_a_survivor_without_waiting_for_a_lease(
    start: Callable[..., subprocess.Popen[str]],
    engine: Engine,
    journal: Callable[[str], list[str]],
) -> None:
    first = start("sleep:60", 8)
    workflow = begin(engine)
    until(lambda: journal("begun"))
    second = start("", 8)
    _stopped(first)
    assert until(lambda: not engine.unfinished(workflow)) < 8
    assert journal("ended") == [str(second.pid)]


def _stopped(process: subprocess.Popen[str]) -> float:
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    return time.monotonic() - begun


def test_work_that_kills_its_worker_is_given_up_after_five_recoveries(
    start: Callable[..., subprocess.Popen[str]],
    engine: Engine,
    journal: Callable[[str], list[str]],
) -> None:
    source = f"{begin_in(start, engine)}:north:0"
    for _ in range(MAX_RECOVERY_ATTEMPTS + 3):
        worker = start("die")
        until(lambda worker=worker: worker.poll() is not None or _given_up(engine, source))
        if _given_up(engine, source):
            break
    assert _given_up(engine, source)
    assert len(journal("begun")) == MAX_RECOVERY_ATTEMPTS + 1
    with pytest.raises(BridgeError, match="given up"):
        engine.result(source)


def begin_in(start: Callable[..., subprocess.Popen[str]], engine: Engine) -> str:
    """A pull in a database that a worker has prepared."""
    _end(start())
    return begin(engine)


def _given_up(engine: Engine, workflow: str) -> bool:
    return engine.status(workflow) == "MAX_RECOVERY_ATTEMPTS_EXCEEDED"


# -- one database for the rows and the work --------------------------------------------------------


def test_work_is_enqueued_with_the_rows_that_cause_it_or_not_at_all(
    start: Callable[..., subprocess.Popen[str]],
    engine: Engine,
    journal: Callable[[str], list[str]],
) -> None:
    _end(start())
    with pytest.raises(RuntimeError, match="changed our mind"):
        _enqueue_and_fail(engine)
    assert engine.status("deliver:d-1") == ""
    for _ in range(2):
        with engine._database.begin() as connection:
            engine.deliver_in(connection, "d-1")
    start()
    assert ended(engine, "deliver:d-1") == "SUCCESS"
    assert len(journal("advanced")) == 1, "the same delivery twice is one"


def _enqueue_and_fail(engine: Engine) -> None:
    with engine._database.begin() as connection:
        engine.deliver_in(connection, "d-1")
        raise RuntimeError("changed our mind")


def test_read_modify_write_by_eight_threads_loses_nothing(
    database: Database, workers: Workers
) -> None:
    workers.beat("counter", at=clock.now())
    threads = [threading.Thread(target=_count, args=(database,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(sa.select(schema.worker.c.takeovers)).scalar() == 200


def test_two_workers_that_take_the_same_rung_send_once(database: Database, tmp_path: Path) -> None:
    """The ladder is read and written under one lock: only one may let the bytes leave."""
    opinions = Opinions(database, Originals(database, tmp_path / "originals"))
    for number in range(10):
        delivery = Delivery(f"d-{number}", CASE, "o-1", number, "north", f"urn:uuid:{number}")
        values = {**asdict(delivery), "read_back": "", "moved_at": clock.now()}
        with database.write() as connection:
            connection.execute(schema.delivery.insert().values(**values))
        with ThreadPoolExecutor(8) as pool:
            took = list(pool.map(lambda _, id_=delivery.id: _take(opinions, id_), range(8)))
        assert took.count(True) == 1


def _take(opinions: Opinions, delivery: str) -> bool:
    try:
        opinions.move(delivery, DeliveryState.SENT, at=clock.now())
    except errors.WrongMoment:
        return False
    return True


def _count(database: Database) -> None:
    table = schema.worker
    for _ in range(25):
        with database.write() as connection:
            now = connection.execute(sa.select(table.c.takeovers).with_for_update()).scalar_one()
            connection.execute(sa.update(table).values(takeovers=now + 1))
