"""The second witness: a question asked again in parts finds what a page chain lost (TRUTH 3)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge.case.certificate import COMPLETE, Grade
from fhir_bridge.case.ledger import RecordState, count_states
from fhir_bridge.pipeline.pull import plan, witness
from fhir_bridge.pipeline.pull.pages import turn

from .fake_ehr import FakeEhr, document, patient, pull, source_of

DOCUMENTS = "DocumentReference"
HUNDRED = [document(f"d{n:03}", date=f"{1990 + n // 4}-0{1 + n % 4}-02") for n in range(100)]
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _pulled(store, case, documents, **more):
    ehr = FakeEhr(store, case.id, [patient(), *documents], **more)
    return pull(source_of(store, case, ehr), ehr)[DOCUMENTS], ehr


def _held(store, case) -> set[str]:
    rows = store.ledgers.rows(case.id)
    odd = RecordState.FAILED
    return {r.key.id for r in rows if r.key.kind == DOCUMENTS and r.original and r.state != odd}


REPAIRED = {
    "500": {"faults": {2: "500"}},
    "410 search expired": {"faults": {2: "410"}},
    "200 with an OperationOutcome": {"faults": {2: "outcome"}},
    "truncated body": {"faults": {2: "truncated"}},
    "the server drops next": {"faults": {2: "drop-next"}},
    "the window shifts by two": {"faults": {2: "repeat-2", 3: "skip-2"}},
    "next loops": {"faults": {2: "loop"}},
}


@pytest.mark.parametrize("total", ["honest", "none"])
@pytest.mark.parametrize("name", REPAIRED)
def test_what_a_page_chain_lost_is_found_by_asking_in_parts(store, case, name, total):
    """The rows of fhir-anchors 2.1 that were short: all 100 are held, whatever is counted."""
    line, ehr = _pulled(store, case, HUNDRED, totals=total, counts=total, **REPAIRED[name])
    assert (line.grade, line.got, len(_held(store, case))) == (Grade.CONSISTENT, 100, 100)
    assert "by date" in line.agreed
    assert "found-by-witness" in line.findings
    assert len(ehr.asked) < 70


def test_a_server_that_never_counts_is_confirmed_by_dates(store, case):
    line, _ = _pulled(store, case, HUNDRED[:30], totals="none", counts="none")
    assert (line.grade, line.said, line.agreed) == (Grade.CONSISTENT, 30, ("by date",))
    assert line.findings == ("total-absent",)
    assert line.reason == ""


def test_a_total_that_is_the_page_hides_nothing(store, case):
    """Twenty of a hundred, no next, and a total of twenty: a list cut at a page."""
    line, _ = _pulled(
        store, case, HUNDRED, totals="page", counts="ignored", faults={0: "drop-next"}
    )
    held = _held(store, case)
    assert line.grade not in COMPLETE or len(held) == 100
    assert len(held) > 20


def test_a_server_that_ignores_dates_is_no_witness(store, case):
    line, _ = _pulled(store, case, HUNDRED[:30], totals="none", counts="none", filters=False)
    assert (line.grade, line.agreed) == (Grade.UNKNOWN, ())
    assert line.reason == "the hospital does not say how much it has"
    refused = [c for c in line.counts if c.witness == "by date"]
    assert [c.trusted for c in refused] == [False]


def test_records_of_one_day_cannot_be_told_apart_by_date(store, case):
    same = [document(f"d{n}", date="2024-05-01") for n in range(5)]
    line, ehr = _pulled(store, case, same, totals="none", counts="none")
    assert line.grade is Grade.UNKNOWN
    assert not any("'date'" in asked for asked in ehr.asked)


def test_an_honest_count_costs_one_request(store, case):
    line, ehr = _pulled(store, case, HUNDRED[:7])
    assert line.grade is Grade.CONSISTENT
    assert sum("search DocumentReference" in asked for asked in ehr.asked) == 2


def test_a_record_that_only_others_name_is_asked_for_by_its_id(store, case):
    """The list drops d2 by its date and status; d1 refers to it, and the count knows of it."""
    first = document(
        "d1",
        date="2024-01-01",
        relatesTo=[{"code": "replaces", "target": {"reference": f"{DOCUMENTS}/d2"}}],
    )
    hidden = document("d2")
    ehr = FakeEhr(store, case.id, [patient(), first, hidden], counts=2, totals="none")
    of = FakeEhr._of

    def drops(self, type_):
        found = of(self, type_)
        return found if "_id" in self.narrowed else [r for r in found if r is not hidden]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeEhr, "_of", drops)
        line = pull(source_of(store, case, ehr), ehr)[DOCUMENTS]
    assert (line.grade, line.got) == (Grade.CONSISTENT, 2)
    assert "fetched-by-id" in line.findings


def test_a_witness_goes_on_after_every_kill_and_ends_the_same(store, new_case):
    whole, torn = new_case(), new_case()
    undisturbed, _ = _pulled(store, whole, HUNDRED, totals="none", faults={2: "drop-next"})
    ehr = FakeEhr(store, torn.id, [patient(), *HUNDRED], totals="none", faults={2: "drop-next"})
    source = source_of(store, torn, ehr)
    plan.begin(source, ehr, 1)
    while turn(source, ehr, DOCUMENTS):
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(witness, "PIECE", 1)
        while witness.check(source_of(store, torn, ehr), ehr, DOCUMENTS):
            pass
    windows = [asked for asked in ehr.asked if "'date'" in asked]
    assert len(windows) == len(set(windows)) > 5
    line = pull(source_of(store, torn, ehr), ehr)[DOCUMENTS]
    assert (line.grade, line.got, line.findings) == (
        undisturbed.grade, undisturbed.got, undisturbed.findings,
    )  # fmt: skip


def test_the_notes_of_a_witness_are_no_slice(store, case):
    _pulled(store, case, HUNDRED[:30], totals="none", counts="none")
    assert not any("~" in one.type for one in store.ledgers.slices(case.id))


SPOILERS = (
    "drop-next repeat-2 skip-1 skip-2 loop outcome html truncated 500 410 suppressed empty-entry "
    "foreign-next forbidden"
)
spoilers = st.sampled_from(SPOILERS.split())


@quick
@given(
    years=st.lists(st.sampled_from(["", "1999-01-01", "2004-05-06", "2011-02-03"]), max_size=9),
    page=st.integers(1, 4),
    faults=st.dictionaries(st.integers(0, 3), spoilers, max_size=2),
    once=st.dictionaries(st.integers(0, 3), spoilers, max_size=1),
    filters=st.booleans(),
    said=st.sampled_from([("none", "none"), ("page", "none"), ("none", "honest")]),
)
def test_no_witness_ever_calls_complete_what_is_not(
    store, new_case, years, page, faults, once, filters, said
):
    """Invariant complete_is_earned, for dated and undated records and every way to turn pages."""
    case = new_case()
    dated = [{"date": year} if year else {} for year in years]
    documents = [document(f"d{n}", **more) for n, more in enumerate(dated)]
    totals, counts = said
    line, _ = _pulled(
        store, case, documents, page=page, faults=faults, once=once, filters=filters,
        totals=totals, counts=counts,
    )  # fmt: skip
    held = _held(store, case)
    if line.grade in COMPLETE:
        assert held == {d["id"] for d in documents}
    assert line.got == len(held)
    rows = store.ledgers.rows(case.id)
    assert len(rows) == sum(count_states(rows).values())
    assert line.reason or line.grade in COMPLETE
