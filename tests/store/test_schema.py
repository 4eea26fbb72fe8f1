"""What goes into a column comes out of it: any text, any moment with its zone, every digit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import LargeBinary

from fhir_bridge.errors import StorageFull, StoreError
from fhir_bridge.standards.fhir import json
from fhir_bridge.store import schema
from fhir_bridge.store.database import Database

ODD = [
    "\x00",
    "a\x00b",
    "\ud800",
    "\\",
    "\\0000",
    "\\\\d800",
    "é\u0301\u202e\u2028",
    "\U0001f9e0",
    "'; DROP TABLE fb_case; --",
    "line\r\nline",
    " ",
]
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXTS = [
    column
    for table in schema.metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, schema.Text)
]


@pytest.fixture
def bare(store) -> Database:
    return store.database


@quick
@given(st.text(st.characters(), max_size=20))
def test_nul_surrogate_safe(value):
    """Invariant 42: injective and reversible, and what is written is plain UTF-8 without NUL."""
    text = schema.Text()
    written = text.process_bind_param(value, None)
    assert written.encode().find(b"\x00") < 0
    assert text.process_result_value(written, None) == value


@pytest.mark.parametrize("value", ODD, ids=ascii)
def test_odd_text_survives_in_every_text_column(bare, value):
    assert len(TEXTS) > 80
    for table in schema.metadata.sorted_tables:
        row = {column.name: _filler(column, value) for column in table.columns}
        with bare.write() as connection:
            connection.exec_driver_sql("pragma defer_foreign_keys = on")
            connection.execute(table.insert().values(**row))
            found = connection.execute(table.select()).one()
            assert {name: getattr(found, name) for name in row} == row
            texts = [c for c in table.columns if isinstance(c.type, schema.Text)]
            equal = table.select().where(*(column == value for column in texts))
            assert len(connection.execute(equal).all()) == 1
            connection.execute(table.delete())


def test_no_column_of_words_goes_around_that(bare):
    kinds = {type(column.type).__name__ for column in schema.event.columns}
    assert "PlainText" not in kinds
    names = {type(c.type) for t in schema.metadata.sorted_tables for c in t.columns}
    assert not any(kind.__name__ in {"TEXT", "String", "VARCHAR"} for kind in names)


@quick
@given(st.datetimes(timezones=st.timezones(), allow_imaginary=False))
def test_a_moment_keeps_its_instant_and_says_its_zone(bare, moment):
    with bare.write() as connection:
        connection.execute(schema.worker.delete())
        connection.execute(schema.worker.insert().values(slot="s", beat=moment))
        found = connection.execute(schema.worker.select()).one().beat
    assert found == moment.astimezone(UTC)
    assert found.utcoffset() == timedelta(0)


def test_a_moment_with_an_offset_is_compared_by_its_instant(bare):
    east = datetime(2026, 3, 2, 10, 0, tzinfo=timezone(timedelta(hours=1)))
    with bare.write() as connection:
        connection.execute(schema.worker.insert().values(slot="s", beat=east))
        same = schema.worker.c.beat == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        assert connection.execute(schema.worker.select().where(same)).one().slot == "s"


@pytest.mark.parametrize(
    "literal", ['{"v":1.50}', '{"v":1e3}', '{"v":0.0000001}', '{"v":"\\u0000"}', '{"b":1,"a":-0}']
)
def test_facts_keep_their_digits(bare, literal):
    value = json.loads(literal.encode())
    with bare.write() as connection:
        connection.execute(
            schema.event.insert().values(
                name="n", actor="a", at=datetime(2026, 3, 2, tzinfo=UTC), facts=value
            )
        )
        found = connection.execute(schema.event.select()).one().facts
    assert json.dumps(found) == json.dumps(value)


def test_a_fault_of_the_database_tells_nothing_of_what_was_written(bare):
    row = {"slot": "Jane Doe", "beat": datetime(2026, 3, 2, tzinfo=UTC)}

    def twice() -> None:
        with bare.write() as connection:
            connection.execute(schema.worker.insert().values(**row))
            connection.execute(schema.worker.insert().values(**row))

    with pytest.raises(StoreError) as failed:
        twice()
    assert "Jane" not in str(failed.value) + repr(failed.value) + str(failed.value.__cause__)


def test_a_full_database_is_a_full_storage(bare):
    big = {"name": "n", "actor": "x" * 200_000, "at": datetime(2026, 3, 2, tzinfo=UTC), "facts": {}}

    def fill() -> None:
        with bare.write() as connection:
            connection.exec_driver_sql("pragma max_page_count = 1")
            for _ in range(50):
                connection.execute(schema.event.insert().values(**big))

    with pytest.raises(StorageFull):
        fill()


def _filler(column, value):
    match column.type:
        case schema.Text():
            return value
        case schema.Instant():
            return datetime(2026, 3, 2, tzinfo=UTC)
        case schema.Facts():
            return {"any": value.replace("\ud800", "?"), "digits": Decimal("1.50")}
        case LargeBinary():
            return b"\x00sealed"
        case _:
            return 1
