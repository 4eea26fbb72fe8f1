"""Treating providers as an engineer types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_bridge.simulators.community import Community

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
        "metadata", "login", "search", "C-ECHO", "QIDO-RS",
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


def test_with_a_test_patient_each_type_and_one_attachment_are_asked(place: Place) -> None:
    words = ("provider", "test", "general-hospital", "--patient", "p-1", "--json")
    checks = {check["check"]: check for check in place.desk.type(*words).json}
    assert all(check["ok"] for check in checks.values())
    assert {"patient", "DocumentReference", "DiagnosticReport", "attachment"} <= set(checks)
    assert checks["attachment"]["detail"].endswith("bytes")


def test_what_fails_is_shown_as_sent_against_expected(place: Place) -> None:
    words = ("provider", "test", "general-hospital", "--patient", "nobody-here")
    checks = place.desk.type(*words, "--json", code=5).json
    [wrong] = [check for check in checks if check["check"] == "patient"]
    assert not wrong["ok"]
    assert wrong["sent"] == "GET /fhir/Patient/[id], Accept application/fhir+json"
    assert "200 with this Patient" in wrong["expected"]
    shown = place.desk.type(*words, code=5).out
    assert "expected  200 with this Patient" in shown
    assert "nobody-here" not in shown


def test_a_refused_login_tells_method_key_and_scopes_and_no_token(desk: Desk, place: Place) -> None:
    """Another bridge, whose keys this hospital has never seen."""
    fhir = str(place.hospital.urls["fhir"])
    words = ("provider", "add", "G", "--fhir", fhir, "--client-id", "fhir-bridge")
    desk.type(*words, "--auth", "private-key-jwt")
    checks = desk.type("provider", "test", "G", "--json", code=5).json
    [login] = [check for check in checks if check["check"] == "login"]
    kids = {row["kid"] for row in desk.type("keys", "list", "--json").json}
    assert "private_key_jwt, RS384, kid" in login["sent"]
    assert any(kid in login["sent"] for kid in kids)
    assert "scope system/*." in login["sent"]
    assert "JWKS address" in login["expected"]
    assert "eyJ" not in str(checks)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (("--auth", "private-key-jwt"), "--client-id"),
        (("--auth", "client-secret", "--client-id", "us"), "--secret-file"),
        (("--auth", "header", "--secret-file", "SECRET"), "--header"),
        (("--auth", "header", "--header", "X-Api-Key"), "--secret-file"),
        (("--auth", "udap"), "--udap-certificate"),
        (("--tls-certificate", "SECRET"), "--tls-key"),
        (("--tls-key", "SECRET"), "--tls-certificate"),
    ],
)
def test_a_login_that_lacks_something_names_the_option(
    desk: Desk, tmp_path: Path, options: tuple[str, ...], missing: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct-horse", "utf-8")
    words = [str(secret) if word == "SECRET" else word for word in options]
    typed = desk.type("provider", "add", "G", "--fhir", "http://127.0.0.1:9", *words, code=2)
    assert missing in typed.err
    assert desk.type("provider", "list", "--json").json == []


def test_a_header_that_cannot_be_sent_is_refused_when_it_is_given(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "s").write_text("one\ntwo", "utf-8")
    words = ("provider", "add", "G", "--fhir", "http://127.0.0.1:9", "--auth", "header")
    desk.type(*words, "--header", "X-Key", "--secret-file", tmp_path / "s", code=2)
    (tmp_path / "s").write_text("one", "utf-8")
    desk.type(*words, "--header", "Host", "--secret-file", tmp_path / "s", code=2)
    desk.type(*words, "--header", "X-Key", "--secret-file", tmp_path / "s")


def test_certificates_are_stored_and_their_keys_sealed(desk: Desk, tmp_path: Path) -> None:
    community = Community.founded("Community")
    member = community.member("bridge", uri="https://bridge.example")
    (tmp_path / "c.pem").write_text(member.certificate, "ascii")
    (tmp_path / "k.pem").write_bytes(member.key)
    (tmp_path / "a.pem").write_text(community.anchors, "ascii")
    files = {name: tmp_path / f"{name}.pem" for name in "cka"}
    desk.type(
        "provider", "add", "G", "--fhir", "http://127.0.0.1:9", "--auth", "udap",
        "--udap-certificate", files["c"], "--udap-key", files["k"], "--udap-anchors", files["a"],
        "--organization", "https://bridge.example/o", "--contact", "mailto:it@bridge.example",
        "--tls-certificate", files["c"], "--tls-key", files["k"], "--vendor", "epic",
    )  # fmt: skip
    [known] = desk.type("provider", "list", "--json").json
    assert (known["auth"], known["vendor"]) == ("udap", "epic")
    secret = member.key.split(b"\n")[3]
    stored = b"".join(path.read_bytes() for path in desk.data.glob("bridge.sqlite*"))
    assert secret not in stored
    sheet = desk.type("provider", "sheet", "G", "--json").json
    assert sheet["login"]["Algorithm"] == "RS256 with x5c"
    assert sheet["network"]["Our client certificate (SHA-256)"].count(":") == 31
    other = Community.founded("Others").member("o", uri="https://o.example")
    (tmp_path / "k.pem").write_bytes(other.key)
    desk.type(
        "provider", "add", "G", "--fhir", "http://127.0.0.1:9",
        "--tls-certificate", files["c"], "--tls-key", files["k"], code=7,
    )  # fmt: skip


def test_the_sheet_tells_the_hospitals_side_everything_but_a_secret(place: Place) -> None:
    sheet = place.desk.type("provider", "sheet", "general-hospital", "--json").json
    kids = [row["kid"] for row in place.desk.type("keys", "list", "--json").json]
    assert all(kid in sheet["login"]["Keys now (kid)"] for kid in kids)
    assert sheet["login"]["JWKS address"].endswith("/.well-known/jwks.json")
    spelled = {row["for"]: (row["v1"], row["v2"]) for row in sheet["scopes"]}
    assert spelled["Observation (read)"] == ("system/Observation.read", "system/Observation.rs")
    assert spelled["Binary (create)"] == ("system/Binary.write", "system/Binary.c")
    assert sheet["dicom"]["Our AE title"] == "FHIRBRIDGE"
    page = place.desk.type("provider", "sheet", "general-hospital").out
    assert page.startswith("# fhir-bridge at General Hospital")
    assert "PRIVATE" not in page
