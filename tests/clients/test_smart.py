"""SMART Backend Services against a token endpoint that checks every assertion with joserfc."""

from __future__ import annotations

import base64
import threading
from datetime import timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import pytest
import simplejson
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_bridge.clients.ask import Ask
from fhir_bridge.clients.smart import ASSERTION_TYPE, Smart, Tokens, discover
from fhir_bridge.errors import LoginRefused, ProviderFailed

from .scripted import BUNDLE, says, utc_now

KEYS = {
    "RS384": RSAKey.generate_key(2048, {"kid": "rsa-1"}),
    "ES384": ECKey.generate_key("P-384", {"kid": "ec-1"}),
}


class Keys:
    """Our private keys, as the security room holds them."""

    def __init__(self, *algorithms: str) -> None:
        self._algorithms = algorithms or ("RS384", "ES384")

    def algorithms(self):
        return self._algorithms

    def sign(self, header, claims, alg):
        key = KEYS[alg]
        return jwt.encode({**header, "alg": alg, "kid": key.kid}, claims, key, [alg])


class TokenServer:
    """A strict token endpoint; its clock may be wrong, and it never accepts a jti twice."""

    def __init__(self, ehr, *, algorithms=("RS384", "ES384"), v2=True, skew=timedelta(0)):
        self.ehr, self.v2, self.skew, self.seen = ehr, v2, skew, []
        self.lifetime, self.assertions = 300, []
        smart = {
            "token_endpoint": "../token",
            "token_endpoint_auth_signing_alg_values_supported": list(algorithms),
            "capabilities": ["permission-v2"] if v2 else ["permission-v1"],
        }
        ehr.on("/fhir/.well-known/smart-configuration", self._dated(200, smart))
        ehr.on("/token", self._token)

    def _dated(self, status, body):
        text = simplejson.dumps(body).encode()

        def answer(door):
            door.send_response_only(status)
            door.send_header("Date", format_datetime(utc_now() + self.skew, usegmt=True))
            door.send_header("Content-Length", str(len(text)))
            door.end_headers()
            door.wfile.write(text)

        return answer

    def _token(self, door):
        form = {k: v[0] for k, v in parse_qs(door.call.body.decode()).items()}
        assert form["grant_type"] == "client_credentials"
        error = self._refusal(form)
        if error:
            return self._dated(400, {"error": error})(door)
        self.seen.append(form["scope"])
        token = {"access_token": f"token-{len(self.seen)}", "expires_in": self.lifetime}
        return self._dated(200, token)(door)

    def _refusal(self, form):
        assert form["client_assertion_type"] == ASSERTION_TYPE
        header = simplejson.loads(_unpadded(form["client_assertion"].split(".")[0]))
        parsed = jwt.decode(form["client_assertion"], KEYS[header["alg"]], [header["alg"]])
        claims, now = parsed.claims, (utc_now() + self.skew).timestamp()
        self.assertions.append((parsed.header, claims))
        assert claims["iss"] == claims["sub"] == "bridge-1"
        assert claims["aud"] == f"{self.ehr.url}/token"
        assert header["kid"] == KEYS[header["alg"]].kid
        if not 0 < claims["exp"] - now <= 300:
            return "invalid_client"
        if claims["jti"] in [c["jti"] for _, c in self.assertions[:-1]]:
            return "invalid_client"
        wanted = "system/*.rs" if self.v2 else "system/*.read"
        return "" if wanted in form["scope"].split() else "invalid_scope"


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture
def login(ehr, open_wire):
    def make(**more):
        wire = open_wire(f"{ehr.url}/fhir")
        return Tokens(wire, f"{ehr.url}/fhir", "bridge-1", **({"signer": Keys()} | more))

    return make


@pytest.mark.parametrize(
    ("theirs", "ours", "used"),
    [
        (("RS384", "ES384"), ("RS384", "ES384"), "RS384"),
        (("ES384",), ("RS384", "ES384"), "ES384"),
        (("RS384", "ES384"), ("ES384",), "ES384"),
        ((), ("RS384", "ES384"), "RS384"),
    ],
)
def test_the_algorithm_is_one_that_both_sides_have(ehr, login, theirs, ours, used):
    server = TokenServer(ehr, algorithms=theirs)
    assert login(signer=Keys(*ours)).header() == "Bearer token-1"
    ((header, claims),) = server.assertions
    assert header["alg"] == used
    assert claims["exp"] - claims["iat"] == 240


def test_one_token_serves_until_shortly_before_it_expires(ehr, login):
    server = TokenServer(ehr)
    tokens = login()
    assert [tokens.header(), tokens.header()] == ["Bearer token-1"] * 2
    server.lifetime = 1
    tokens.renewed("Bearer token-1")
    assert tokens.header() == "Bearer token-2"


def test_a_token_is_renewed_thirty_seconds_early(ehr, open_wire):
    TokenServer(ehr)
    ahead = [timedelta(0)]
    wire = open_wire(f"{ehr.url}/fhir", now=lambda: utc_now() + ahead[0])
    tokens = Tokens(wire, f"{ehr.url}/fhir", "bridge-1", signer=Keys())
    assert tokens.header() == "Bearer token-1"
    ahead[0] = timedelta(seconds=269)
    assert tokens.header() == "Bearer token-1"
    ahead[0] = timedelta(seconds=271)
    assert tokens.header() == "Bearer token-2"


def test_many_threads_fetch_one_token(ehr, login):
    server = TokenServer(ehr)
    tokens, got = login(), []
    threads = [threading.Thread(target=lambda: got.append(tokens.header())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["Bearer token-1"] * 8
    assert len(server.seen) == 1


def test_threads_that_were_refused_together_renew_together(ehr, login):
    server = TokenServer(ehr)
    tokens = login()
    old = tokens.header()
    assert [tokens.renewed(old), tokens.renewed(old)] == ["Bearer token-2"] * 2
    assert len(server.seen) == 2


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_server_whose_clock_is_wrong_gets_times_by_its_own_clock(ehr, login, minutes):
    server = TokenServer(ehr, skew=timedelta(minutes=minutes))
    assert login().header() == "Bearer token-1"
    assert len(server.assertions) == 1


def test_the_other_scope_language_is_tried_once_and_remembered(ehr, login):
    server = TokenServer(ehr, v2=True)
    server.v2 = False  # it says v2, and takes v1 only
    tokens = login()
    assert tokens.header() == "Bearer token-1"
    tokens.renewed("Bearer token-1")
    assert len(server.assertions) == 3
    assert server.seen == ["system/*.read system/DocumentReference.write system/Binary.write"] * 2


def test_a_refused_login_names_the_code_and_nothing_else(ehr, login):
    TokenServer(ehr)
    text = b'{"error":"invalid_client","error_description":"Jane Doe unknown"}'
    ehr.on("/token", says(401, text))
    with pytest.raises(LoginRefused) as caught:
        login().header()
    assert caught.value.detail == "token endpoint: HTTP 401 invalid_client"


def test_each_attempt_has_a_new_assertion(ehr, login):
    server = TokenServer(ehr)
    broken = []

    def once(door):
        if not broken:
            broken.append(door.call)
            return door.say(502)
        return server._token(door)

    ehr.on("/token", once)
    assert login().header() == "Bearer token-1"
    tried = [parse_qs(call.body.decode())["client_assertion"][0] for call in ehr.calls[1:]]
    numbers = {simplejson.loads(_unpadded(one.split(".")[1]))["jti"] for one in tried}
    assert len(numbers) == len(tried) == 2


def test_a_failing_token_endpoint_is_no_refusal(ehr, login):
    TokenServer(ehr)
    ehr.on("/token", says(500))
    with pytest.raises(ProviderFailed):
        login().header()


def test_a_client_secret_goes_by_basic_authentication(ehr, login):
    TokenServer(ehr)
    ehr.on("/token", says(200, b'{"access_token":"t","token_type":"bearer"}'))
    assert login(signer=None, secret="s:e c").header() == "Bearer t"
    assert ehr.calls[-1].headers["authorization"] == "Basic YnJpZGdlLTE6cyUzQWUlMjBj"
    assert b"client_assertion" not in ehr.calls[-1].body


def test_a_token_is_nowhere_in_the_store(ehr, keep, open_wire):
    TokenServer(ehr)
    ehr.on("/fhir/Patient/1", says(200, BUNDLE))
    wire = open_wire(f"{ehr.url}/fhir")
    tokens = Tokens(wire, f"{ehr.url}/fhir", "bridge-1", signer=Keys())
    wire.with_login(tokens).ask(Ask(f"{ehr.url}/fhir/Patient/1"))
    assert ehr.calls[-1].headers["authorization"] == "Bearer token-1"
    assert not any(b"token-1" in body for body in keep.blobs.values())
    assert "token-1" not in repr(keep.rows)
    assert [row.request.rpartition("/")[2] for row in keep.rows] == ["smart-configuration", "1"]


def test_a_token_that_dies_in_the_middle_is_replaced(ehr, open_wire):
    TokenServer(ehr)
    ehr.on("/fhir/a", says(200, BUNDLE), says(401), says(200, BUNDLE))
    wire = open_wire(f"{ehr.url}/fhir")
    wire = wire.with_login(Tokens(wire, f"{ehr.url}/fhir", "bridge-1", signer=Keys()))
    for _ in range(2):
        assert wire.ask(Ask(f"{ehr.url}/fhir/a")).body == BUNDLE
    used = [c.headers["authorization"] for c in ehr.calls if c.path == "/fhir/a"]
    assert used == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_without_a_smart_configuration_the_capability_statement_is_asked(ehr, open_wire):
    uris = [{"url": "token", "valueUri": f"{ehr.url}/oauth/token"}]
    statement = {
        "resourceType": "CapabilityStatement",
        "rest": [{"security": {"extension": [{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": uris,
        }]}}],
    }  # fmt: skip
    ehr.on("/fhir/metadata", says(200, simplejson.dumps(statement).encode()))
    smart = discover(open_wire(f"{ehr.url}/fhir"), f"{ehr.url}/fhir")
    assert smart.token_endpoint == f"{ehr.url}/oauth/token"


def test_a_token_endpoint_of_another_scheme_is_refused(ehr, open_wire):
    text = b'{"token_endpoint":"https://elsewhere.example/token"}'
    ehr.on("/fhir/.well-known/smart-configuration", says(200, text))
    with pytest.raises(LoginRefused):
        discover(open_wire(f"{ehr.url}/fhir"), f"{ehr.url}/fhir")


def test_wrong_shapes_in_a_smart_configuration_count_as_absent():
    odd = {"token_endpoint": 7, "capabilities": "x", "other": [1]}
    assert Smart.of(odd, "https://a.example/fhir") == Smart()


class Recollection:
    """A memory that outlives the Tokens."""

    def __init__(self):
        self.kept = {}

    def fact(self, name):
        return self.kept.get(name)

    def learn(self, **facts):
        self.kept |= facts


def test_what_a_server_understands_is_remembered_across_processes(ehr, login):
    server, memory = TokenServer(ehr, v2=True), Recollection()
    server.v2 = False  # it says v2, and takes v1 only
    login(memory=memory).header()
    assert memory.kept == {"scope_syntax": "v1"}
    login(memory=memory).header()
    assert len(server.assertions) == 3


def test_a_server_that_changed_its_mind_is_learnt_anew(ehr, login):
    TokenServer(ehr, v2=True)
    memory = Recollection()
    memory.learn(scope_syntax="v1")
    assert login(memory=memory).header() == "Bearer token-1"
    assert memory.kept == {"scope_syntax": "v2"}


def test_scopes_of_the_operator_are_asked_for_word_by_word(ehr, login):
    server = TokenServer(ehr)
    login(scope="system/Patient.rs system/*.rs").header()
    assert server.seen == ["system/Patient.rs system/*.rs"]


def _takes(way, ehr, methods):
    """A token endpoint that takes a client secret in one way only."""
    smart = {"token_endpoint": "../token", "token_endpoint_auth_methods_supported": methods}
    ehr.on("/fhir/.well-known/smart-configuration", says(200, simplejson.dumps(smart).encode()))
    ways = []

    def token(door):
        posted = b"client_secret=pw" in door.call.body
        ways.append("client_secret_post" if posted else "client_secret_basic")
        if ways[-1] != way:
            return door.say(401, b'{"error":"invalid_client"}')
        return door.say(200, b'{"access_token":"t","expires_in":300,"scope":"system/*.rs"}')

    ehr.on("/token", token)
    return ways


@pytest.mark.parametrize(
    ("way", "methods", "tried"),
    [
        ("client_secret_basic", [], ["client_secret_basic"]),
        ("client_secret_post", ["client_secret_post"], ["client_secret_post"]),
        ("client_secret_post", [], ["client_secret_basic", "client_secret_post"]),
        (
            "client_secret_basic",
            ["client_secret_post"],
            ["client_secret_post", "client_secret_basic"],
        ),
    ],
)
def test_a_client_secret_goes_the_way_that_the_server_takes(ehr, login, way, methods, tried):
    ways, memory = _takes(way, ehr, methods), Recollection()
    tokens = login(signer=None, secret="pw", memory=memory)
    assert tokens.header() == "Bearer t"
    assert ways == tried
    assert memory.kept["token_auth_method"] == way
    ways.clear()
    login(signer=None, secret="pw", memory=memory).header()
    assert ways == [way]


def test_a_secret_that_is_wrong_is_tried_once_each_way(ehr, login):
    ways = _takes("neither", ehr, [])
    with pytest.raises(LoginRefused):
        login(signer=None, secret="pw").header()
    assert ways == ["client_secret_basic", "client_secret_post"]


def test_the_account_of_a_login_tells_what_was_asked_and_granted_and_no_token(ehr, login):
    TokenServer(ehr)
    tokens = login()
    assert tokens.account() is None
    tokens.header()
    account = tokens.account()
    assert (account.method, account.proof) == ("private_key_jwt", "RS384, kid rsa-1")
    assert account.asked == account.granted
    assert "token-1" not in repr(account)


def test_a_token_that_no_header_can_hold_is_refused(ehr, login):
    TokenServer(ehr)
    ehr.on("/token", says(200, b'{"access_token":"a\\r\\nb","expires_in":300}'))
    with pytest.raises(LoginRefused):
        login().header()


def test_a_token_endpoint_that_moved_is_found_again(ehr, login):
    server = TokenServer(ehr)
    tokens = login()
    tokens.header()
    ehr.on("/token", says(404))
    with pytest.raises(LoginRefused):
        tokens.renewed("Bearer token-1")
    ehr.on("/token", server._token)
    assert tokens.header() == "Bearer token-2"
    assert ehr.paths().count("/fhir/.well-known/smart-configuration") == 2
