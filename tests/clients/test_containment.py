"""Whatever a server writes into a link, a redirect or an attachment: our login stays at home."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge.clients.ask import Ask, Basic, StaticHeader
from fhir_bridge.clients.fhir import FhirClient
from fhir_bridge.clients.origins import contained, origin_of
from fhir_bridge.errors import BridgeError, ForeignAddress

from .scripted import BUNDLE, CANARY, FHIR, Bearer, scripted_server

LOGINS = (Bearer(), Basic("us", CANARY), StaticHeader("X-Api-Key", CANARY))
ON_ONE_SERVER = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def home():
    with scripted_server() as server:
        yield server


@pytest.fixture(scope="module")
def abroad():
    with scripted_server() as server:
        yield server


def urls(home_url: str, abroad_url: str) -> st.SearchStrategy[str]:
    """Addresses that look like the endpoint's, and are, or are not."""
    here, there = urlsplit(home_url), urlsplit(abroad_url)
    hosts = st.sampled_from(
        [
            here.netloc, there.netloc, f"{here.netloc}@{there.netloc}", f"localhost:{there.port}",
            f"2130706433:{there.port}", f"[::ffff:127.0.0.1]:{there.port}", f"127.1:{there.port}",
            f"127.0.0.1.:{there.port}", f"{here.netloc}\\@{there.netloc}",
            f"LOCALHOST:{there.port}",
            f"hapi:{there.port}", f"127.0.0.1:0{there.port}", f"{here.netloc}#@{there.netloc}",
        ]
    )  # fmt: skip
    schemes = st.sampled_from(["http:", "HTTP:", "https:", "", "ftp:", "javascript:", "file:"])
    slashes = st.sampled_from(["//", "/", "///", "\\\\", "/\\", ""])
    paths = st.sampled_from(["/fhir/a", "/fhirx/a", "/../a", "/fhir?_getpages=1", "", "?x", "/%2e"])
    noise = st.sampled_from(["", " ", "\t", "\x00", "%00", "\u3002", "\u2025"])
    return st.builds(
        lambda *p: "".join(p), noise, schemes, slashes, hosts, paths, noise
    )  # fmt: skip


def _leaked(server) -> bool:
    return any(CANARY in f"{call.path}{call.headers}{call.body!r}" or _basic(call)
               for call in server.calls)  # fmt: skip


def _basic(call) -> bool:
    sent = call.headers.get("authorization", "")
    return sent == LOGINS[1].header() or "x-api-key" in call.headers


@ON_ONE_SERVER
@given(st.data(), st.sampled_from(LOGINS), st.sampled_from(["next", "file", "redirect", "read"]))
def test_a_login_never_leaves_its_origin(home, abroad, open_wire, draws, login, way):
    url = draws.draw(urls(home.url, abroad.url))
    for server in (home, abroad):
        server.script.clear()
        server.calls.clear()
    base = f"{home.url}/fhir"

    def away(door):
        shown = url.encode("utf-8", "replace").decode("latin-1")
        location = shown.replace("\x00", "").replace("\t", "")
        if door.call.path == "/fhir/start":
            door.say(302, b"", {"Location": location})
        else:
            door.say(200, BUNDLE, FHIR)

    home.reaction = abroad.reaction = lambda call: away
    wire = open_wire(base).with_login(login)
    client = FhirClient(base, wire, foreign_files=True)
    work = {
        "next": lambda: client.follow(url, previous=""),
        "file": lambda: client.fetch(url),
        "redirect": lambda: wire.ask(Ask(f"{base}/start")),
        "read": lambda: client.read(url),
    }
    with suppress(BridgeError):
        work[way]()
    assert not _leaked(abroad)
    assert abroad.calls == []  # a loopback address of another origin is not even asked


@given(st.sampled_from([("http", 80), ("https", 443)]), st.sampled_from(["/fhir", "/a/b"]))
def test_a_default_port_is_the_same_origin_whether_written_or_not(scheme_port, path):
    scheme, port = scheme_port
    written, plain = f"{scheme}://ehr.example:{port}{path}", f"{scheme}://EHR.example{path}"
    assert origin_of(written) == origin_of(plain)
    assert contained(f"{written}/x", plain) == f"{written}/x"


@given(
    st.sampled_from(["http://hapi:8080", "http://10.0.0.7", "https://ehr.internal"]),
    st.sampled_from(["/fhir", "/fhirx", "/other", "", "/FHIR", "/fhir/../x"]),
)
def test_an_internal_host_is_rebased_only_where_the_path_continues_the_base(inside, path):
    base = "https://ehr.example/fhir"
    try:
        found = contained(f"{inside}{path}/Patient?page=2", base)
    except ForeignAddress:
        assert path != "/fhir"
    else:
        assert origin_of(found) == origin_of(base)
        assert path.startswith("/fhir")
        assert not path.startswith("/fhirx")
