"""Every record seen has one row and one end; a case record that does not balance names the row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState, count_states, imbalance

ids = st.sampled_from(["a", "b", "c", "d"])
rows = st.lists(
    st.builds(
        LedgerRow,
        key=st.builds(RecordKey, st.just("st-anne"), st.just("Observation"), ids),
        state=st.sampled_from(RecordState),
        entry=st.sampled_from(["", "urn:1", "urn:2"]),
    ),
    max_size=6,
)
entries = st.sets(st.sampled_from(["urn:1", "urn:2", "urn:made"]))
MADE = frozenset({"urn:made"})


@given(rows)
def test_seen_is_the_sum_of_the_states(seen):
    assert sum(count_states(seen).values()) == len(seen)
    assert set(count_states(seen)) == set(RecordState)


@given(rows, entries)
def test_a_record_that_balances_accounts_for_everything_both_ways(seen, present):
    kept = {row.entry for row in seen if row.state is RecordState.KEPT}
    balanced = (
        all(row.state is not RecordState.PENDING for row in seen)
        and kept <= present
        and present <= kept | MADE
    )
    assert (imbalance(seen, present, MADE) == ()) is balanced


def test_the_sentence_names_the_row():
    key = RecordKey("st-anne", "DocumentReference", "7", "3")
    (sentence,) = imbalance([LedgerRow(key)], [], frozenset())
    assert sentence == "st-anne DocumentReference/7@3 is still pending"


def test_an_end_keeps_how_the_record_came():
    row = LedgerRow(RecordKey("s", "Observation", "1"), original="o1", position="4", sightings=3)
    ended = row.ended(RecordState.SUPERSEDED, rule="newer version", target="s Observation/1@2")
    assert (ended.original, ended.position, ended.sightings) == ("o1", "4", 3)
    assert (ended.state, ended.rule) == (RecordState.SUPERSEDED, "newer version")
