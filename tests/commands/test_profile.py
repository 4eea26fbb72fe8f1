"""The engineer looks at what was learned of a hospital's endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.commands.profile import show
from fhir_bridge.errors import BridgeError
from fhir_bridge.standards.fhir import json
from fhir_bridge.store.shelves import Store

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store with one hospital, which the commands of this test open as well."""
    folder = tmp_path / "bridge"
    monkeypatch.setenv("FHIR_BRIDGE_DATA", str(folder))
    monkeypatch.delenv("FHIR_BRIDGE_DATABASE_URL", raising=False)
    url = f"sqlite:///{folder / 'bridge.sqlite'}"
    made = Store.open(url, folder, lease=timedelta(seconds=15))
    provider = TreatingProvider("st-anne", "St. Anne", "https://st-anne.example/r4")
    made.providers.add(provider, at=AT)
    yield made
    made.close()


def test_the_profile_is_shown_in_words(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.endpoints.learn("st-anne", at=AT, window=6, totals={"Observation": "lies"})
    show("St. Anne")
    shown = capsys.readouterr().out
    assert "St. Anne: https://st-anne.example/r4" in shown
    assert "lies (every type seen)" in shown


def test_the_profile_is_shown_as_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.endpoints.failed("st-anne", at=AT, next_attempt_at=AT + timedelta(hours=1))
    show("st-anne", as_json=True)
    shown = json.load_object(capsys.readouterr().out.encode())
    assert (shown["provider"], shown["failures"]) == ("st-anne", 1)
    assert shown["next_attempt_at"] == "2026-03-02T10:00:00+00:00"


def test_before_the_first_pull_the_next_step_is_named(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    show("st-anne")
    assert "fhir-bridge pull" in capsys.readouterr().out


def test_a_hospital_that_nobody_added_is_unknown(store: Store) -> None:
    with pytest.raises(BridgeError):
        show("nobody")
