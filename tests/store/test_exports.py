"""An export's rows: the job, its files in their order, and a new job in the old one's place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fhir_bridge.case.export import Export, ExportFile, Stage
from fhir_bridge.errors import StoreError
from fhir_bridge.store.exports import Exports

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
JOB = Export("c", "st-anne", 1, ("Patient",), ("Patient/$export",), NOW, "2025-01-01T00:00:00Z")
FILES = tuple(ExportFile(n, "output", "Patient", f"u{n}", needs_token=True) for n in range(3))


@pytest.fixture
def exports(store):
    return Exports(store.database, store.originals)


def test_a_job_and_its_files_come_back_as_they_were_put(exports):
    assert exports.get("c", "st-anne") is None
    waiting = replace(JOB, stage=Stage.WAITING, status_url="s", polls=3, progress="half")
    exports.begin(JOB)
    exports.put(waiting, FILES)
    assert exports.get("c", "st-anne") == waiting
    assert tuple(exports.files(JOB)) == FILES


def test_the_next_file_is_the_first_that_is_not_done(exports):
    exports.begin(JOB)
    exports.put(JOB, FILES)
    big = replace(FILES[0], size=2**40, offset=2**40, promised=0, done=True)
    exports.note(JOB, big)
    assert exports.next_file(JOB) == FILES[1]
    assert exports.files(JOB)[0] == big


def test_a_manifest_noted_twice_is_noted_once(exports):
    exports.begin(JOB)
    exports.put(JOB, FILES)
    exports.note(JOB, replace(FILES[0], done=True))
    exports.put(JOB, FILES)
    assert [file.done for file in exports.files(JOB)] == [True, False, False]


def test_a_new_job_forgets_the_files_of_the_one_before(exports):
    exports.begin(JOB)
    exports.put(JOB, FILES)
    exports.begin(replace(JOB, run=2))
    assert exports.files(JOB) == []
    assert exports.get("c", "st-anne").run == 2


def test_a_body_is_read_from_any_byte_on(exports, store):
    blob = store.originals.put(b"0123456789")
    assert b"".join(exports.read(blob.sha256, 4)) == b"456789"
    with pytest.raises(StoreError):
        list(exports.read("0" * 64))
