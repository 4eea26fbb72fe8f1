"""Secrets at rest: opened by their key and for their purpose only; the key is nobody else's."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import ConfigurationError
from fhir_bridge.security.secrets import KEY_BYTES, Seal

SEAL = Seal(b"k" * KEY_BYTES)
ANNE, GENERAL = "provider/st-anne/secret", "provider/general/secret"


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_was_sealed_opens_for_its_purpose(clear, purpose):
    sealed = SEAL.seal(clear, purpose)
    assert SEAL.open(sealed, purpose) == clear
    assert len(clear) < 4 or clear not in sealed


def test_the_secret_of_one_hospital_does_not_open_as_anothers():
    sealed = SEAL.seal(b"secret", ANNE)
    with pytest.raises(ConfigurationError):
        SEAL.open(sealed, GENERAL)


@given(st.integers(0, 33), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place, by):
    sealed = bytearray(SEAL.seal(b"secret", ANNE))
    sealed[place] ^= by
    with pytest.raises(ConfigurationError):
        SEAL.open(bytes(sealed), ANNE)


@pytest.mark.parametrize("sealed", [b"", b"short", b"x" * 27, b"x" * 28])
def test_what_was_never_sealed_is_a_matter_of_configuration(sealed):
    """A login that needs a secret and has none says so, and breaks nothing else."""
    with pytest.raises(ConfigurationError):
        SEAL.open(sealed, ANNE)


def test_the_same_secret_never_looks_the_same():
    assert SEAL.seal(b"secret", ANNE) != SEAL.seal(b"secret", ANNE)


def test_nothing_of_the_key_or_the_secret_is_in_what_is_printed():
    with pytest.raises(ConfigurationError) as failed:
        Seal(b"j" * KEY_BYTES).open(SEAL.seal(b"open sesame", ANNE), ANNE)
    assert "sesame" not in repr(failed.value) + str(failed.value) + repr(SEAL)
    assert "kkk" not in repr(SEAL) + str(vars(SEAL))


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path):
    folder = tmp_path / "keys"
    sealed = Seal.in_folder(folder).seal(b"secret", ANNE)
    assert Seal.in_folder(folder).open(sealed, ANNE) == b"secret"
    (key,) = folder.iterdir()
    assert (key.name, key.stat().st_mode & 0o777, key.stat().st_size) == ("seal.key", 0o600, 32)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_key_is_on_the_disk_before_its_name_and_the_name_before_it_is_used(
    tmp_path, monkeypatch
):
    done: list[str] = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: done.append("sync") or sync(fd))
    monkeypatch.setattr(os, "link", lambda a, b: done.append("name") or link(a, b))
    Seal.in_folder(tmp_path / "keys")
    assert done == ["sync", "name", "sync"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_refused(tmp_path, content):
    (tmp_path / "seal.key").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"seal\.key"):
        Seal.in_folder(tmp_path)


def test_a_key_that_cannot_be_made_is_a_matter_of_configuration(tmp_path):
    (tmp_path / "keys").write_text("a file where the folder should be")
    with pytest.raises(ConfigurationError, match=r"seal\.key"):
        Seal.in_folder(tmp_path / "keys")
