"""Steps over a real store, with a hospital in memory instead of its clients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.case.case import Case
from fhir_bridge.steps.pulling import Pulling
from fhir_bridge.store.shelves import Store

from ..pipeline.pull import fake_ehr

_numbers = itertools.count(1)


@dataclass(slots=True)
class FakeHospitals:
    """Satisfies what Pulling and the desk ask of steps.hospitals.Hospitals."""

    chart: Any = None
    ways: tuple[Any, ...] = ()
    asked: list[str] = field(default_factory=list)

    def ehr(self, provider: Any, case_id: str | None = None) -> Any:
        self.asked.append(provider.id)
        return self.chart

    def archives(self, provider: Any, case_id: str, held: Callable[[], object]) -> tuple[Any, ...]:
        return self.ways

    def exports(self, provider: Any, case_id: str) -> None:
        """A chart in memory exports nothing in bulk."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(f"sqlite:///{tmp_path / 'b.sqlite'}", tmp_path, lease=timedelta(seconds=15))
    yield made
    made.close()


@pytest.fixture
def case(store: Store) -> Case:
    return fake_ehr.open_case(store, f"case-{next(_numbers)}")


@pytest.fixture
def hospitals() -> FakeHospitals:
    return FakeHospitals()


@pytest.fixture
def fake() -> Any:
    """The module of the hospital in memory."""
    return fake_ehr


@pytest.fixture
def pulling(store: Store, hospitals: FakeHospitals) -> Pulling:
    return Pulling(store, hospitals, lambda arrival: None, lambda: fake_ehr.NOW)


@pytest.fixture
def pull(pulling: Pulling, case: Case) -> Callable[..., dict[str, Any]]:
    """All steps of one source, in the order of workflows.pull_source."""

    def run(number: int = 1) -> dict[str, Any]:
        begun = dict(pulling.connect(case.id, "st-anne", number))
        if not begun["ready"]:
            return begun
        while pulling.collect(case.id, "st-anne", impatient=False)["more"]:
            pass
        while pulling.image(case.id, "st-anne", number):
            pass
        return begun | {"grade": pulling.close(case.id, "st-anne")}

    return run
