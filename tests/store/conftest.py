"""A store of its own for every test, and small things to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fhir_bridge.case.case import Case, TreatingProvider
from fhir_bridge.case.original import How, Original
from fhir_bridge.standards.fhir.person import person
from fhir_bridge.store.shelves import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PATIENT = {
    "resourceType": "Patient",
    "id": "ours",
    "identifier": [{"system": "urn:oid:2.16.756.5.32", "value": "756.1"}],
    "name": [{"family": "Doe", "given": ["Jane"]}],
    "birthDate": "1961-03-14",
    "gender": "female",
}


@pytest.fixture
def at() -> datetime:
    return NOW


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bridge"


@pytest.fixture
def open_store(folder: Path) -> Callable[[], Store]:
    """Opens the same store again, as another process would."""

    def opened() -> Store:
        url = f"sqlite:///{folder / 'bridge.sqlite'}"
        return Store.open(url, folder, lease=timedelta(seconds=15))

    return opened


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Iterator[Store]:
    made = open_store()
    yield made
    made.close()


@pytest.fixture
def case(store: Store) -> Case:
    """A case `c1` that draws on `st-anne` and `general`."""
    made = Case(
        id="c1",
        patient=PATIENT,
        person=person(PATIENT),
        specialty="neurology",
        question="Is it safe to operate?",
        providers=("st-anne", "general"),
        opened_at=NOW,
    )
    for name in made.providers:
        store.providers.add(
            TreatingProvider(name, name.title(), f"https://{name}.example/r4"), at=NOW
        )
    store.cases.open(made)
    return made


@pytest.fixture
def keep(store: Store) -> Callable[..., Original]:
    """Stores a body and the row of its arrival."""

    def kept(body: bytes, id_: str = "o1", **more: object) -> Original:
        blob = store.originals.put(body)
        facts = {"source": "st-anne", "how": How.GET, "request": "GET /r4/X", "received_at": NOW}
        original = Original(id=id_, sha256=blob.sha256, size=blob.size, **{**facts, **more})
        return store.originals.keep(original)

    return kept
