"""Mutual TLS over real sockets: private authorities, our certificate, and who gets to see it."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fhir_bridge.clients.ask import Ask, Basic, StaticHeader
from fhir_bridge.clients.network import elsewhere
from fhir_bridge.errors import ConfigurationError, ProviderUnreachable, UsageError
from fhir_bridge.security import tls
from fhir_bridge.simulators.community import Community

from .scripted import BUNDLE, says


@pytest.fixture(scope="module")
def hospital():
    return Community.founded("Hospital authority")


@pytest.fixture(scope="module")
def authority():
    return Community.founded("Programme authority")


@pytest.fixture(scope="module")
def programme(authority):
    return authority.member("bridge", uri="https://bridge.example")


@contextmanager
def secured(tmp_path, hospital, *, asks_for=""):
    """An HTTPS server that notes whose certificate it was shown; asked for but not judged by us."""
    member = hospital.member("ehr", address="127.0.0.1")
    pem = tmp_path / "server.pem"
    pem.write_bytes(member.certificate.encode() + member.key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem)
    if asks_for:
        made.load_verify_locations(cadata=asks_for)
        made.verify_mode = ssl.CERT_OPTIONAL
    seen = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self):
            subject = (self.connection.getpeercert() or {}).get("subject", ())
            seen.append((subject, self.headers.get("Authorization")))
            self.send_response(200)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(BUNDLE)))
            self.end_headers()
            self.wfile.write(BUNDLE)

        def log_message(self, *args):
            """Nothing is printed."""

    class Server(ThreadingHTTPServer):
        def get_request(self):
            connection, address = super().get_request()
            return made.wrap_socket(connection, server_side=True), address

        def handle_error(self, *args):
            """A client that hangs up is what some of these tests are about."""

    server = Server(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/fhir", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_our_certificate_is_shown_together_with_any_login(
    tmp_path, hospital, authority, programme, open_wire
):
    with secured(tmp_path, hospital, asks_for=authority.anchors) as (base, seen):
        made = tls.context(
            authorities=hospital.anchors, certificate=programme.certificate, key=programme.key
        )
        wire = open_wire(base, verify=made).with_login(Basic("us", "pw"))
        assert wire.ask(Ask(f"{base}/Patient")).body == BUNDLE
    [(subject, login)] = seen
    assert subject[0][0] == ("commonName", "bridge")
    assert login.startswith("Basic ")


def test_a_private_authority_counts_for_its_endpoint_only(tmp_path, hospital, open_wire):
    with secured(tmp_path, hospital) as (base, seen):
        with pytest.raises(ProviderUnreachable):
            open_wire(base).ask(Ask(f"{base}/Patient"))
        wire = open_wire(base, verify=tls.context(authorities=hospital.anchors))
        assert wire.ask(Ask(f"{base}/Patient")).body == BUNDLE
    assert len(seen) == 1


def test_another_host_is_not_told_who_we_are(
    tmp_path, hospital, authority, programme, open_wire, monkeypatch
):
    """A presigned link's host asks for our certificate, and gets none."""
    stranger = ssl.create_default_context(cadata=hospital.anchors)
    monkeypatch.setattr("fhir_bridge.clients.network.elsewhere", lambda: stranger)
    monkeypatch.setattr("fhir_bridge.clients.network.public_address", lambda host, _: host)
    made = tls.context(
        authorities=hospital.anchors, certificate=programme.certificate, key=programme.key
    )
    with secured(tmp_path, hospital, asks_for=authority.anchors) as (url, seen):
        wire = open_wire("https://127.0.0.1:9/fhir", verify=made).with_login(Basic("us", "pw"))
        wire.ask(Ask(f"{url}/file", foreign="anonymous"))
    assert seen == [((), None)]


def test_elsewhere_the_machines_own_authorities_judge():
    assert elsewhere().verify_mode is ssl.CERT_REQUIRED
    assert elsewhere().check_hostname


def test_the_key_never_lies_on_disk_in_clear(programme, tmp_path, monkeypatch):
    written = []
    real = ssl.SSLContext.load_cert_chain

    def load(self, name, *rest, **more):
        written.append(Path(name).read_bytes())
        return real(self, name, *rest, **more)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    assert tls.context(certificate=programme.certificate, key=programme.key)
    assert b"ENCRYPTED PRIVATE KEY" in written[0]
    assert programme.key.split(b"\n")[1] not in written[0]
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_belong_together_is_a_matter_of_configuration(programme, hospital):
    other = hospital.member("other", uri="https://other.example")
    for parts in (
        {"certificate": programme.certificate, "key": other.key},
        {"certificate": programme.certificate, "key": b"no key"},
        {"authorities": "no PEM"},
    ):
        with pytest.raises(ConfigurationError):
            tls.context(**parts)
    assert tls.context() is None


def test_a_static_header_goes_under_its_own_name(ehr, open_wire):
    ehr.on("/a", says(200, BUNDLE))
    wire = open_wire(ehr.url).with_login(StaticHeader("X-Api-Key", "k 1"))
    wire.ask(Ask(f"{ehr.url}/a"))
    assert ehr.calls[0].headers["x-api-key"] == "k 1"
    assert "authorization" not in ehr.calls[0].headers


@pytest.mark.parametrize(
    ("name", "value"), [("", "v"), ("A B", "v"), ("X", ""), ("X", "a\r\nb"), ("Host", "v")]
)
def test_a_header_that_http_cannot_have_is_refused(name, value):
    with pytest.raises(UsageError):
        StaticHeader(name, value)
