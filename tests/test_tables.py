"""Tables: found in one place, read whole, and never another's unseen."""

from __future__ import annotations

import pytest

from fhir_bridge import tables
from fhir_bridge.errors import ConfigurationError


@pytest.fixture
def overlay(tmp_path, monkeypatch):
    """A folder of tables of our own, named by FHIR_BRIDGE_TABLES."""
    for part in tables.PARTS:
        (tmp_path / part).mkdir()
    monkeypatch.setenv("FHIR_BRIDGE_TABLES", str(tmp_path))
    _forget()
    yield tmp_path
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for cached in (tables.root, tables.rows, tables.fingerprint):
        cached.cache_clear()


def test_without_an_overlay_the_tables_of_the_installation_are_read():
    assert tables.rows("dicom", "sop-classes.csv")
    assert len(tables.fingerprint()) == 64


def test_an_overlay_wins(overlay):
    (overlay / "mappings" / "x.csv").write_text("code,becomes\nA,B\n")
    assert tables.root() == overlay
    assert tables.rows("mappings", "x.csv") == ({"code": "A", "becomes": "B"},)


@pytest.mark.parametrize("missing", ["mappings", "dicom", "both"])
def test_an_overlay_without_tables_is_refused_and_not_passed_over(overlay, missing):
    for part in tables.PARTS if missing == "both" else [missing]:
        (overlay / part).rmdir()
    with pytest.raises(ConfigurationError, match="FHIR_BRIDGE_TABLES"):
        tables.root()


def test_a_table_that_is_missing_is_named(overlay):
    with pytest.raises(ConfigurationError, match=r"mappings/none\.csv"):
        tables.rows("mappings", "none.csv")


@pytest.mark.parametrize("line", ["A", "A,B,C", 'A,"B\nC",D'])
def test_a_row_with_another_number_of_cells_is_named_by_its_line(overlay, line):
    (overlay / "mappings" / "x.csv").write_text(f"code,becomes\nA,B\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"x\.csv line \d"):
        tables.rows("mappings", "x.csv")


def test_a_byte_order_mark_is_no_part_of_the_first_name(overlay):
    (overlay / "mappings" / "x.csv").write_text("code\nA\n", encoding="utf-8-sig")
    assert tables.rows("mappings", "x.csv") == ({"code": "A"},)


def test_the_fingerprint_changes_with_any_byte_and_any_name(overlay):
    prints = set()
    for name, content in (("a.csv", "bc"), ("a.csv", "b"), ("ab.csv", "c"), ("ac.csv", "c")):
        path = overlay / "dicom" / name
        path.write_text(content)
        _forget()
        prints.add(tables.fingerprint())
        path.unlink()
    assert len(prints) == 4
