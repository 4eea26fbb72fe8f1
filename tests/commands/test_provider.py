"""Treating providers as an engineer types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..doors import Desk, free_port
from .conftest import Place


def test_without_providers_the_list_says_how_to_add_one(desk: Desk) -> None:
    assert "fhir-bridge provider add" in desk.type("provider", "list").out
    assert desk.type("provider", "list", "--json").json == []


def test_adding_the_same_name_again_changes_that_provider(desk: Desk) -> None:
    desk.type("provider", "add", "St. Elsewhere", "--fhir", "http://127.0.0.1:9/fhir")
    desk.type("provider", "add", "St. Elsewhere", "--fhir", "http://127.0.0.1:9/r4/")
    [only] = desk.type("provider", "list", "--json").json
    assert (only["provider"], only["fhir"]) == ("st-elsewhere", "http://127.0.0.1:9/r4")
    assert "St. Elsewhere" in desk.type("provider", "list").out


def test_a_secret_is_read_from_its_file_and_never_shown(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("correct-horse\n", "utf-8")
    words = ["provider", "add", "B", "--fhir", "http://127.0.0.1:9", "--auth", "basic"]
    words += ["--client-id", "me", "--secret-file"]
    desk.type(*words, tmp_path / "s")
    assert "correct-horse" not in desk.type("provider", "list", "--json").out
    assert b"correct-horse" not in (desk.data / "bridge.sqlite").read_bytes()
    desk.type(*words, tmp_path / "none", code=2)


def test_a_key_login_says_where_the_hospital_finds_our_keys(desk: Desk) -> None:
    words = ("provider", "add", "G", "--fhir", "http://127.0.0.1:9", "--client-id", "us")
    typed = desk.type(*words, "--auth", "private-key-jwt")
    port = desk.env["FHIR_BRIDGE_PORT"]
    assert f"http://127.0.0.1:{port}/.well-known/jwks.json" in typed.out
    assert desk.type(*words, "--auth", "private-key-jwt", "--json").json["jwks"].endswith("json")


def test_a_healthy_hospital_passes_every_check(place: Place) -> None:
    checks = place.desk.type("provider", "test", "General Hospital", "--json").json
    assert [check["check"] for check in checks] == [
        "metadata", "login and search", "C-ECHO", "QIDO-RS",
    ]  # fmt: skip
    assert all(check["ok"] for check in checks)
    assert "ok" in place.desk.type("provider", "test", "general-hospital").out


@pytest.mark.filterwarnings(
    # pynetdicom lets go of a refused connection's socket without closing it
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_hospital_that_is_not_there_fails_every_check_and_exits_6(desk: Desk) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    desk.type(
        "provider", "add", "Gone", "--fhir", f"http://{nobody}/fhir", "--dimse", f"GONE@{nobody}",
        "--dicomweb", f"http://{nobody}/dicom-web",
    )  # fmt: skip
    checks = desk.type("provider", "test", "Gone", "--json", code=6).json
    assert len(checks) == 4
    assert not any(check["ok"] for check in checks)


@pytest.mark.parametrize(
    ("name", "address"),
    [(" ", "http://127.0.0.1:9"), ("G", "http://127.0.0.1:9/r4?x=1"), ("G", "http://h/r4#y"),
     ("G", "http://[bad"), ("G", "htp://127.0.0.1:9")],
)  # fmt: skip
def test_a_slip_of_the_pen_is_no_hospital(desk: Desk, name: str, address: str) -> None:
    desk.type("provider", "add", name, "--fhir", address, code=2)
    assert desk.type("provider", "list", "--json").json == []
