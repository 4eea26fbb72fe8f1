"""What the tests of the security room share: a store on disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fhir_bridge.store.shelves import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(f"sqlite:///{tmp_path / 'b.sqlite'}", tmp_path, lease=timedelta(seconds=15))
    yield made
    made.close()
