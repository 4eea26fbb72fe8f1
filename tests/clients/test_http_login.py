"""Where a login goes, and where it never goes: exact origins, redirects, private addresses."""

from __future__ import annotations

import socket

import pytest

from fhir_bridge.clients.ask import Ask, Basic
from fhir_bridge.errors import ForeignAddress, LoginRefused, ProviderRefused

from .scripted import BUNDLE, CANARY, Bearer, says


def test_a_login_goes_to_the_endpoint_and_its_allow_list(ehr, stranger, open_wire):
    for server in (ehr, stranger):
        server.on("/a", says(200, BUNDLE))
    wire = open_wire(ehr.url, allowed=[stranger.url]).with_login(Bearer())
    for server in (ehr, stranger):
        wire.ask(Ask(f"{server.url}/a"))
        assert server.calls[0].headers["authorization"] == f"Bearer {CANARY}"


def test_a_login_can_be_narrowed_to_some_of_the_allowed_origins(ehr, stranger, open_wire):
    stranger.on("/a", says(200, BUNDLE))
    wire = open_wire(ehr.url, allowed=[stranger.url]).with_login(Bearer(), at=[ehr.url])
    wire.ask(Ask(f"{stranger.url}/a"))
    assert "authorization" not in stranger.calls[0].headers


def test_another_origin_is_not_even_asked(ehr, stranger, open_wire):
    wire = open_wire(ehr.url).with_login(Bearer())
    with pytest.raises(ForeignAddress):
        wire.ask(Ask(f"{stranger.url}/a"))
    assert stranger.calls == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_is_refused(ehr, stranger, keep, open_wire, status):
    ehr.on("/a", says(status, b"", {"Location": f"{stranger.url}/b"}))
    with pytest.raises(ForeignAddress):
        open_wire(ehr.url).with_login(Bearer()).ask(Ask(f"{ehr.url}/a"))
    assert stranger.calls == []
    assert [row.status for row in keep.rows] == [status]


def test_a_redirect_to_an_allowed_origin_carries_no_login(ehr, stranger, keep, open_wire):
    ehr.on("/a", says(302, b"", {"Location": f"{stranger.url}/b"}))
    stranger.on("/b", says(200, BUNDLE))
    wire = open_wire(ehr.url, allowed=[stranger.url]).with_login(Bearer())
    answer = wire.ask(Ask(f"{ehr.url}/a"))
    assert answer.body == BUNDLE
    assert answer.url == f"{stranger.url}/b"
    assert "authorization" not in stranger.calls[0].headers
    assert answer.original.previous == keep.rows[0].id


def test_a_redirect_within_the_endpoint_keeps_the_login(ehr, open_wire):
    ehr.on("/a", says(301, b"", {"Location": "/b"}))
    ehr.on("/b", says(200, BUNDLE))
    open_wire(ehr.url).with_login(Bearer()).ask(Ask(f"{ehr.url}/a"))
    assert ehr.calls[1].headers["authorization"] == f"Bearer {CANARY}"


def test_redirects_in_a_circle_end(ehr, open_wire):
    ehr.on("/a", says(302, b"", {"Location": "/a"}))
    with pytest.raises(ProviderRefused):
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/a"))
    assert len(ehr.calls) == 6


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "data:text/plain,x", "gopher://x/", "http://a@127.0.0.1/", "//x\\@y/"],
)
def test_a_redirect_to_no_web_address_is_refused(ehr, open_wire, target):
    ehr.on("/a", says(302, b"", {"Location": target}))
    with pytest.raises(ForeignAddress):
        open_wire(ehr.url).ask(Ask(f"{ehr.url}/a"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_a_foreign_address_inside_is_never_connected_to(ehr, stranger, open_wire, host):
    port = stranger.url.rpartition(":")[2]
    with pytest.raises(ForeignAddress):
        open_wire(ehr.url).ask(Ask(f"http://{host}:{port}/a", foreign="anonymous"))
    assert stranger.calls == []


def test_a_name_that_resolves_to_both_sides_is_refused(ehr, stranger, open_wire, monkeypatch):
    """The check is on the addresses, not on the name: a name server may be the attacker's."""
    port = int(stranger.url.rpartition(":")[2])
    both = [(2, 1, 6, "", (ip, port)) for ip in ("93.184.216.34", "127.0.0.1")]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo",
        lambda host, *rest, **more: both if host == "evil.example" else real(host, *rest, **more),
    )  # fmt: skip
    with pytest.raises(ForeignAddress):
        open_wire(ehr.url).ask(Ask(f"http://evil.example:{port}/a", foreign="anonymous"))
    assert stranger.calls == []


def test_an_expired_login_is_renewed_once(ehr, keep, open_wire):
    ehr.on("/a", says(401), says(200, BUNDLE))
    login = Bearer("old", "new")
    answer = open_wire(ehr.url).with_login(login).ask(Ask(f"{ehr.url}/a"))
    assert answer.body == BUNDLE
    assert [c.headers["authorization"] for c in ehr.calls] == ["Bearer old", "Bearer new"]
    assert [row.status for row in keep.rows] == [401, 200]


def test_a_second_401_is_a_refused_login(ehr, open_wire):
    ehr.on("/a", says(401))
    login = Bearer()
    with pytest.raises(LoginRefused):
        open_wire(ehr.url).with_login(login).ask(Ask(f"{ehr.url}/a"))
    assert (len(ehr.calls), login.renewals) == (2, 1)


def test_a_refused_password_is_not_tried_again(ehr, open_wire):
    ehr.on("/a", says(401))
    with pytest.raises(LoginRefused):
        open_wire(ehr.url).with_login(Basic("us", "pä")).ask(Ask(f"{ehr.url}/a"))
    assert [c.headers["authorization"] for c in ehr.calls] == ["Basic dXM6cMOk"]
