"""Every grade, state and error has its sentence, in the words of TRUTH."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest

from fhir_bridge import errors
from fhir_bridge.case.case import CaseState
from fhir_bridge.case.certificate import COMPLETE, Count, Evidence, Grade, Line, grade, line
from fhir_bridge.case.delivery import Delivery, DeliveryState, ReadBack
from fhir_bridge.case.events import Happened
from fhir_bridge.case.identity import Match
from fhir_bridge.case.ledger import RecordState
from fhir_bridge.case.slice import IMAGES
from fhir_bridge.servers.console import live, nouns, show, troubles, words
from fhir_bridge.servers.console.words import State


@pytest.mark.parametrize("module", [words, show, nouns])
def test_the_examples_in_the_docstrings_hold(module) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("table", "members"),
    [
        (words.RECORD, RecordState),
        (words.CASE, CaseState),
        (words.DELIVERY, DeliveryState),
        (words.READ_BACK, ReadBack),
        (words.HAPPENED, Happened),
        (words.MATCH, Match),
        (words.WORD, State),
        (live.TOUCHES, Happened),
    ],
)
def test_every_member_has_its_words(table, members) -> None:
    assert set(table) == set(members)


@pytest.mark.parametrize("code", sorted(troubles.ERRORS))
def test_every_error_says_what_happened_and_who_acts_next(code: str) -> None:
    kind = troubles.ERRORS[code]
    assert troubles.advice(code) == kind.advice
    assert troubles.who_next(code).endswith(".")
    assert troubles.failure(code).text == kind.advice
    assert code not in kind.advice


def test_the_catalogue_knows_the_whole_tree() -> None:
    assert troubles.ERRORS["FB-0001"] is errors.BridgeError
    assert len(troubles.ERRORS) > 35
    assert troubles.advice("FB-9999") == errors.BridgeError.advice


@pytest.mark.parametrize(
    ("kind", "evidence", "said"),
    [
        (
            "DocumentReference",
            Evidence(obtained=29, counts=(Count("total", 31),)),
            "2 of 31 documents are missing.",
        ),
        (
            "DiagnosticReport",
            Evidence(obtained=1, counts=(Count("total", 2),)),
            "1 of 2 reports is missing.",
        ),
        (
            "DocumentReference",
            Evidence(obtained=31, counts=(Count("count", 31, after=True),)),
            "Complete by the hospital's own count (31 of 31).",
        ),
        (
            IMAGES,
            Evidence(
                obtained=1180,
                counts=tuple(
                    Count(w, 1180, after=True, ids_agree=True) for w in ("QIDO", "C-FIND")
                ),
            ),
            "Complete, checked twice (1,180 of 1,180).",
        ),
        (
            "DiagnosticReport",
            Evidence(obtained=20),
            "All that was offered is here (20); the hospital does not say how much it has.",
        ),
        (
            "DiagnosticReport",
            Evidence(refused="no scope"),
            "Refused by the hospital: our access does not cover reports.",
        ),
        (
            "ImagingStudy",
            Evidence(not_asked="this hospital does not offer imaging by FHIR"),
            "Not asked: this hospital does not offer imaging by FHIR.",
        ),
        (IMAGES, Evidence(obtained=5, missing=1), "1 image is listed and not here."),
        (
            "DiagnosticReport",
            Evidence(obtained=5, missing=2, attachments_failed=2),
            "2 files of the reports are listed and not here.",
        ),
        (
            "Observation?category=laboratory",
            Evidence(obtained=5, unreadable=1),
            "Some records came and could not be read; their originals are kept.",
        ),
        (
            "DocumentReference",
            Evidence(obtained=5, broken="FB-2010"),
            "The hospital's list of documents broke off; more may exist.",
        ),
        (
            "DocumentReference",
            Evidence(obtained=5, warnings=1),
            "The hospital says that more documents may exist.",
        ),
    ],
)
def test_a_certificate_line_reads_as_a_sentence(kind: str, evidence: Evidence, said: str) -> None:
    assert words.certificate(line("gh", kind, evidence), evidence).text == said


def test_a_line_tells_what_was_odd_and_which_witness_confirms_it() -> None:
    lists = tuple(
        Count(name, 3, after=True, ids_agree=True) for name in ("by date", "_summary=count")
    )
    evidence = Evidence(obtained=3, counts=lists, findings=("found-by-witness", "chain-restarted"))
    found = line("gh", "DocumentReference", evidence)
    assert [sentence.partition(";")[0] for sentence in words.odd(found)] == [
        "The hospital's list expired once and was read again from its beginning.",
        "The hospital's first list left records out",
    ]
    assert words.proof(found) == (
        "Confirmed by its list, asked for again by date and its count, asked for afterwards."
    )
    assert words.proof(line("gh", "X", Evidence(obtained=3))) == ""
    assert words.proof(line("gh", "X", replace(evidence, counts=lists[1:]))) == ""
    assert words.proof(line("gh", "X", replace(evidence, missing=1))) == ""


def test_what_the_sentence_says_is_not_said_twice() -> None:
    unknown = line("gh", "X", Evidence(obtained=3, findings=("total-absent",)))
    short = line("gh", "X", Evidence(obtained=3, counts=(Count("Bundle.total", 5),)))
    assert (unknown.findings, short.findings) == (("total-absent",), ("total-too-high",))
    assert words.odd(unknown) == words.odd(short) == ()


@pytest.mark.parametrize("one", Grade)
def test_only_consistent_and_proven_are_called_complete(one: Grade) -> None:
    texts = [words.overall(one), words.certificate(Line("gh", "X", 1, 1, one), Evidence())]
    for saying in texts:
        assert ("omplete" in saying.text + saying.label) == (one in COMPLETE)
        assert (saying.state is State.DONE) == (one in COMPLETE)


def test_an_unknown_grade_never_looks_done() -> None:
    assert grade(Evidence(obtained=3)) is Grade.UNKNOWN
    assert words.overall(Grade.UNKNOWN).label == "Not confirmed"


@pytest.mark.parametrize("state", DeliveryState)
def test_delivered_is_said_of_confirmed_only(state: DeliveryState) -> None:
    saying = words.DELIVERY[state]
    delivered = state in (DeliveryState.CONFIRMED, DeliveryState.OPENED)
    assert ("Delivered" in saying.text + saying.label) == delivered
    assert (saying.state is State.DONE) == delivered
    rungs = words.ladder(Delivery("d", "c", "o", 1, "gh", "urn:x", state=state))
    assert len(rungs) == 6
    assert all(rung.state is State.DONE for rung in rungs) == delivered


@pytest.mark.parametrize("code", ["FB-3002", "FB-2003", "FB-2001"])
def test_a_source_that_stopped_shows_whose_turn_it_is(code: str) -> None:
    state = {"FB-3002": State.NEEDS, "FB-2003": State.FAILED, "FB-2001": State.WAITING}[code]
    assert troubles.failure(code).state is state


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1"]
)
def test_a_csv_cell_is_never_a_formula(cell: str) -> None:
    assert show.cell(cell).startswith("'")


@pytest.mark.parametrize("cell", ["-12.5", "12", "Doe", "a=b", ""])
def test_a_harmless_csv_cell_stays_as_it_is(cell: str) -> None:
    assert show.cell(cell) == cell
