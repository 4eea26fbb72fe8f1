"""UDAP B2B against a hospital that checks every signature, chain, time and nonce."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest
import uvicorn
from fastapi import FastAPI

from fhir_bridge.clients.smart import Tokens
from fhir_bridge.clients.udap import Business, Udap
from fhir_bridge.errors import LoginRefused
from fhir_bridge.security.certificates import Anchors, Certified
from fhir_bridge.service import listening_socket
from fhir_bridge.simulators.community import Community
from fhir_bridge.simulators.udap import TREAT, UdapDesk, udap_router

US = "https://bridge.example/programme"
BUSINESS = Business("https://bridge.example/organization", "Second Opinion Programme")


@pytest.fixture(scope="module")
def community():
    return Community.founded("Community")


@pytest.fixture(scope="module")
def ours(community):
    member = community.member("bridge", uri=US)
    return Certified.of_pem(member.certificate, member.key)


@dataclass
class Place:
    desk: UdapDesk
    anchors: Anchors
    paths: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def running(community):
    """One hospital for the module; each test gets its desk anew."""
    app = FastAPI()
    with listening_socket("127.0.0.1", 0) as listener:
        root = f"http://127.0.0.1:{listener.getsockname()[1]}"
        member = community.member("hospital", uri=f"{root}/fhir")
        certified = Certified.of_pem(member.certificate, member.key)
        anchors = Anchors.of_pem(community.anchors)
        place = Place(UdapDesk(f"{root}/fhir", root, certified, anchors, time.time), anchors)

        @app.middleware("http")
        async def note(request, call_next):
            place.paths.append(request.url.path)
            return await call_next(request)

        app.include_router(udap_router(place.desk))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield place
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def place(running):
    desk = running.desk
    desk.changes, desk.says = {}, {}
    running.paths.clear()
    for kept in (desk.clients, desk.tokens, desk.seen):
        kept.clear()
    return running


@pytest.fixture
def login(place, ours, open_wire):
    def make(**more):
        wire = open_wire(place.desk.base)
        facts = {"certificate": ours, "trust": place.anchors, "business": BUSINESS} | more
        udap = Udap(wire, place.desk.base, contact="mailto:it@bridge.example", **facts)
        return Tokens(wire, place.desk.base, proof=udap, find=udap.find)

    return make


def test_we_register_once_and_get_tokens_for_the_purpose_that_we_assert(place, login):
    tokens = login()
    first = tokens.header()
    assert tokens.renewed(first) != first
    assert place.paths.count("/udap/register") == 1
    assert list(place.desk.clients) == [US]
    asserted = {tuple(said["purpose_of_use"]) for said in place.desk.tokens.values()}
    assert asserted == {(TREAT,)}
    assert tokens.account().proof == f"RS256, x5c of {US}"
    assert tokens.account().granted == tokens.account().asked


def test_a_registration_is_remembered_and_renewed_when_the_server_forgot_it(place, login):
    tokens = login()
    old = tokens.header()
    place.desk.clients.clear()
    assert tokens.renewed(old) != old
    assert place.paths.count("/udap/register") == 2


def test_each_attempt_has_a_new_nonce(place, login):
    tokens = login()
    tokens.renewed(tokens.header())
    assert len(place.desk.seen) == 3


@pytest.mark.parametrize(
    ("changes", "says", "detail"),
    [
        ({"exp": 1_700_000_000, "iat": 1_699_990_000}, {}, "expired"),
        ({"exp": 4_000_000_000}, {}, "more than a year"),
        ({"iat": 3_900_000_000, "exp": 3_900_000_100}, {}, "of the future"),
        ({"exp": "soon"}, {}, "no times"),
        ({"sub": "https://elsewhere.example"}, {}, "iss and sub"),
        ({"iss": "https://a.example", "sub": "https://a.example"}, {}, "not the issuer's"),
        ({"token_endpoint": "http://127.0.0.1:9/token"}, {}, "token_endpoint"),
        ({}, {"registration_endpoint": "http://127.0.0.1:9/r"}, "registration_endpoint"),
        ({}, {"signed_metadata": None}, "not signed"),
        ({}, {"signed_metadata": "a.b.c"}, "no JWT"),
    ],
)
def test_metadata_that_does_not_hold_are_not_believed(place, login, changes, says, detail):
    place.desk.changes, place.desk.says = changes, says
    with pytest.raises(LoginRefused, match=detail):
        login().header()
    assert place.paths == ["/fhir/.well-known/udap"]


def test_metadata_of_another_community_are_not_believed(place, login):
    stranger = Anchors.of_pem(Community.founded("Others").anchors)
    with pytest.raises(LoginRefused, match="trust anchors"):
        login(trust=stranger).header()


def test_metadata_of_another_member_are_not_believed(place, login, community):
    """A true member of the community, but not the server that we asked."""
    own = place.desk.certified
    other = community.member("other", uri="https://other.example/fhir")
    place.desk.certified = Certified.of_pem(other.certificate, other.key)
    try:
        place.desk.changes = dict.fromkeys(("iss", "sub"), "https://other.example/fhir")
        with pytest.raises(LoginRefused, match="another server's"):
            login().header()
    finally:
        place.desk.certified = own


def test_metadata_signed_with_another_key_than_the_certificates_are_not_believed(
    place, login, community
):
    signed = place.desk.metadata()["signed_metadata"].split(".")
    stranger = community.member("other", uri=place.desk.base)
    forged = Certified.of_pem(stranger.certificate, stranger.key).sign({"iss": place.desk.base})
    place.desk.says = {"signed_metadata": ".".join([*signed[:2], forged.split(".")[2]])}
    with pytest.raises(LoginRefused, match="another key"):
        login().header()


def test_a_client_of_another_community_is_not_registered(place, login):
    member = Community.founded("Others").member("us", uri=US)
    stranger = Certified.of_pem(member.certificate, member.key)
    with pytest.raises(LoginRefused, match="registration: HTTP 401 invalid_client"):
        login(certificate=stranger).header()


def test_the_server_refuses_a_replayed_assertion(place, login):
    udap = login()._proof
    smart = udap.find()
    issued = int(time.time())
    first, second = (
        udap.show("udap", smart.server, issued=issued, jti="same").form for _ in range(2)
    )
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    replies = [udap.wire.confide(smart.token_endpoint, form | one) for one in (first, second)]
    assert [reply.status for reply in replies] == [200, 401]
