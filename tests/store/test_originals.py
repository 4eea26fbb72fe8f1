"""Originals: the bytes as they came, durable before anything is acknowledged, or nothing at all."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge.errors import StorageFull, StoreError, TooLarge
from fhir_bridge.store.originals import Originals, address

quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_raw_exact(store, chunks):
    """What is read is what was written, under the hash of it, however it was cut."""
    with store.originals.writer(max_bytes=10_000) as writer:
        for chunk in chunks:
            writer.write(chunk)
        blob = writer.commit()
    body = b"".join(chunks)
    assert (blob.sha256, blob.size) == (hashlib.sha256(body).hexdigest(), len(body))
    assert store.originals.read(blob.sha256) == body


def test_the_same_bytes_are_stored_once(store, folder):
    first, second = store.originals.put(b"same"), store.originals.put(b"same")
    assert first == second
    assert [p.name for p in _bodies(folder)] == [first.sha256]


def test_a_body_is_synced_then_named_then_its_folder_is_synced(store, folder, monkeypatch):
    done = _watch_disk(monkeypatch)
    blob = store.originals.put(b"precious")
    target = address(folder / "originals", blob.sha256)
    assert done[0] == ("sync", "incoming")
    assert done[1:3] == [("rename", target.name), ("sync", target.parent.name)]
    # A folder that is new has a name in the one above, which must be on the disk as well.
    assert [name for what, name in done[3:]] == ["originals"]


def test_folders_that_another_process_has_just_made_are_synced_as_well(store, folder, monkeypatch):
    """It may be between making them and syncing them when we acknowledge what lies in them."""
    blob = store.originals.put(b"precious")
    done = _watch_disk(monkeypatch)
    other = Originals(store.database, folder / "originals")
    other.put(b"precious")
    assert [name for _, name in done[1:]] == [blob.sha256[:2], "originals"]


def test_the_folder_is_synced_also_when_another_was_quicker(store, folder, monkeypatch):
    """Its rename may not have reached the disk when we acknowledge on the strength of it."""
    blob = store.originals.put(b"precious")
    done = _watch_disk(monkeypatch)
    store.originals.put(b"precious")
    assert done == [("sync", "incoming"), ("sync", blob.sha256[:2])]


def test_a_body_of_an_earlier_version_is_read_where_it_lies(store, folder):
    blob = store.originals.put(b"precious")
    here = address(folder / "originals", blob.sha256)
    there = here.parent / blob.sha256[2:4] / blob.sha256
    there.parent.mkdir()
    here.rename(there)
    assert store.originals.read(blob.sha256) == b"precious"


def test_bytes_that_changed_on_the_disk_are_noticed(store, folder):
    blob = store.originals.put(b"precious")
    address(folder / "originals", blob.sha256).write_bytes(b"precioux")
    with pytest.raises(StoreError, match="hash"):
        store.originals.read(blob.sha256)


def test_bytes_that_are_gone_are_noticed(store, folder):
    blob = store.originals.put(b"precious")
    address(folder / "originals", blob.sha256).unlink()
    with pytest.raises(StoreError, match="missing"):
        store.originals.read(blob.sha256)


def test_what_is_too_large_leaves_nothing(store, folder):
    with store.originals.writer(max_bytes=10) as writer:
        writer.write(b"12345")
        with pytest.raises(TooLarge):
            writer.write(b"678901")
    assert _bodies(folder) == []
    assert list((folder / "originals" / "incoming").iterdir()) == []


def test_what_is_abandoned_leaves_nothing(store, folder):
    with store.originals.writer(max_bytes=10) as writer:
        writer.write(b"half")
    assert list((folder / "originals" / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StoreError)],
)
@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_disk_that_fails_says_so_and_acknowledges_nothing(
    store, folder, monkeypatch, number, kind, call
):
    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(kind) as failed:
        store.originals.put(b"precious")
    assert type(failed.value) is kind
    assert failed.value.detail == errno.errorcode[number]
    assert list((folder / "originals" / "incoming").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and not subprocess.run(command, check=False).returncode
    if not mounted:
        pytest.skip("a small disk of its own can be mounted here by nobody")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_told_as_such_and_goes_on_when_there_is_space(store, small_disk):
    """The real thing: small writes stay in a buffer, and even closing the file fails."""
    store.originals._folder = small_disk
    (small_disk / "incoming").mkdir()
    ballast = small_disk / "ballast"
    _fill(ballast)
    for body in (b"y" * 1000, b"y" * 100_000):
        with pytest.raises(StorageFull) as full:
            store.originals.put(body)
        assert full.value.retry_after_seconds == 30.0
    assert list((small_disk / "incoming").iterdir()) == []
    ballast.unlink()
    blob = store.originals.put(b"y" * 1000)
    assert store.originals.read(blob.sha256) == b"y" * 1000


def test_an_arrival_comes_back_as_it_was_noted(store, keep):
    kept = keep(
        b"<html>",
        request="GET /r4/Binary/7",
        status=200,
        content_type="text/html",
        headers={"ETag": 'W/"1"'},
        facts={"transfer_syntax": "1.2.840.10008.1.2"},
        previous="o0",
        truncated=True,
        case_id="c1",
    )
    assert store.originals.get("o1") == kept
    assert list(store.originals.of_case("c1")) == [kept]
    assert store.originals.get("nothing") is None


def test_the_same_arrival_twice_is_one_row(store, keep):
    keep(b"a", case_id="c1")
    keep(b"a", case_id="c1")
    assert len(store.originals.of_case("c1")) == 1


def test_only_what_was_left_over_long_ago_is_swept(store, folder):
    incoming = folder / "originals" / "incoming"
    old, fresh = incoming / "old", incoming / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    long_ago = fresh.stat().st_mtime - 7200
    os.utime(old, (long_ago, long_ago))
    assert store.originals.sweep() == 1
    assert [p.name for p in incoming.iterdir()] == ["fresh"]


def _fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def _bodies(folder: Path) -> list[Path]:
    return [p for p in (folder / "originals").rglob("*") if p.is_file()]


def _watch_disk(monkeypatch) -> list[tuple[str, str]]:
    """What is synced and renamed from now on, in order: ("sync", folder), ("rename", new name)."""
    done: list[tuple[str, str]] = []
    rename = Path.rename

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        done.append(("sync", path.name if path.is_dir() else path.parent.name))

    def renamed(path: Path, target: Path) -> Path:
        done.append(("rename", target.name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(Path, "rename", renamed)
    return done
