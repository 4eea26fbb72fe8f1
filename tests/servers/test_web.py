"""The web application as a whole: headers, login, origin checks, and answers to errors."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from starlette.routing import Route
from tests.servers.conftest import Bridge, make_bridge

from fhir_bridge.servers.web import HEADERS

ORIGIN = {"Origin": "http://127.0.0.1:8400"}
OPEN = {"/login", "/static/{name}", "/livez", "/readyz", "/.well-known/jwks.json", "/fhir/metadata"}


def leaves(route) -> list[Route]:
    """The routes of a router that was included, however deep."""
    inner = getattr(route, "original_router", None)
    if inner is not None:
        return [leaf for one in inner.routes for leaf in leaves(one)]
    return [route] if isinstance(route, Route) else []


def addresses(bridge: Bridge) -> list[tuple[str, str]]:
    """Every route with a value for each of its parameters."""
    values = {
        "case_id": "case-1",
        "name": "head",
        "source": "general-hospital",
        "order": "pause",
        "token": "x",
        "ref": "x",
        "sha256": "0" * 64,
        "opinion_id": "x",
        "version": "1",
    }
    found = []
    for route in bridge.app.routes:
        found += leaves(route)
    assert len(found) > 30
    return [
        (method, route.path.format(**values))
        for route in found
        for method in sorted((route.methods or {"GET"}) - {"HEAD"})
        if not route.path.endswith("/events")
    ]


def test_every_answer_carries_every_security_header(full: Bridge) -> None:
    browser = full.client()
    paths = addresses(full)
    for method, path in [*paths, ("GET", "/nothing"), ("PUT", "/"), ("GET", "/fhir/Patient/1")]:
        answer = browser.request(method, path, headers=ORIGIN)
        for name in HEADERS:
            assert name in answer.headers, (method, path, name)
        assert "unsafe" not in answer.headers["Content-Security-Policy"] or path.endswith(".pdf")
        assert answer.headers["X-Request-Id"]
        assert answer.status_code < 500, (method, path)


def test_no_route_can_be_reached_without_a_login_unless_it_is_listed(full: Bridge) -> None:
    stranger = full.client(logged_in=False)
    for method, path in addresses(full):
        if path.rsplit("/", 1)[0] in ("/static", "/.well-known") or path in OPEN:
            continue
        answer = stranger.request(method, path, headers=ORIGIN)
        assert answer.status_code in (303, 401), (method, path)
        assert "DOE" not in answer.text


def test_a_one_time_link_works_once(bridge: Bridge) -> None:
    token = bridge.door.link()
    first = bridge.client(logged_in=False)
    answer = first.get("/login", params={"t": token})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert first.get("/").status_code == 200
    second = bridge.client(logged_in=False)
    assert second.get("/login", params={"t": token}).status_code == 401
    assert second.get("/").headers["location"] == "/login"


def test_the_session_ends_on_the_server_at_log_out(bridge: Bridge) -> None:
    browser = bridge.client()
    cookies = dict(browser.cookies)
    data = {"csrf": token_of(browser)}
    assert browser.post("/logout", data=data, headers=ORIGIN).status_code == 303
    browser.cookies.update(cookies)
    assert browser.get("/").status_code == 303


def test_the_cookie_is_secure_behind_https(store) -> None:
    bridge = make_bridge(store, public_url="https://bridge.example")
    answer = bridge.client(logged_in=False).get("/login", params={"t": bridge.door.link()})
    assert "Strict-Transport-Security" in answer.headers


def token_of(browser: TestClient) -> str:
    """The synchronizer token, read off a page as a browser would."""
    return browser.get("/").text.split('name="csrf" value="')[1].split('"')[0]


def test_a_form_of_another_site_is_refused(full: Bridge) -> None:
    browser = full.client()
    data = {"csrf": token_of(browser)}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", **ORIGIN},
        {"Sec-Fetch-Site": "same-site", **ORIGIN},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {},
    ):
        answer = browser.post("/cases/case-1/pull", data=data, headers=headers)
        assert answer.status_code == 403, headers
    assert full.deeds.done == []


def test_a_form_without_its_token_is_refused(full: Bridge) -> None:
    browser = full.client()
    for data in ({}, {"csrf": "0" * 64}, {"csrf": token_of(full.client())}):
        assert browser.post("/cases/case-1/pull", data=data, headers=ORIGIN).status_code == 403
    assert full.deeds.done == []


@pytest.mark.parametrize(
    "headers",
    [
        ORIGIN,
        {**ORIGIN, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_form_of_our_own_page_acts(full: Bridge, headers) -> None:
    browser = full.client()
    data = {"csrf": token_of(browser), "source": "general-hospital"}
    assert browser.post("/cases/case-1/pull", data=data, headers=headers).status_code == 303
    assert full.deeds.done == [("pull", "local", "case-1", "general-hospital")]


def test_a_foreign_host_name_is_refused(full: Bridge) -> None:
    answer = full.client().get("/", headers={"Host": "rebound.example"})
    assert answer.status_code == 421
    assert "DOE" not in answer.text


@pytest.mark.parametrize("name", ["[bad", "]", "[::1"])
def test_a_host_or_origin_that_cannot_be_read_is_refused_like_a_foreign_one(
    full: Bridge, name: str
) -> None:
    browser = full.client()
    assert browser.get("/", headers={"Host": name}).status_code == 421
    answer = browser.post("/search", data={}, headers={"Origin": f"http://{name}"})
    assert answer.status_code == 403


def test_a_body_beyond_the_cap_is_refused_announced_or_not(full: Bridge) -> None:
    browser = full.client()
    big = b"x" * (5 * 1024 * 1024)
    headers = {**ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
    assert browser.post("/search", content=big, headers=headers).status_code == 413
    chunks = (big[: 1024 * 1024] for _ in range(5))
    assert browser.post("/search", content=chunks, headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/fhir/Patient/1", 404),
        ("GET", "/fhir/Bundle/none", 404),
        ("DELETE", "/fhir/Bundle/case-1", 405),
        ("GET", "/fhir/Bundle/case-1/_history/one", 422),
        ("GET", "/fhir/Bundle/case-1/_history/99999999999999999999", 422),
        ("GET", "/fhir/Bundle/case-1?_format=xml", 406),
        ("GET", "/fhir/Binary/00", 422),
    ],
)
def test_every_fhir_error_is_an_operation_outcome(full: Bridge, method, path, status) -> None:
    browser = full.client()
    # A browser's cookie needs the header token for an unsafe verb; then the verb itself is judged.
    headers = {**ORIGIN, "X-CSRF-Token": token_of(browser), "X-Request-Id": "request-7"}
    answer = browser.request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/fhir+json"
    issue = answer.json()["issue"][0]
    assert issue["details"]["text"].endswith(".")
    assert issue["details"]["coding"][0]["code"].startswith("FB-")
    assert issue["diagnostics"] == "request request-7"
    assert answer.headers["X-Request-Id"] == "request-7"


def test_an_unforeseen_error_tells_nothing_of_itself(full: Bridge, capsys) -> None:
    router = APIRouter()

    def fails() -> None:
        raise ValueError("Zzyzx-Canary 1961-03-14")

    router.get("/fhir/fails")(fails)
    router.get("/fails")(fails)
    full.app.include_router(router)
    browser = full.client()
    for path in ("/fhir/fails", "/fails"):
        answer = browser.get(path)
        assert answer.status_code == 500
        assert "Canary" not in answer.text
        assert "ValueError" not in answer.text
        assert "FB-0001" in answer.text
    logged = capsys.readouterr()
    assert "Canary" not in logged.out + logged.err


def test_the_log_has_templates_and_no_addresses(full: Bridge, capsys) -> None:
    full.client().get("/cases/case-1/ledger", params={"state": "kept"})
    logged = capsys.readouterr().out
    assert "/cases/{case_id}/ledger" in logged
    assert "case-1" not in logged
    assert "kept" not in logged


def test_a_strange_request_id_is_replaced(bridge: Bridge) -> None:
    answer = bridge.client(logged_in=False).get("/livez", headers={"X-Request-Id": "a b<c>"})
    assert answer.headers["X-Request-Id"] != "a b<c>"


def test_a_portal_reads_with_the_configured_token(store) -> None:
    bridge = make_bridge(store, login_token="a-long-fixed-token")
    bridge.seed.case("case-1")
    portal = bridge.client(logged_in=False)
    good = {"Authorization": "Bearer a-long-fixed-token"}
    assert portal.get("/fhir/Bundle/case-1", headers=good).status_code == 404
    bad = portal.get("/fhir/Bundle/case-1", headers={"Authorization": "Bearer wrong"})
    assert bad.status_code == 401
    assert bad.headers["WWW-Authenticate"].startswith("Bearer")
    assert bad.json()["issue"][0]["code"] == "login"


def test_liveness_readiness_and_keys_are_open(bridge: Bridge) -> None:
    stranger = bridge.client(logged_in=False)
    assert stranger.get("/livez").json() == {"status": "live"}
    assert stranger.get("/readyz").json()["checks"] == {"database": True}
    keys = stranger.get("/.well-known/jwks.json")
    assert keys.json() == {"keys": []}
    assert keys.headers["Cache-Control"] == "public, max-age=300"


def test_the_interface_page_loads_nothing_from_elsewhere(full: Bridge) -> None:
    page = full.client().get("/docs").text
    assert "/fhir/Bundle/{case_id}" in page
    assert "http" not in page.replace("http-equiv", "")
