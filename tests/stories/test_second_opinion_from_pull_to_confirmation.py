"""The whole job, as an engineer and a nurse would type it, and as the demo shows it."""

from __future__ import annotations

import os
import shutil
import signal
import urllib.request
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import tables
from fhir_bridge.simulators.hospital import Options, start_hospital
from fhir_bridge.standards.fhir import json

from ..doors import Desk, Typed, desk_in, is_alive, started_by

RUNS = ("first", "second", "drop-next", "two-candidates")
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
    runs: Mapping[str, tuple[int, tuple[object, ...]]] = {
        "first": (0, ("--keep", folder / "kept")),
        "second": (0, ()),
        "drop-next": (3, ("--fault", "drop-next")),
        "two-candidates": (4, ("--fault", "two-candidates")),
    }
    with ThreadPoolExecutor(2) as pool:
        said = pool.map(lambda name: _demo(folder / f"at-{name}", *runs[name]), runs)
        return dict(zip(runs, said, strict=True)) | {"kept": _kept(folder / "kept")}


def _kept(folder: Path) -> Typed:
    """What a demo left in the folder where it was told to keep its store."""
    names = sorted(path.name for path in folder.iterdir())
    return Typed(0, json.dumps(names).decode(), "")


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
    assert all(demos[run].out.count("\n") == 1 for run in RUNS)
    assert all("Traceback" not in demos[run].err for run in RUNS)


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


@pytest.mark.parametrize("run", RUNS)
def test_the_sums_of_every_demo_balance(demos: dict[str, Typed], run: str) -> None:
    """Pending is only what was pushed to a case whose patient nobody has confirmed yet."""
    told = account(demos[run])
    ledger = told["ledger"]
    assert ledger["seen"] == sum(ledger["states"].values())
    waiting = told["pushed"] if run == "two-candidates" else 0
    assert ledger["states"].get("pending", 0) == waiting


def test_a_demo_ends_with_the_opinion_confirmed_and_read_back_equal(
    demos: dict[str, Typed],
) -> None:
    told = account(demos["first"])
    assert told["opinion"] == {"state": "confirmed", "confirmed": True, "read_back_equal": True}
    assert told["images"]["held"] == told["images"]["received"] > told["pushed"] > 0
    grades = {line["type"]: line["grade"] for line in told["certificate"]}
    assert set(grades.values()) == {"proven", "consistent", "not-asked"}
    asked = {type_ for type_, grade in grades.items() if grade != "not-asked"}
    assert asked >= {"DICOM images", "DiagnosticReport", "DocumentReference", "Observation"}


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
    """All that its ledger knows was pushed by the hospital itself."""
    told = account(demos["two-candidates"])
    assert told["ledger"]["seen"] == told["pushed"]
    assert told["bundle"] == {"entries": 0, "sha256": ""}


def test_a_kept_demo_leaves_its_store_and_the_hospitals_chart(demos: dict[str, Typed]) -> None:
    assert demos["kept"].json == ["bridge", "hospital"]


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
    assert not any(map(is_alive, children))
    assert list(own_temp.glob("fhir-bridge-*")) == []
