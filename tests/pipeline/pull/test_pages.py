"""Complete, or it says what is missing: whatever a server does with its pages (TRUTH 3)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge.case.certificate import COMPLETE, Grade
from fhir_bridge.case.ledger import RecordState, count_states
from fhir_bridge.errors import ProviderUnreachable, StorageFull
from fhir_bridge.pipeline.pull import plan
from fhir_bridge.pipeline.pull.pages import key_of, recount, turn

from .fake_ehr import FakeEhr, document, patient, pull, source_of

DOCUMENTS = "DocumentReference"
HUNDRED = [document(f"d{number:03}") for number in range(100)]
quick = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _pulled(store, case, *documents, **faults):
    ehr = FakeEhr(store, case.id, [patient(), *documents], **faults)
    source = source_of(store, case, ehr)
    return pull(source, ehr)[DOCUMENTS], _held(store, case)


def _held(store, case) -> set[str]:
    rows = store.ledgers.rows(case.id)
    odd = RecordState.FAILED
    return {r.key.id for r in rows if r.key.kind == DOCUMENTS and r.original and r.state != odd}


def _words(line) -> tuple[Grade, int]:
    return line.grade, line.got


# fhir-anchors 2.1, "page 3 of 5 goes wrong": what other clients reported as success although it
# was short. 100 records, 20 a page, every page says total=100.
ANCHORS = {
    "none": ({}, Grade.CONSISTENT, 100),
    "500": ({"faults": {2: "500"}}, Grade.SHORT, 40),
    "410 search expired": ({"faults": {2: "410"}}, Grade.SHORT, 40),
    "429 once": ({"once": {2: "outcome"}}, Grade.CONSISTENT, 100),
    "200 with an OperationOutcome": ({"faults": {2: "outcome"}}, Grade.SHORT, 40),
    "200 with a login page": ({"faults": {2: "html"}}, Grade.SHORT, 40),
    "truncated body": ({"faults": {2: "truncated"}}, Grade.SHORT, 40),
    "the server drops next": ({"faults": {2: "drop-next"}}, Grade.SHORT, 60),
    "the window shifts by two": ({"faults": {2: "repeat-2", 3: "skip-2"}}, Grade.SHORT, 98),
    "ten results suppressed": ({"faults": {1: "suppressed"}}, Grade.SHORT, 99),
    "next loops": ({"faults": {2: "loop"}}, Grade.SHORT, 60),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_page_three_of_five_goes_wrong(store, case, name):
    faults, grade, got = ANCHORS[name]
    line, held = _pulled(store, case, *HUNDRED, **faults)
    assert _words(line) == (grade, got)
    assert len(held) == got
    assert line.said == 100


def test_after_a_search_that_expired_pulling_again_repairs_it(store, case):
    """Other clients say "already done" and stay short."""
    ehr = FakeEhr(store, case.id, [patient(), *HUNDRED], faults={2: "410"})
    source = source_of(store, case, ehr)
    assert _words(pull(source, ehr)[DOCUMENTS]) == (Grade.SHORT, 40)
    ehr.faults = {}
    assert _words(pull(source, ehr, run=2)[DOCUMENTS]) == (Grade.CONSISTENT, 100)
    assert sum(r.key.kind == DOCUMENTS for r in store.ledgers.rows(case.id)) == 100


SPOILERS = (
    "drop-next repeat-2 skip-1 skip-2 loop outcome html truncated 500 410 suppressed empty-entry "
    "foreign-next forbidden"
)
spoilers = st.sampled_from(SPOILERS.split())
# A server that lies in its totals and gives the same lie as its count cannot be told from one that
# has less: a lie is told in one of the two places.
lies = st.one_of(
    st.tuples(st.sampled_from(["honest", "none", "page"]), st.just("ignored")),
    st.tuples(
        st.one_of(st.sampled_from(["honest", "none", "page"]), st.integers(0, 12)),
        st.sampled_from(["honest", "none", "refused"]),
    ),
)


@settings(quick, max_examples=60)
@given(
    number=st.integers(0, 9),
    page=st.integers(1, 4),
    faults=st.dictionaries(st.integers(0, 4), spoilers, max_size=2),
    once=st.dictionaries(st.integers(0, 4), spoilers, max_size=1),
    said=lies,
    twice=st.booleans(),
)
def test_complete_or_it_says_what_is_missing(
    store, new_case, number, page, faults, once, said, twice
):
    """Invariants complete_is_earned and no_loss, for any way a server can turn its pages."""
    case = new_case()
    documents = [document(f"d{n}") for n in range(number)]
    if twice and documents:
        documents.append(document("d0", version="2"))
    totals, counts = said
    line, held = _pulled(
        store, case, *documents, page=page, faults=faults, once=once, totals=totals, counts=counts
    )
    if line.grade in COMPLETE:
        assert held == {d["id"] for d in documents}
    rows = store.ledgers.rows(case.id)
    assert len(rows) == sum(count_states(rows).values())
    assert line.got == len(held)


@quick
@given(number=st.integers(0, 7), page=st.integers(1, 8), totals=st.sampled_from(["honest", "none"]))
def test_a_well_behaved_server_is_complete_whatever_its_page_size(
    store, new_case, number, page, totals
):
    documents = [document(f"d{n}") for n in range(number)]
    line, held = _pulled(store, new_case(), *documents, page=page, totals=totals)
    assert line.grade is Grade.CONSISTENT
    assert held == {d["id"] for d in documents}


def test_a_server_that_does_not_count_is_never_called_complete(store, case):
    line, held = _pulled(store, case, *HUNDRED[:5], totals="none", counts="none")
    assert (line.grade, len(held)) == (Grade.UNKNOWN, 5)


def test_a_total_that_is_the_size_of_the_page_is_not_believed_again(store, case):
    """Even where `_summary=count` is ignored and the same lie comes back."""
    line, _ = _pulled(
        store, case, *HUNDRED[:5], page=5, totals="page", counts="ignored", faults={0: "skip-1"}
    )
    assert line.grade is not Grade.CONSISTENT


def test_a_count_below_what_came_is_no_count(store, case):
    line, _ = _pulled(store, case, *HUNDRED[:5], counts=3, totals="none")
    assert (line.grade, line.said) == (Grade.UNKNOWN, None)


def test_what_an_earlier_run_held_does_not_stand_in_for_what_this_one_misses(store, case):
    """The record set changed in between: three then and three now are not the same three."""
    ehr = FakeEhr(store, case.id, [patient(), *HUNDRED[:3]], page=2)
    source = source_of(store, case, ehr)
    assert pull(source, ehr)[DOCUMENTS].grade is Grade.CONSISTENT
    ehr.resources = [patient(), *HUNDRED[1:4]]
    ehr.faults = {0: "drop-next"}
    line = pull(source, ehr, run=2)[DOCUMENTS]
    assert (line.grade, line.got, line.said) == (Grade.SHORT, 2, 3)


def test_a_record_that_is_named_and_could_not_be_read_is_not_counted_as_held(store, case):
    """The list drops d2, d1 refers to it, and reading it fails: two of two would be a lie."""
    first = document(
        "d1", relatesTo=[{"code": "replaces", "target": {"reference": f"{DOCUMENTS}/d2"}}]
    )
    ehr = FakeEhr(store, case.id, [patient(), first], counts=2, totals="none")
    source = source_of(store, case, ehr)
    for run in (1, 2):
        line = pull(source, ehr, run=run)[DOCUMENTS]
        assert (line.grade, line.got) == (Grade.SHORT, 1)
    states = {r.key.id: r.state for r in store.ledgers.rows(case.id) if r.key.kind == DOCUMENTS}
    assert states["d2"] is RecordState.FAILED


def test_a_slice_that_is_refused_as_a_whole_says_so(store, case):
    line, _ = _pulled(store, case, *HUNDRED[:3], refused={DOCUMENTS})
    assert line.grade is Grade.REFUSED
    assert "refused" in line.reason


def test_a_list_that_is_a_refusal_is_refused(store, case):
    line, _ = _pulled(store, case, *HUNDRED[:3], faults={0: "forbidden"})
    assert line.grade is Grade.REFUSED


def test_a_type_that_is_not_offered_is_not_asked(store, case):
    offers = {"DiagnosticReport": frozenset({"search-type"}), "Patient": frozenset({"read"})}
    ehr = FakeEhr(store, case.id, [patient()], interactions=offers)
    line = pull(source_of(store, case, ehr), ehr)[DOCUMENTS]
    assert line.grade is Grade.NOT_ASKED
    assert not any(DOCUMENTS in asked for asked in ehr.asked)


def test_an_attachment_that_failed_makes_its_slice_short(store, case):
    named = {"content": [{"attachment": {"url": "Binary/7"}}]}
    line, _ = _pulled(store, case, document("d1", **named))
    assert line.grade is Grade.SHORT


def test_a_fault_of_our_own_is_not_the_hospitals(store, case):
    """A full disk must not end the slice: the step is taken again when there is space."""
    ehr = FakeEhr(store, case.id, [patient(), *HUNDRED[:3]], page=2)
    source = source_of(store, case, ehr)
    plan.begin(source, ehr, 1)

    def full(*_: object, **__: object) -> None:
        raise StorageFull("ENOSPC")

    search, ehr_type = FakeEhr.search, type(ehr)
    try:
        ehr_type.search = full
        with pytest.raises(StorageFull):
            turn(source, ehr, DOCUMENTS)
        with pytest.raises(StorageFull):
            recount(source, ehr, DOCUMENTS)
    finally:
        ehr_type.search = search
    assert not store.ledgers.slice(case.id, "st-anne", DOCUMENTS).ended
    assert pull(source, ehr)[DOCUMENTS].grade is Grade.CONSISTENT


def test_the_pages_are_chained_by_their_originals(store, case):
    """TRUTH 1: previous is the exchange that named the page (the fake insists on it)."""
    ehr = FakeEhr(store, case.id, [patient(), *HUNDRED[:5]], page=2)
    pull(source_of(store, case, ehr), ehr)
    slice_ = store.ledgers.slice(case.id, "st-anne", DOCUMENTS)
    assert store.originals.get(slice_.previous) is not None
    assert (slice_.pages, len(slice_.visited)) == (3, 3)
    assert all(len(mark) == 16 for mark in slice_.visited)


def test_a_chain_that_brings_nothing_new_under_ever_new_addresses_ends(store, case, monkeypatch):
    ehr = FakeEhr(store, case.id, [patient(), *HUNDRED[:2]])

    def again(self, type_, number, start, fault):
        return {"relation": "next", "url": f"{self.base}?type={type_}&page={number + 1}&start=0"}

    monkeypatch.setattr(FakeEhr, "_next", again)
    ehr.page = 1
    line = pull(source_of(store, case, ehr), ehr)[DOCUMENTS]
    assert line.grade is Grade.SHORT
    assert line.reason.startswith("FB-2010")
    assert sum(asked.startswith("follow") for asked in ehr.asked) < 200


def test_what_came_along_answers_no_question(store, case, monkeypatch):
    """An included record of the same type is held, and never counted against the total."""
    ehr = FakeEhr(store, case.id, [patient(), *HUNDRED[:2]])
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "entry": [
            {"resource": document("d1"), "search": {"mode": "match"}},
            {"resource": document("d2"), "search": {"mode": "include"}},
        ],
    }
    monkeypatch.setattr(FakeEhr, "_window", lambda self, *_, **__: self._answer(bundle))
    ehr.counts = 1
    line = pull(source_of(store, case, ehr), ehr)[DOCUMENTS]
    assert (line.grade, line.got) == (Grade.CONSISTENT, 1)
    assert _held(store, case) == {"d1", "d2"}


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "X"},
        {"resourceType": "X", "id": 7, "meta": "none"},
        {"resourceType": "X", "id": {"a": 1}, "meta": {"versionId": ["1"]}},
        {"resourceType": "X", "id": "", "meta": {"versionId": ""}},
    ],
)
def test_what_has_no_id_is_known_by_its_bytes(resource):
    key, other = key_of("s", resource), key_of("s", {**resource, "more": 1})
    assert len(key.id) == len(key.version) == 64
    assert key == key_of("s", dict(reversed(resource.items())))
    assert key != other


def test_a_version_that_is_a_number_is_still_a_version():
    assert key_of("s", {"resourceType": "X", "id": "1", "meta": {"versionId": 3}}).version == "3"


class _Stumbling:
    """A ledger that fails at the nth change: before it is committed, or just after."""

    def __init__(self, ledgers, at: int, *, after: bool) -> None:
        self._ledgers, self._left, self._after = ledgers, at, after

    def __getattr__(self, name: str):
        method = getattr(self._ledgers, name)
        if name not in {"turn", "see", "settle", "claim"}:
            return method

        def stumbles(*given, **named):
            self._left -= 1
            if self._left == 0 and not self._after:
                raise KeyboardInterrupt
            done = method(*given, **named)
            if self._left == 0:
                raise KeyboardInterrupt
            return done

        return stumbles


def _shape(store, case):
    rows = store.ledgers.rows(case.id)
    slices = store.ledgers.slices(case.id)
    files = store.ledgers.attachments(case.id)
    return (
        sorted((r.key, r.state, r.position, r.sightings, r.error_code) for r in rows),
        [(s.type, s.ended, s.pages, s.evidence) for s in slices],
        sorted((a.key, a.parent, a.path, a.sha256, a.failure) for a in files),
    )


def _reference(literal: str) -> dict[str, str]:
    return {"reference": literal}


def _attached(**attachment: str) -> dict[str, dict[str, str]]:
    return {"attachment": attachment}


RICH = [
    patient(),
    document("d1", author=[_reference("Practitioner/a")]),
    document("d2", content=[_attached(url="Binary/7"), _attached(data="aGk=")]),
    document("d3", content=[_attached(url="Binary/7"), _attached(url="Binary/8")]),
    {
        "resourceType": "Practitioner",
        "id": "a",
        "qualification": [{"issuer": _reference("Organization/o")}],
    },
    {"resourceType": "Organization", "id": "o"},
    {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "subject": _reference("Patient/p1"),
        "result": [_reference("Observation/gone")],
    },
]


def _rich(store, case) -> FakeEhr:
    bodies = {"https://ehr.example/r4/Binary/7": b"%PDF-1.7 seven"}
    return FakeEhr(store, case.id, RICH, page=2, bodies=bodies)


@quick
@given(at=st.integers(1, 24), after=st.booleans())
def test_a_pull_that_was_interrupted_ends_like_one_that_was_not(store, new_case, at, after):
    """At any commit, before or after it: nothing is lost, nothing is counted twice."""
    whole, torn = new_case(), new_case()
    ehr = _rich(store, whole)
    pull(source_of(store, whole, ehr), ehr)
    ehr = _rich(store, torn)
    stumbling = _Stumbling(store.ledgers, at, after=after)
    try:
        pull(source_of(store, torn, ehr, shelf=stumbling), ehr)
    except KeyboardInterrupt:
        pull(source_of(store, torn, ehr), ehr)
    assert _shape(store, torn) == _shape(store, whole)


def test_the_rich_chart_is_what_the_interruptions_are_about(store, case):
    ehr = _rich(store, case)
    found = pull(source_of(store, case, ehr), ehr)
    assert found[DOCUMENTS].grade is Grade.SHORT  # Binary/8 is not handed over
    ids = {(r.key.kind, r.key.id): r.state for r in store.ledgers.rows(case.id)}
    assert ids["Organization", "o"] is RecordState.PENDING
    assert ids["Observation", "gone"] is RecordState.FAILED


@quick
@given(order=st.permutations(range(5)), page=st.integers(1, 5))
def test_order_and_page_size_leave_no_trace(store, new_case, order, page):
    """Invariants order_free and split_free, as far as the ledger goes."""
    documents = [document(f"d{n}") for n in range(5)]
    first, second = new_case(), new_case()
    _pulled(store, first, *documents)
    _pulled(store, second, *[documents[n] for n in order], page=page)
    assert {r.key for r in store.ledgers.rows(first.id)} == {
        r.key for r in store.ledgers.rows(second.id)
    }


def test_a_hospital_that_goes_away_in_the_middle_leaves_a_verdict(store, case, monkeypatch):
    def gone(self, url, *, previous):
        raise ProviderUnreachable("no connection")

    monkeypatch.setattr(FakeEhr, "follow", gone)
    line, held = _pulled(store, case, *HUNDRED[:30])
    assert (line.grade, len(held)) == (Grade.SHORT, 20)
    assert line.reason.startswith("FB-2001")
