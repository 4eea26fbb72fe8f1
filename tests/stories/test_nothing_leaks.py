"""
The canary: a patient whose every word is unique, through good and bad paths, in every voice.

Whatever a run says, logs, names or is called by holds none of these words: only the originals,
the database and what a person asked to see do.
"""

from __future__ import annotations

import base64
import http.client
import secrets
import sqlite3
import string
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital
from fhir_bridge.standards.fhir import json

from .. import small_case as small
from ..doors import Desk, desk_in, end, first_line, free_port

SECRET_WORDS = ("authorization", "bearer ", "client_assertion", "eyJ")
OWN_TABLES = "fb_"
RELATED = 'multipart/related; type="application/dicom"; boundary=x'


def word() -> str:
    """A word that nobody else uses."""
    return "zq" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(12))


@dataclass(slots=True)
class Run:
    """Everything that a run said and left."""

    canaries: Mapping[str, str]
    secret: str
    folder: Path
    voices: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def hits(self, text: str) -> list[str]:
        """Which canaries stand in a text, however they are written."""
        born = self.canaries["born"].replace("-", "")
        wanted = {**self.canaries, "born in DICOM": born, "secret": self.secret}
        return [
            name
            for name, value in wanted.items()
            if any(form.lower() in text.lower() for form in (value, quote(value)))
        ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A pull, an opinion and many failures beside a service, all logs at DEBUG."""
    folder = tmp_path_factory.mktemp("canary")
    plain = small.words()
    canaries = {name: word() for name in plain} | {"born": "1913-07-29", "phone": "+1 555 0187342"}
    found = Run(canaries, word(), folder)
    case_folder = small.write(tmp_path_factory.mktemp("hidden") / "case", canaries)
    (folder / "desk").mkdir()
    desk = desk_in(folder / "desk")
    desk.env |= {"FHIR_BRIDGE_LOG_LEVEL": "DEBUG", "FHIR_BRIDGE_HTTP_TIMEOUT_SECONDS": "10"}
    with ExitStack() as open_ones:
        serve = open_ones.enter_context(desk.begun("serve", "--json"))
        ready = json.load_object(first_line(serve).encode())
        found.arguments.append(_arguments(serve.pid))
        hospitals = _hospitals(desk, case_folder, tmp_path_factory.mktemp("states"), open_ones)
        _walk(found, desk, case_folder, hospitals)
        _knock(str(ready["login"]), canaries)
        found.paths = [path for one in hospitals.values() for path in _paths(one)]
        end_of(serve, found)
    return found


def _hospitals(
    desk: Desk, data: Path, states: Path, open_ones: ExitStack
) -> dict[str, RunningHospital]:
    jwks = f"http://127.0.0.1:{desk.env['FHIR_BRIDGE_PORT']}/.well-known/jwks.json"
    ours = f"FHIRBRIDGE@127.0.0.1:{desk.env['FHIR_BRIDGE_DIMSE_PORT']}"
    faults = {
        "good": (),
        "bad": (
            "drop-next", "foreign-attachment", "other-patient-in-page", "no-wado", "create-refused",
        ),
        "two": ("two-candidates",),
    }  # fmt: skip
    return {
        name: open_ones.enter_context(
            start_hospital(Options(data, states / name, "us", jwks, ours, faults=faults[name]))
        )
        for name in faults
    }


def _walk(found: Run, desk: Desk, data: Path, hospitals: Mapping[str, RunningHospital]) -> None:
    """What people type, on good days and bad ones."""

    def typed(name: str, *words: object, code: int | None = None) -> str:
        done = desk.type(*words, code=code)
        found.voices[name] = done.out + done.err
        return done.out

    secret = found.folder.parent / "secret"
    secret.write_text(found.secret, "utf-8")
    for name, hospital in hospitals.items():
        urls = hospital.urls
        typed(
            f"add {name}", "provider", "add", name, "--fhir", urls["fhir"], "--dicomweb",
            urls["dicomweb"], "--dimse", urls["dimse"], "--auth", "private-key-jwt",
            "--client-id", "us", code=0,
        )  # fmt: skip
    refusing = hospitals["good"].urls["fhir"]
    login = ("--auth", "basic", "--client-id", "us", "--secret-file", secret)
    typed("add refused", "provider", "add", "refused", "--fhir", refusing, *login, code=0)
    typed("add gone", "provider", "add", "gone", "--fhir", f"http://127.0.0.1:{free_port()}/f")
    broken = data / "broken.json"
    broken.write_text((data / "patient.json").read_text("utf-8")[:-20], "utf-8")
    for name in ("good", "bad", "two", "refused", "gone"):
        patient = broken if name == "gone" else data / "patient.json"
        words = ("--specialty", "oncology", "--question", "Q?", "--provider", name, "--json")
        out = typed(f"new {name}", "case", "new", "--patient", patient, *words)
        if name == "gone":
            continue
        case = json.load_object(out.encode())["case"]
        typed(f"pull {name}", "pull", case, "--watch")
        for view in ("ledger", "certificate"):
            typed(f"{view} {name}", "case", view, case)
        text = data / "opinion.md"
        if name == "bad":
            typed("release", "case", "release", case, "--reason", "enough")
        if name == "two":
            text = data / "half.md"
            text.write_text(f"---\n{found.canaries['opinion']}\n", "utf-8")
        typed(f"opinion {name}", "opinion", "finish", case, "--file", text)
        typed(f"status {name}", "opinion", "status", case)
    typed("tests", "provider", "test", "refused")
    typed("list", "case", "list")
    typed("doctor", "doctor")


def _knock(login: str, canaries: Mapping[str, str]) -> None:
    """Requests with canaries in every place where a request can hold one; many are refused."""
    parts = urlsplit(login)
    query = urlencode(dict(canaries))
    dicom = b"\0" * 128 + b"DICM" + " ".join(canaries.values()).encode()
    stow = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + dicom + b"\r\n--x--\r\n"
    cookie = ""
    for round_ in range(2):
        for method, path, body, kind in (
            ("GET", f"/cases?{query}", b"", ""),
            ("GET", f"/{canaries['family']}", b"", ""),
            ("GET", f"/login?t={canaries['number']}", b"", ""),
            ("GET", f"/fhir/Patient?{query}", b"", ""),
            ("POST", "/cases", query.encode(), "application/x-www-form-urlencoded"),
            ("POST", "/dicom-web/studies", stow, RELATED),
        ):  # fmt: skip
            _ask(parts.netloc, method, path, cookie, body, kind)
        if round_ == 0:
            path = f"{parts.path}?{parts.query}"
            cookie = _ask(parts.netloc, "GET", path, "").partition(";")[0]
            assert cookie


def _ask(
    netloc: str, method: str, path: str, cookie: str, body: bytes = b"", kind: str = ""
) -> str:
    with closing(http.client.HTTPConnection(netloc, timeout=20)) as connection:
        headers = {"Cookie": cookie, "Content-Type": kind, "Authorization": "Bearer x"}
        sent = {name: value for name, value in headers.items() if value}
        connection.request(method, path, body or None, sent)
        answer = connection.getresponse()
        answer.read()
        return str(answer.headers["Set-Cookie"] or "")


def _paths(hospital: RunningHospital) -> list[str]:
    with urllib.request.urlopen(f"{hospital.urls['control']}/requests") as answer:
        return [one["path"] for one in json.loads(answer.read())]


def _arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def end_of(process: Any, found: Run) -> None:
    """Stop the service and hear its last words."""
    process.terminate()
    out, err = process.communicate(timeout=30)
    found.voices["serve"] = out + err
    end(process)


def test_no_voice_of_a_run_says_a_word_of_the_patient(run: Run) -> None:
    assert len(run.voices) > 20
    assert {name: run.hits(said) for name, said in run.voices.items() if run.hits(said)} == {}


def test_no_voice_of_a_run_says_a_login(run: Run) -> None:
    said = {
        name: [word for word in SECRET_WORDS if word.lower() in text.lower()]
        for name, text in run.voices.items()
    }
    assert {name: words for name, words in said.items() if words} == {}


def test_the_bad_paths_were_really_walked(run: Run) -> None:
    assert "FB-3002" in run.voices["pull two"]
    assert "FB-2003" in run.voices["pull refused"]
    assert "FB-1101" in run.voices["new gone"]
    assert "short" in run.voices["certificate bad"]
    assert "confirmed" in run.voices["opinion good"]
    assert "held" in run.voices["status bad"]
    assert '"level"' in run.voices["serve"]


def test_no_address_that_we_asked_for_names_the_patient(run: Run) -> None:
    assert len(run.paths) > 50
    assert [path for path in run.paths if run.hits(path)] == []


def test_no_argument_of_the_service_names_the_patient(run: Run) -> None:
    assert run.arguments
    assert [text for text in run.arguments if run.hits(text)] == []


def test_no_file_beside_the_store_names_the_patient(run: Run) -> None:
    """Names of all files; the content of all but the originals and the database."""
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if run.hits(str(path.relative_to(run.folder)))] == []
    own = [p for p in files if "originals" not in p.parts and "bridge.sqlite" not in p.name]
    assert own
    assert [path for path in own if run.hits(path.read_bytes().decode("latin-1"))] == []


def test_no_database_holds_a_secret_that_can_be_read(run: Run) -> None:
    for path in run.folder.rglob("bridge.sqlite*"):
        assert run.secret.encode() not in path.read_bytes()


def test_the_job_engine_keeps_no_word_of_the_patient(run: Run) -> None:
    """Inputs, outputs, errors, events: every table that is not ours."""
    [database] = run.folder.rglob("bridge.sqlite")
    checked = 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = [row[0] for row in connection.execute("select name from sqlite_master")]
        theirs = [n for n in names if _is_table(connection, n) and not n.startswith(OWN_TABLES)]
        assert "workflow_status" in theirs
        for name in [*theirs, "fb_event", "fb_worker", "fb_login"]:
            for row in connection.execute(f'select * from "{name}"'):
                checked += 1
                text = " ".join(_readable(value) for value in row)
                assert run.hits(text) == [], name
    assert checked > 100


def _is_table(connection: sqlite3.Connection, name: str) -> bool:
    kind = connection.execute("select type from sqlite_master where name = ?", (name,)).fetchone()
    return bool(kind[0] == "table")


def _readable(value: object) -> str:
    """A value, and what it is if it is base64 of something."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    try:
        return text + base64.b64decode(text, validate=True).decode("latin-1")
    except ValueError:
        return text
