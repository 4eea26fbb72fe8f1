"""Opinions as an engineer types them: finished once, delivered once, asked about at any time."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from fhir_bridge.standards.fhir import json

from .conftest import Place


def delivered(place: Place) -> int:
    with urllib.request.urlopen(f"{place.hospital.urls['control']}/chart.json") as answer:
        return len(json.load_object(answer.read())["delivered"])


def test_an_opinion_goes_to_the_chart_once_however_often_it_is_finished(
    place: Place, opinion: Path
) -> None:
    """Before, status says how to finish one; after, it is confirmed and read back equal."""
    assert "opinion finish" in place.desk.type("opinion", "status", place.case).out
    assert place.desk.type("opinion", "status", place.case, "--json").json == []
    for _ in range(2):
        told = place.desk.type("opinion", "finish", place.case, "--file", opinion, "--json").json
        assert [(row["state"], row["read_back"]) for row in told] == [("confirmed", "equal")]
    assert delivered(place) == 1
    assert "confirmed" in place.desk.type("opinion", "status", place.case).out


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("empty.md", "", "line 1"),
        ("half.md", "---\ntitle: x\n---\n", "author"),
        ("latin.md", "---\ntitle: é\n", "UTF-8"),
        ("broken.json", "{", "JSON"),
    ],
)
def test_a_text_that_cannot_be_signed_is_refused_with_its_line(
    place: Place, tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text, "latin-1")
    typed = place.desk.type("opinion", "finish", place.case, "--file", tmp_path / name, code=2)
    assert says in typed.err


def test_an_opinion_in_json_becomes_the_next_version(place: Place, tmp_path: Path) -> None:
    facts = {
        "title": "Second opinion, amended", "author": "Dr. Fictitia", "date": "2025-07-19",
        "sections": [{"title": "Opinion", "text": "Wait for three months."}],
        "evidence": ["Letter 3"],
    }  # fmt: skip
    (tmp_path / "o.json").write_bytes(json.dumps(facts))
    before = place.desk.type("opinion", "status", place.case, "--json", code=None).json
    told = place.desk.type("opinion", "finish", place.case, "--file", tmp_path / "o.json", "--json")
    newest = max(row["version"] for row in told.json)
    assert newest == max((row["version"] for row in before), default=0) + 1
    assert {row["state"] for row in told.json if row["version"] == newest} == {"confirmed"}
