"""Scripts rely on the exit codes: each one is reached by a real command."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_bridge.simulators.hospital import RunningHospital

from ..doors import Desk, Typed, free_port

Hospital = Callable[..., RunningHospital]
Introduce = Callable[..., str]
Way = Callable[[Desk, Hospital, Introduce], Typed]


def done(desk: Desk, hospital: Hospital, introduce: Introduce) -> Typed:
    return desk.type("pull", introduce(desk, hospital()), code=None)


def failed(desk: Desk, hospital: Hospital, introduce: Introduce) -> Typed:
    """A step at the wrong moment: nothing is there to be released."""
    case = introduce(desk, fhir="http://127.0.0.1:9/fhir")
    desk.type("case", "release", case, "--reason", "because", code=None)
    return desk.type("opinion", "finish", case, "--file", __file__, code=None)


def usage(desk: Desk, hospital: Hospital, introduce: Introduce) -> Typed:
    return desk.type("case", "show", "no-such-case", code=None)


def partial(desk: Desk, hospital: Hospital, introduce: Introduce) -> Typed:
    return desk.type("pull", introduce(desk, hospital("foreign-attachment")), code=None)


def person(desk: Desk, hospital: Hospital, introduce: Introduce) -> Typed:
    return desk.type("pull", introduce(desk, hospital("two-candidates")), code=None)


def refused(desk: Desk, hospital: Hospital, introduce: Introduce) -> Typed:
    """A hospital that does not know our client."""
    jwks = f"http://127.0.0.1:{desk.env['FHIR_BRIDGE_PORT']}/.well-known/jwks.json"
    there = hospital(client_id="somebody-else", jwks_url=jwks)
    login = {"auth": "private-key-jwt", "client-id": "unknown-there"}
    return desk.type("pull", introduce(desk, there, **login), code=None)


def unreachable(desk: Desk, hospital: Hospital, introduce: Introduce) -> Typed:
    nobody = f"http://127.0.0.1:{free_port()}/fhir"
    return desk.type("pull", introduce(desk, fhir=nobody), code=None)


def configuration(desk: Desk, hospital: Hospital, introduce: Introduce) -> Typed:
    desk.env["FHIR_BRIDGE_PORT"] = "eighty"
    return desk.type("case", "list", code=None)


WAYS: tuple[tuple[int, Way, str], ...] = (
    (0, done, "consistent"),
    (1, failed, "FB-6004"),
    (2, usage, "FB-6001"),
    (3, partial, "short"),
    (4, person, "FB-3002"),
    (5, refused, "FB-2003"),
    (6, unreachable, "FB-2001"),
    (7, configuration, "FB-1001"),
)


@pytest.mark.parametrize(("code", "way", "says"), WAYS, ids=[way.__name__ for _, way, _ in WAYS])
def test_each_documented_exit_code_is_reached(
    desk: Desk, hospital: Hospital, introduce: Introduce, code: int, way: Way, says: str
) -> None:
    typed = way(desk, hospital, introduce)
    assert typed.code == code, f"{typed.out}\n{typed.err}"
    assert says in typed.out + typed.err
    assert "Traceback" not in typed.err


def test_ctrl_c_ends_a_pull_with_130_and_the_next_pull_goes_on(
    desk: Desk, hospital: Hospital, introduce: Introduce
) -> None:
    case = introduce(desk, hospital("slow-pages"))
    with desk.begun("pull", case, "--watch") as pull:
        assert pull.stderr is not None
        while " records" not in pull.stderr.readline():
            assert pull.poll() is None, pull.stderr.read()
        pull.send_signal(signal.SIGINT)
        assert f"It goes on with: fhir-bridge pull {case}" in pull.communicate(timeout=60)[1]
        assert pull.returncode == 130
    assert "consistent" in desk.type("pull", case).out


WRONG_WORDS = (
    ((), "Usage"),
    (("no-such-command",), "No such command"),
    (("provider", "add", "X"), "at least one of"),
    (("provider", "add", "X", "--fhir", "http://127.0.0.1:9", "--auth", "basic"), "--client-id"),
    (("provider", "add", "X", "--dimse", "no-node"), "AET@HOST:PORT"),
    (("provider", "add", "X", "--fhir", "not a url"), "https://host"),
    (("provider", "test", "nobody"), "no such provider"),
    (("pull", "no-such-case"), "FB-6001"),
    (("case", "new", "--patient", "{here}", "--specialty", "oncology", "--question", "Q",
      "--provider", "x"), "JSON"),
    (("case", "new", "--patient", "{here}", "--specialty", "astrology", "--question", "Q",
      "--provider", "x"), "--specialty"),
    (("opinion", "status", "no-such-case"), "FB-6001"),
    (("demo", "--headless", "--fault", "no-such-fault"), "no fault is called"),
    (("simulate", "ehr", "--fault", "no-such-fault"), "unknown fault"),
    (("simulate", "ehr", "--data", "/nowhere"), "--data"),
)  # fmt: skip


@pytest.mark.parametrize(("words", "says"), WRONG_WORDS)
def test_wrong_words_are_told_in_one_sentence_with_exit_2(
    desk: Desk, words: tuple[str, ...], says: str
) -> None:
    typed = desk.type(*(word.format(here=__file__) for word in words), code=2)
    assert says in typed.err + typed.out
    assert "Traceback" not in typed.err


WRONG_SETTINGS = (
    ({"FHIR_BRIDGE_PORT": "70000"}, "FHIR_BRIDGE_PORT"),
    ({"FHIR_BRIDGE_CONFIG": "{here}"}, "FHIR_BRIDGE_CONFIG"),
    ({"FHIR_BRIDGE_CONFIG": "/nowhere/fhir-bridge.toml"}, "FHIR_BRIDGE_CONFIG"),
    ({"FHIR_BRIDGE_DATA": "{here}"}, "FHIR_BRIDGE_DATA"),
    ({"FHIR_BRIDGE_DATABASE_URL": "what is this"}, "FHIR_BRIDGE_DATABASE_URL"),
    ({"FHIR_BRIDGE_LOG_LEVEL": "LOUD"}, "FHIR_BRIDGE_LOG_LEVEL"),
)


@pytest.mark.parametrize(("settings", "names"), WRONG_SETTINGS)
def test_a_wrong_setting_is_named_with_exit_7_and_its_value_is_not_repeated(
    desk: Desk, settings: dict[str, str], names: str
) -> None:
    desk.env |= {name: value.format(here=__file__) for name, value in settings.items()}
    typed = desk.type("case", "list", code=7)
    assert "FB-1001" in typed.err
    assert names in typed.err
    assert "what is this" not in typed.err


def test_a_file_that_is_no_patient_is_refused_with_exit_2(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"resourceType": "Basic"}', "utf-8")
    typed = desk.type(
        "case", "new", "--patient", tmp_path / "x.json", "--specialty", "oncology",
        "--question", "Q", "--provider", "x", code=2,
    )  # fmt: skip
    assert "no FHIR Patient" in typed.err
