"""Opening the store: migrations, several processes at once, and addresses that lead nowhere."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import inspect

from fhir_bridge.errors import ConfigurationError
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database, make_engine

FIRST_START = """
import sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from fhir_bridge.security.keys import SigningKeys
from fhir_bridge.security.secrets import Seal
from fhir_bridge.store.shelves import Store

folder, start = Path(sys.argv[1]), float(sys.argv[2])
time.sleep(max(0, start - time.time()))
store = Store.open(f"sqlite:///{folder / 'bridge.sqlite'}", folder, lease=timedelta(seconds=15))
seal = Seal.in_folder(folder / "keys")
keys = SigningKeys.of_store(store.keys, seal, at=datetime.now(UTC))
print(sorted(key["kid"] for key in keys.jwks()["keys"]), seal.seal.__self__ is seal)
store.close()
"""


def test_eight_processes_that_start_at_once_share_one_set_of_keys(folder, open_store):
    """A first start races with nobody, or with seven others: one schema, one seal, two keys."""
    import time

    folder.mkdir()
    start = time.time() + 3
    command = [sys.executable, "-c", FIRST_START, str(folder), str(start)]
    racers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    ends = [racer.communicate(timeout=60) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 8, [error for _, error in ends]
    assert len({out for out, _ in ends}) == 1
    store = open_store()
    assert [key.alg for key in store.keys.all()] == ["RS384", "ES384"]
    assert [path.name for path in (folder / "keys").iterdir()] == ["seal.key"]
    store.close()


def test_opening_twice_changes_nothing(open_store, case):
    again = open_store()
    assert again.cases.get("c1") == case
    again.close()


def test_the_migrations_make_every_table(store):
    there = set(inspect(store.database.engine).get_table_names())
    assert set(schema.metadata.tables) <= there


def test_sqlite_loses_no_update_and_no_commit(store):
    with store.database.write() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"pragma {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize("url", ["", "no url", "mysql://localhost/x", "oracle://x"])
def test_an_address_that_is_no_database_of_ours_is_refused(url):
    with pytest.raises(ConfigurationError):
        make_engine(url)


def test_a_database_that_cannot_be_opened_is_a_matter_of_configuration(tmp_path):
    engine = make_engine(f"sqlite:///{tmp_path / 'nowhere' / 'bridge.sqlite'}")
    with pytest.raises(ConfigurationError):
        Database(engine).migrate()
    engine.dispose()


def test_the_folder_of_the_store_is_nobody_elses(store, folder):
    assert folder.stat().st_mode & 0o077 == 0
