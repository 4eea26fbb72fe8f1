"""Pulling again: less is asked, and what was amended, deleted or brought back is found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge.case.case import Case
from fhir_bridge.case.certificate import Grade
from fhir_bridge.case.events import Happened
from fhir_bridge.case.ledger import GONE, RecordState
from fhir_bridge.pipeline.pull import pages, plan
from fhir_bridge.store.shelves import Store

from .fake_ehr import NOW, FakeEhr, document, patient, pull, source_of

DOCUMENTS = "DocumentReference"
SINCE = {DOCUMENTS: frozenset({"_lastUpdated", "date"})}
ONLY = {DOCUMENTS: frozenset({"search-type", "read"})}
HOUR = timedelta(hours=1)


def dated(id_: str, version: str = "1", hours: int = 0, **more: Any) -> dict[str, Any]:
    """A document that was last updated so many hours after the first run."""
    at = (NOW + hours * HOUR - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return document(id_, version, meta={"versionId": version, "lastUpdated": at}, **more)


@dataclass(slots=True)
class Hospital:
    """One case and one server that is pulled from again and again, an hour apart."""

    store: Store
    case: Case
    ehr: FakeEhr
    run: int = 0

    def pull(self, *, full: bool = False, days: int = 0) -> Any:
        self.run += 1
        self.ehr.asked.clear()
        now = NOW + (self.run - 1) * HOUR + timedelta(days=days)
        source = replace(source_of(self.store, self.case, self.ehr), now=lambda: now)
        if full:
            plan.begin(source, self.ehr, self.run, full=True)
        return pull(source, self.ehr, run=self.run)[DOCUMENTS]

    def has(self, *documents: dict[str, Any]) -> None:
        self.ehr.resources[:] = [patient(), *documents]

    @property
    def searches(self) -> list[str]:
        wanted = (f"search {DOCUMENTS}", "follow")
        return [one for one in self.ehr.asked if one.startswith(wanted) and "_summary" not in one]

    @property
    def reads(self) -> list[str]:
        return [one for one in self.ehr.asked if one.startswith(f"read {DOCUMENTS}")]

    def states(self) -> dict[str, RecordState]:
        rows = self.store.ledgers.rows(self.case.id)
        return {f"{r.key.id}@{r.key.version}": r.state for r in rows if r.key.kind == DOCUMENTS}

    def shown(self) -> set[str]:
        """The ids of what normalization would see."""
        sighted = self.store.ledgers.sighted(self.case.id)
        return {one.key.id for one in sighted if one.key.kind == DOCUMENTS}


@pytest.fixture
def hospital(store, new_case):
    def made(*documents, **more):
        case = new_case()
        ehr = FakeEhr(store, case.id, [], **{"search_params": SINCE, "interactions": ONLY, **more})
        found = Hospital(store, case, ehr)
        found.has(*documents)
        return found

    return made


@pytest.fixture
def thirty(hospital):
    """A hospital with thirty documents, all of them pulled once."""
    here = hospital(*(dated(f"d{n:02}") for n in range(30)))
    first = here.pull()
    assert (first.grade, first.got, len(here.searches)) == (Grade.CONSISTENT, 30, 2)
    return here


def test_a_second_run_asks_only_for_what_changed(thirty):
    amended = dated("d07", "2", hours=1)
    thirty.has(*(dated(f"d{n:02}") for n in range(30) if n != 7), amended, dated("new", hours=1))
    line = thirty.pull()
    asked = {"patient": "p1", "_count": "100", "_lastUpdated": "ge2026-03-02T08:57:30Z"}
    assert thirty.searches == [f"search {DOCUMENTS} {asked}"]
    assert (line.grade, line.got) == (Grade.CONSISTENT, 31)
    assert {"d07@1", "d07@2", "new@1"} <= thirty.states().keys()


def test_what_the_increment_asked_stands_in_the_slice(thirty):
    thirty.pull()
    now = thirty.store.ledgers.slice(thirty.case.id, "st-anne", DOCUMENTS)
    assert now.question[-1] == ("_lastUpdated", "ge2026-03-02T08:57:30Z")
    assert (now.since, now.whole) == ("_lastUpdated", now.question[:-1])
    assert (now.began, now.full_at) == (NOW + HOUR, NOW)


def test_a_deletion_is_found_in_the_same_run_and_set_aside(thirty):
    thirty.has(*(dated(f"d{n:02}") for n in range(29)))
    line = thirty.pull()
    assert len(thirty.searches) == 3, "the increment, and the whole list in two pages"
    assert thirty.reads == [f"read {DOCUMENTS}/d29"]
    assert (line.grade, line.got, line.gone) == (Grade.CONSISTENT, 29, 1)
    assert "gone-at-source" in line.findings
    rows = [r for r in thirty.store.ledgers.rows(thirty.case.id) if r.key.id == "d29"]
    assert [(r.state, r.rule) for r in rows] == [(RecordState.QUARANTINED, GONE)]
    assert "d29" not in thirty.shown()
    events = thirty.store.events.after(0, case_id=thirty.case.id)
    assert [e.facts["count"] for e in events if e.name is Happened.RECORD_GONE] == [1]


def test_a_deletion_is_told_once_and_asked_for_once(thirty):
    thirty.has(*(dated(f"d{n:02}") for n in range(29)))
    thirty.pull()
    line = thirty.pull(full=True)
    assert (line.got, line.gone, thirty.reads) == (29, 0, [])


def test_a_document_that_comes_back_is_settled_anew_with_its_versions(hospital):
    here = hospital(dated("a"), dated("b"))
    here.pull()
    here.has(dated("a"))
    here.pull()
    assert here.states()["b@1"] is RecordState.QUARANTINED
    here.has(dated("a"), dated("b", "2", hours=2))
    assert here.pull().got == 2
    assert here.states() == dict.fromkeys(["a@1", "b@1", "b@2"], RecordState.PENDING)


def test_the_files_of_what_is_gone_are_no_longer_missed(hospital):
    url = "https://ehr.example/r4/Binary/1"
    file = {"content": [{"attachment": {"url": url}}]}
    here = hospital(dated("a"), dated("b", **file))
    assert here.pull().grade is Grade.SHORT
    here.has(dated("a"))
    line = here.pull()
    assert (line.grade, line.attachments_failed) == (Grade.CONSISTENT, 0)
    assert not here.store.ledgers.attachments(here.case.id)


def test_what_the_list_lost_and_a_read_still_finds_counts_as_obtained(thirty):
    thirty.ehr.once = {0: "skip-1"}
    line = thirty.pull(full=True)
    assert thirty.reads == [f"read {DOCUMENTS}/d00"]
    assert (line.grade, line.got, line.gone) == (Grade.CONSISTENT, 30, 0)
    assert "fetched-by-id" in line.findings


def test_what_was_retracted_may_leave_the_list(hospital, monkeypatch):
    here = hospital(dated("a"), dated("b"))
    here.pull()
    here.has(dated("a"), dated("b", "2", hours=1, status="entered-in-error"))
    everything = FakeEhr._of

    def in_use(self, type_):
        return [one for one in everything(self, type_) if one.get("status") == "current"]

    monkeypatch.setattr(FakeEhr, "_of", in_use)
    line = here.pull()
    assert (line.grade, line.got, line.gone) == (Grade.CONSISTENT, 1, 0)
    assert here.states().keys() == {"a@1", "b@1", "b@2"}


@pytest.mark.parametrize(
    "trouble",
    [
        {"counts": "refused"},
        {"counts": "none"},
        {"counts": 7},
        {"totals": "none"},
        {"totals": "page", "page": 3},
        {"once": {0: "500"}},
        {"once": {0: "suppressed"}},
        {"once": {0: "skip-1"}},
    ],
    ids=lambda trouble: " ".join(f"{k}-{v}" for k, v in trouble.items()),
)
def test_an_increment_that_cannot_be_believed_is_followed_by_the_whole_list(thirty, trouble):
    thirty.has(*(dated(f"d{n:02}", "2", hours=1) for n in range(5)),
               *(dated(f"d{n:02}") for n in range(5, 30)))  # fmt: skip
    for name, value in trouble.items():
        setattr(thirty.ehr, name, value)
    line = thirty.pull()
    assert line.got == 30
    assert {f"d{n:02}@2" for n in range(5)} <= thirty.states().keys()
    asked = [one for one in thirty.searches if "search" in one and "_lastUpdated" not in one]
    assert asked, "the whole list"


def test_a_server_that_does_not_look_at_the_parameter_lists_everything_once(thirty):
    thirty.ehr.filters = False
    line = thirty.pull()
    assert (line.grade, line.got, len(thirty.searches)) == (Grade.CONSISTENT, 30, 2)


@pytest.mark.parametrize(
    ("more", "why"),
    [({"search_params": {}}, "not declared"), ({"totals": "none"}, "no total to hold it against")],
)
def test_without_solid_ground_the_whole_list_is_asked_again(hospital, more, why):
    here = hospital(dated("a"), **more)
    here.pull()
    here.pull()
    assert all("_lastUpdated" not in one for one in here.searches), why


def test_the_whole_list_is_asked_again_after_a_week_or_when_wanted(thirty):
    thirty.pull(days=6)
    assert "_lastUpdated" in thirty.searches[0]
    thirty.pull(days=8)
    assert "_lastUpdated" not in thirty.searches[0]
    thirty.pull(days=8, full=True)
    assert "_lastUpdated" not in thirty.searches[0]


def test_a_rule_of_the_vendor_takes_dates_or_nothing(thirty, monkeypatch):
    rule = plan.rule
    how = {"increment": "date"}
    monkeypatch.setattr(plan, "rule", lambda vendor, name: how.get(name) or rule(vendor, name))
    thirty.has(*thirty.ehr.resources[1:], dated("new", hours=1, date="2026-03-02T09:40:00Z"))
    assert thirty.pull().got == 31
    assert "'date': 'ge2026-03-02'" in thirty.searches[0]
    how["increment"] = "none"
    thirty.pull()
    assert "ge2026" not in thirty.searches[0]


def test_a_run_begins_when_the_earlier_of_both_clocks_says(thirty, monkeypatch):
    answer = FakeEhr._answer

    def stamped(self, body):
        found = answer(self, body)
        headers = {"Date": "Mon, 02 Mar 2026 07:00:00 GMT"}
        return replace(found, original=replace(found.original, headers=headers))

    monkeypatch.setattr(FakeEhr, "_answer", stamped)
    thirty.pull(full=True)
    thirty.pull()
    assert "'ge2026-03-02T06:57:30Z'" in thirty.searches[0]


def test_a_run_that_is_killed_among_the_reads_goes_on_with_the_rest(store, new_case):
    case = new_case()
    ehr = FakeEhr(store, case.id, [], search_params=SINCE, interactions=ONLY)
    here = Hospital(store, case, ehr)
    here.has(*(dated(f"d{n:02}") for n in range(12)))
    here.pull()
    here.has()
    source = source_of(store, case, ehr)
    plan.begin(source, ehr, 2, full=True)
    assert pages.turn(source, ehr, DOCUMENTS), "the list is empty, twelve are to be looked for"
    assert pages.turn(source, ehr, DOCUMENTS), "eight of them are"
    ehr.asked.clear()
    assert not pages.turn(source, ehr, DOCUMENTS)
    assert len(ehr.asked) == 4
    assert set(here.states().values()) == {RecordState.QUARANTINED}


CHANGE = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["amend", "delete", "restore"])),
    max_size=4,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds=st.lists(CHANGE, min_size=1, max_size=3))
def test_increments_end_where_whole_lists_do(store, new_case, rounds):
    """Issue 4: the ledger and the certificate do not depend on how little was asked."""

    def after(*, full: bool) -> Any:
        case, known = new_case(), {"search_params": SINCE, "interactions": ONLY}
        here = Hospital(store, case, FakeEhr(store, case.id, [], page=3, **known))
        chart = {id_: dated(id_) for id_ in "abcdef"}
        here.has(*chart.values())
        line = here.pull()
        for number, changes in enumerate(rounds, 1):
            for id_, how in changes:
                if how == "delete":
                    chart.pop(id_, None)
                else:
                    chart[id_] = dated(id_, str(number + 1), hours=number)
            here.has(*chart.values())
            line = here.pull(full=full)
        return (line.grade, line.got, line.said), here.states(), here.shown()

    assert after(full=False) == after(full=True)
