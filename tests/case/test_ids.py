"""Identifiers follow from what they name: the same on every machine, and never for two things."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.case.ids import bridge_id, document_id, slug, urn

parts = st.text(alphabet=st.sampled_from("ab\x1f\\u/é"), max_size=4)


@given(st.tuples(parts, parts, parts), st.tuples(parts, parts, parts))
def test_two_things_never_have_the_same_id(one, other):
    """Invariant ids_injective, also for sources that write separators into their ids."""
    assert (bridge_id(*one) == bridge_id(*other)) is (one == other)


def test_ids_are_the_same_in_another_process_with_another_hash_seed():
    code = "from fhir_bridge.case.ids import *; print(bridge_id('s', 'Patient', 'é1'), slug('É x'))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, locale in (("1", "C"), ("2", "C.UTF-8"))
    }
    assert runs == {f"{bridge_id('s', 'Patient', 'é1')} {slug('É x')}\n"}


def test_ids_are_pinned_for_good():
    """A change here would give every record of every case another id."""
    assert bridge_id("general-hospital", "Patient", "p1") == "f24f5ce7-6447-5b08-88c5-b1eb39ba1b35"
    assert document_id("c1", "record", 1) == bridge_id("c1", "record", "1")
    assert urn("x") == "urn:uuid:x"


@given(st.text(max_size=30))
def test_a_slug_can_stand_in_a_url_and_is_never_empty(name):
    made = slug(name)
    assert made
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug(made) == made


def test_two_hospitals_in_another_alphabet_are_two_sources():
    names = ["Больница 5", "Клиника 5", "市立病院", "県立病院", "Ιατρικό"]
    assert len({slug(name) for name in names}) == len(names)


def test_a_slug_does_not_depend_on_how_accents_are_composed():
    assert slug("Ho\u0302pital") == slug("H\u00f4pital") == "hopital"
    assert slug("\u0438\u0306") == slug("\u0439")
