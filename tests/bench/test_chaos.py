"""Chaos is judged: planted losses turn the judge red, and one real fault has the promised shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.chaos import judge, page, rivals, rounds
from bench.chaos.__main__ import clean, main, make
from bench.chaos.chart import DOCUMENT, REPORT, Truth
from bench.chaos.judge import Claim, Pulled, Verdict

from fhir_bridge import clock
from fhir_bridge.case.certificate import Grade
from fhir_bridge.simulators.faults import FAULTS, chosen
from fhir_bridge.standards.fhir import json

TRUTH = Truth({DOCUMENT: frozenset("abc"), REPORT: frozenset("r")}, frozenset({"1", "2"}))
DOCUMENTS = Claim(DOCUMENT, Grade.CONSISTENT)
WHOLE = Pulled(0, [DOCUMENTS, Claim(REPORT, Grade.PROVEN)], TRUTH.ids, TRUTH.files)
FEWER = {DOCUMENT: frozenset("ab"), REPORT: frozenset("r")}
LAST = rivals.RIVALS[-1].name


def told(claim: Claim, **more: Any) -> Pulled:
    """A pull that lacks a document, with another claim about documents."""
    return replace(WHOLE, ids=FEWER, claims=[claim, *WHOLE.claims[1:]], **more)


def test_a_pull_that_holds_everything_is_whole() -> None:
    assert judge.judge_ours(WHOLE, TRUTH) is Verdict.WHOLE


@pytest.mark.parametrize("code", [0, 3, 5])
def test_an_id_that_is_missing_under_the_word_complete_is_a_silent_loss(code: int) -> None:
    lost = told(DOCUMENTS, code=code)
    assert judge.judge_ours(lost, TRUTH) is Verdict.LOST
    assert judge.unconfessed(lost, TRUTH) == [DOCUMENT]


@pytest.mark.parametrize(
    "grade", [Grade.SHORT, Grade.UNKNOWN, Grade.REFUSED, Grade.NOT_ASKED], ids=str
)
def test_a_lower_grade_tells_of_what_is_missing(grade: Grade) -> None:
    assert judge.judge_ours(told(Claim(DOCUMENT, grade), code=3), TRUTH) is Verdict.TOLD


def test_a_lower_grade_of_another_type_tells_nothing() -> None:
    claims = [DOCUMENTS, Claim(REPORT, Grade.SHORT)]
    lost = replace(WHOLE, code=3, ids=FEWER, claims=claims)
    assert judge.judge_ours(lost, TRUTH) is Verdict.LOST


def test_one_of_several_lines_of_a_type_is_enough_to_tell() -> None:
    by_category = Claim(f"{DOCUMENT}?category=clinical-note", Grade.SHORT)
    assert judge.judge_ours(replace(told(DOCUMENTS), claims=[DOCUMENTS, by_category]), TRUTH) is (
        Verdict.TOLD
    )


def test_a_file_that_is_missing_is_told_by_the_documents_alone() -> None:
    lost = replace(WHOLE, files=frozenset("1"))
    assert judge.judge_ours(lost, TRUTH) is Verdict.LOST
    short = replace(lost, code=3, claims=[Claim(DOCUMENT, Grade.SHORT)])
    assert judge.judge_ours(short, TRUTH) is Verdict.TOLD


@pytest.mark.parametrize(("code", "verdict"), [(0, Verdict.LOST), (3, Verdict.TOLD)])
def test_what_no_line_speaks_of_is_lost_at_exit_0(code: int, verdict: Verdict) -> None:
    assert judge.judge_ours(replace(WHOLE, code=code, ids=FEWER, claims=[]), TRUTH) is verdict


@pytest.mark.parametrize(
    ("ids", "error", "verdict"),
    [
        ("abc", None, Verdict.WHOLE),
        ("abcx", None, Verdict.WHOLE),
        ("ab", None, Verdict.LOST),
        ("", None, Verdict.LOST),
        ("ab", "raises HTTPError", Verdict.TOLD),
        ("ab", "log: ERROR", Verdict.LOGGED),
    ],
)
def test_a_rival_is_judged_by_its_ids_and_its_own_report(
    ids: str, error: str | None, verdict: Verdict
) -> None:
    assert judge.judge_rival(ids, error, TRUTH) is verdict


def test_a_program_that_is_late_is_ended_with_all_it_started() -> None:
    ended = rivals.run(["sh", "-c", "sleep 60 & wait"], late_seconds=0.2)
    assert ended.out is None


def test_every_rival_has_its_lock_with_hashes_and_its_adapter() -> None:
    for rival in rivals.RIVALS:
        lock = rival.lock.read_text("utf-8")
        name, version = rival.version.split()
        assert f"\n{name.replace('.', '-')}=={version} \\" in f"\n{lock}"
        assert "--hash=sha256:" in lock
        assert "://" not in lock
        assert rival.adapter.is_file()


def test_most_faults_concern_a_pull() -> None:
    assert sum(map(rounds.concerns, FAULTS)) >= 60


def test_one_fault_has_the_shape_of_the_report_and_of_the_page(tmp_path: Path) -> None:
    with rounds.ground(tmp_path) as ground:
        report = make(ground, chosen(["drop-next"]), {LAST: None}, lambda _: None)
    [row] = report["faults"]
    assert (row["name"], row["where"]) == ("drop-next", "search pages")
    assert row["ours"]["verdict"] in (Verdict.WHOLE, Verdict.TOLD)
    assert {"ids", "files", "grade", "code", "requests", "seconds"} <= row["ours"].keys()
    assert report["healthy"]["ours"]["verdict"] == Verdict.WHOLE
    assert report["silent_losses"] == 0
    assert report["peers"] == {LAST: {"silent_losses": 0}}
    assert clean(report)
    written = page.page(json.loads(json.dumps(report)), clock.now())
    assert "| `drop-next` | page 2 has no next link although total says more |" in written


def test_a_silent_loss_fails_the_command_and_is_written_in_bold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.chaos.__main__.BUILD", tmp_path)
    lost = {
        "verdict": "lost", "ids": 2, "ids_in_chart": 3, "files": 0, "files_in_chart": 0,
        "missing": {DOCUMENT: 1}, "silent": [DOCUMENT], "grade": "consistent", "code": 0,
        "error": "", "leaked": False, "requests": 1, "seconds": 0.1,
    }  # fmt: skip
    monkeypatch.setattr(rounds, "run_ours", lambda *_: lost)
    assert main(["--fault", "drop-next", "--ours-only"]) == 1
    assert "**silent loss: DocumentReference**" in capsys.readouterr().out
