"""The whole job, as an engineer and a nurse would type it, and as the demo shows it."""

from __future__ import annotations

import os
import shutil
import signal
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import tables
from fhir_bridge.simulators.hospital import Options, start_hospital
from fhir_bridge.standards.fhir import json

from ..doors import Desk, Typed, desk_in, started_by

CASE = tables.folder("fixtures", "cases", "neurology")


@pytest.fixture
def own_temp(tmp_path: Path) -> Path:
    """A folder for temporary files, to see what a process leaves there."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def test_a_second_opinion_goes_from_the_pull_to_the_chart_by_typed_commands(
    desk: Desk, tmp_path: Path
) -> None:
    """Each command is a process of its own; a service runs, as it does at a programme."""
    options = Options(
        data=CASE,
        state=tmp_path / "hospital",
        client_id="second-opinions",
        jwks_url=f"http://127.0.0.1:{desk.env['FHIR_BRIDGE_PORT']}/.well-known/jwks.json",
        bridge_dimse=f"FHIRBRIDGE@127.0.0.1:{desk.env['FHIR_BRIDGE_DIMSE_PORT']}",
    )
    facts = json.load_object((CASE / "case.json").read_bytes())
    with desk.serving(), start_hospital(options) as hospital:
        urls = hospital.urls
        desk.run(
            "provider", "add", "General Hospital", "--fhir", urls["fhir"],
            "--auth", "private-key-jwt", "--client-id", "second-opinions",
            "--dimse", urls["dimse"], "--dicomweb", urls["dicomweb"],
            "--issuer", "general-hospital=https://general-hospital.example/mrn",
        )  # fmt: skip
        assert "FAILED" not in desk.type("provider", "test", "General Hospital").out
        case = desk.run(
            "case", "new", "--patient", CASE / "patient.json", "--specialty", facts["specialty"],
            "--question", facts["question"], "--provider", "General Hospital",
            "--draft", CASE / "opinion.md", "--json",
        ).json["case"]  # fmt: skip
        pulled = desk.run("pull", case, "--watch")
        assert "short" not in pulled.out
        _pushed(str(urls["control"]))
        assert desk.type("case", "ledger", case, "--json").json["states"].get("pending", 0) == 0
        desk.type("case", "record", case, "--out", tmp_path / "record.json")
        told = desk.run("opinion", "finish", case, "--file", CASE / "opinion.md", "--json").json
        assert [(row["state"], row["read_back"]) for row in told] == [("confirmed", "equal")]
        chart = _get(f"{urls['control']}/chart.json")
    assert len(chart["delivered"]) == 1
    opinion = json.load_object((tmp_path / "record.json").read_bytes())
    assert opinion["type"] == "document"


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


def _pushed(control: str) -> None:
    request = urllib.request.Request(f"{control}/push", method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert "sent" in json.load_object(answer.read())


# -- the demo


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Typed]:
    """`demo --headless --json` several times, two beside each other, each as a process."""
    folder = tmp_path_factory.mktemp("demos")
    kept = ("--keep", folder / "kept")
    runs: tuple[tuple[tuple[str, int, tuple[object, ...]], ...], ...] = (
        (("first", 0, kept), ("kept", 0, kept)),
        (
            ("second", 0, ()),
            ("drop-next", 3, ("--fault", "drop-next")),
            ("two-candidates", 4, ("--fault", "two-candidates")),
        ),
    )

    def run(one_by_one: tuple[tuple[str, int, tuple[object, ...]], ...]) -> dict[str, Typed]:
        return {name: _demo(folder / name, code, words) for name, code, words in one_by_one}

    with ThreadPoolExecutor(len(runs)) as pool:
        both = list(pool.map(run, runs))
    return both[0] | both[1]


def _demo(folder: Path, code: int, words: tuple[object, ...]) -> Typed:
    folder.mkdir()
    typed = desk_in(folder).run(
        "demo", "--headless", "--json", *words, code=code, TMPDIR=str(folder)
    )
    assert list(folder.glob("fhir-bridge-*")) == []
    return typed


def account(typed: Typed) -> dict[str, Any]:
    """What `tail -1` of a demo's standard output is."""
    return json.load_object(typed.out.splitlines()[-1].encode())


def test_the_demo_prints_one_json_object_and_nothing_else(demos: dict[str, Typed]) -> None:
    assert all(typed.out.count("\n") == 1 for typed in demos.values())
    assert all("Traceback" not in typed.err for typed in demos.values())


def test_the_account_has_exactly_its_documented_keys(demos: dict[str, Typed]) -> None:
    told = account(demos["first"])
    assert set(told) == {
        "case", "seconds", "ledger", "certificate", "bundle", "images", "pushed", "opinion",
    }  # fmt: skip
    assert set(told["ledger"]) == {"seen", "states"}
    assert set(told["bundle"]) == {"entries", "sha256"}
    assert set(told["images"]) == {"held", "received"}
    assert set(told["opinion"]) == {"state", "confirmed", "read_back_equal"}
    for line in told["certificate"]:
        assert set(line) == {"source", "type", "said", "got", "grade"}


@pytest.mark.parametrize("run", ["first", "kept", "second", "drop-next", "two-candidates"])
def test_the_sums_of_every_demo_balance(demos: dict[str, Typed], run: str) -> None:
    ledger = account(demos[run])["ledger"]
    assert ledger["seen"] == sum(ledger["states"].values())
    assert "pending" not in ledger["states"]


def test_a_demo_ends_with_the_opinion_confirmed_and_read_back_equal(
    demos: dict[str, Typed],
) -> None:
    told = account(demos["first"])
    assert told["opinion"] == {"state": "confirmed", "confirmed": True, "read_back_equal": True}
    assert told["images"]["held"] == told["images"]["received"] > told["pushed"] > 0
    assert {line["grade"] for line in told["certificate"]} <= {"proven", "consistent"}


def test_two_demos_make_the_same_record(demos: dict[str, Typed]) -> None:
    first, second = account(demos["first"]), account(demos["second"])
    assert first["bundle"] == second["bundle"]
    assert (first["case"], first["ledger"]) == (second["case"], second["ledger"])


def test_a_demo_with_a_lost_page_says_short(demos: dict[str, Typed]) -> None:
    told = account(demos["drop-next"])
    grades = Counter(line["grade"] for line in told["certificate"])
    assert grades["short"] >= 1
    assert not told["opinion"]["confirmed"]


def test_a_demo_with_two_patients_has_fetched_nothing(demos: dict[str, Typed]) -> None:
    told = account(demos["two-candidates"])
    assert told["ledger"]["seen"] == 0
    assert told["bundle"] == {"entries": 0, "sha256": ""}


def test_a_kept_demo_can_be_run_again_in_its_folder(demos: dict[str, Typed]) -> None:
    """The second run finds the first one's case and chart, where the opinion stands already."""
    first, again = account(demos["first"]), account(demos["kept"])
    assert again["case"] == first["case"]
    assert again["opinion"] == first["opinion"]
    assert again["ledger"]["seen"] > first["ledger"]["seen"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_shown_demo_and_leaves_nothing(
    desk: Desk, own_temp: Path, number: signal.Signals
) -> None:
    browser = shutil.which("true")
    assert browser
    with desk.begun("demo", TMPDIR=str(own_temp), BROWSER=browser) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Ctrl-C" in line:
                break
        children = started_by(demo.pid)
        assert len(children) >= 1
        os.kill(demo.pid, number)
        _, err = demo.communicate(timeout=30)
    assert demo.returncode == 0, err
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(own_temp.glob("fhir-bridge-*")) == []
