"""serve and doctor: who may come in, what is refused at start, and that nothing is left behind."""

from __future__ import annotations

import http.client
import signal
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..doors import Desk, end, free_port, started_by
from .conftest import Place


def get(url: str, cookie: str = "") -> http.client.HTTPResponse:
    """One GET, without following redirects."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_the_console_opens_by_a_link_that_works_once(desk: Desk) -> None:
    with desk.serving() as served:
        console, link = served.ready["url"], str(served.ready["login"])
        assert get(console).status in (303, 401)
        assert get(f"{console}/fhir/Patient").status in (401, 404)
        first = get(link)
        cookie = str(first.headers["Set-Cookie"]).partition(";")[0]
        assert first.status == 303
        assert "HttpOnly" in str(first.headers["Set-Cookie"])
        assert get(console, cookie).status == 200
        again = get(link)
        assert again.status in (401, 403, 410)
        assert again.headers["Set-Cookie"] is None
        assert get(f"{console}/login?t=guessed").headers["Set-Cookie"] is None


OPEN_TO_ALL = (
    {"FHIR_BRIDGE_HOST": "0.0.0.0"},
    {"FHIR_BRIDGE_HOST": "::"},
    {"FHIR_BRIDGE_HOST": "192.0.2.10"},
    {"FHIR_BRIDGE_HOST": "0.0.0.0", "FHIR_BRIDGE_LOGIN_TOKEN": "only-a-login"},
    {"FHIR_BRIDGE_DIMSE_HOST": "0.0.0.0"},
)


@pytest.mark.parametrize("settings", OPEN_TO_ALL)
def test_an_address_that_anybody_can_reach_needs_login_and_tls(
    desk: Desk, settings: dict[str, str]
) -> None:
    desk.env |= settings
    typed = desk.type("serve", code=7)
    assert "FB-1002" in typed.err
    assert "only-a" not in typed.err


def test_a_certificate_that_is_not_there_is_refused_at_start(desk: Desk, tmp_path: Path) -> None:
    desk.env |= {"FHIR_BRIDGE_TLS_CERTIFICATE": "no.pem", "FHIR_BRIDGE_TLS_KEY": "no.key"}
    assert "FHIR_BRIDGE_TLS_CERTIFICATE" in desk.type("serve", code=7).err


@pytest.mark.parametrize("setting", ["FHIR_BRIDGE_PORT", "FHIR_BRIDGE_DIMSE_PORT"])
def test_a_port_that_is_taken_is_named_with_exit_7(desk: Desk, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        desk.env[setting] = str(taken.getsockname()[1])
        typed = desk.type("serve", code=7)
    assert "FB-1003" in typed.err
    assert setting in typed.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_that_is_told_to_end_leaves_its_ports_and_says_nothing_odd(
    desk: Desk, number: signal.Signals
) -> None:
    with desk.serving() as served:
        process = served.process
        urllib.request.urlopen(f"{served.ready['url']}/readyz").close()
        children = started_by(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, children, out) == (0, [], "")
    assert "Traceback" not in err
    for setting in ("FHIR_BRIDGE_PORT", "FHIR_BRIDGE_DIMSE_PORT"):
        socket.create_server(("127.0.0.1", int(desk.env[setting]))).close()


def test_the_words_for_people_name_console_and_receiver(desk: Desk) -> None:
    with desk.begun("serve") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        end(process)
    assert desk.env["FHIR_BRIDGE_PORT"] in lines[0]
    assert f"FHIRBRIDGE@127.0.0.1:{desk.env['FHIR_BRIDGE_DIMSE_PORT']}" in lines[1]
    assert "/login?t=" in lines[2]


def test_a_doctor_of_an_empty_store_finds_nothing_wrong(desk: Desk) -> None:
    checks = desk.type("doctor", "--json").json
    assert all(check["ok"] for check in checks)
    assert "0 known" in desk.type("doctor").out


def test_a_doctor_knows_the_service_and_every_hospital(place: Place) -> None:
    checks = place.desk.type("doctor", "--json").json
    assert {check["about"] for check in checks} == {"this machine", "general-hospital"}
    assert all(check["ok"] for check in checks)


def test_a_doctor_exits_with_the_first_thing_that_failed(desk: Desk) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/fhir"
    desk.type("provider", "add", "Gone", "--fhir", nobody)
    typed = desk.type("doctor", code=6)
    assert "FAILED" in typed.out
    assert "FB-2001" in typed.out
