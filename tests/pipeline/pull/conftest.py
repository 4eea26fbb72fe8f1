"""One store for all pulls (each has a case of its own), and what a pull needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import event

from fhir_bridge.case.case import Case
from fhir_bridge.store.shelves import Store

from . import fake_ehr

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("pulls")
    made = Store.open(f"sqlite:///{folder / 'b.sqlite'}", folder, lease=timedelta(seconds=15))
    event.listen(made.database.engine, "connect", _no_power_cuts_here)
    made.database.engine.dispose()
    yield made
    made.close()


def _no_power_cuts_here(connection, _entry) -> None:
    connection.execute("pragma synchronous = off")


@pytest.fixture(scope="session")
def new_case(store: Store) -> Callable[[], Case]:
    """A case of its own for each call."""
    return lambda: fake_ehr.open_case(store, f"case-{next(_numbers)}")


@pytest.fixture
def case(new_case: Callable[[], Case]) -> Case:
    return new_case()
