"""What the bridge rests on in its durable engine, on PostgreSQL as well."""

from __future__ import annotations

import pytest

from ..test_workflows import (
    database,
    engine,
    engine_at_work,
    journal,
    start,
    test_nothing_in_the_tables_could_be_unpickled_and_every_row_is_of_our_version,
    test_read_modify_write_by_eight_threads_loses_nothing,
    test_two_workers_that_take_the_same_rung_send_once,
    test_work_is_enqueued_with_the_rows_that_cause_it_or_not_at_all,
    workers,
)

__all__ = [
    "database",
    "engine",
    "engine_at_work",
    "journal",
    "start",
    "test_nothing_in_the_tables_could_be_unpickled_and_every_row_is_of_our_version",
    "test_read_modify_write_by_eight_threads_loses_nothing",
    "test_two_workers_that_take_the_same_rung_send_once",
    "test_work_is_enqueued_with_the_rows_that_cause_it_or_not_at_all",
    "workers",
]


@pytest.fixture
def url(postgres_url: str) -> str:
    """A new empty database."""
    return postgres_url
