"""The wire: every HTTP exchange with one provider, kept before it is read, login in one place."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self
from urllib.parse import urlencode

import httpcore2
import httpx2

from fhir_bridge.case.original import Answer, Blob, How, Original
from fhir_bridge.clients.ask import Anonymous, Ask, Authoriser, Kind, Limits, request_line
from fhir_bridge.clients.body import Cap, decoder
from fhir_bridge.clients.flow import Flow
from fhir_bridge.clients.formats import asked_for_json
from fhir_bridge.clients.keep import Keep
from fhir_bridge.clients.manners import Manners, Place
from fhir_bridge.clients.network import Deadline, GuardedNetwork, addresses
from fhir_bridge.clients.origins import DEFAULT_PORTS, Origin, is_public, joined, origin_of
from fhir_bridge.clients.patience import Patience, http_date, retry_after_seconds
from fhir_bridge.clients.verdict import refusal
from fhir_bridge.errors import (
    BridgeError,
    DeliveryUnknown,
    ForeignAddress,
    LoginRefused,
    ProviderBusy,
    ProviderRefused,
    ProviderUnreachable,
    Truncated,
)

MOST_REDIRECTS = 5
SECRET_BYTES = 64 * 1024
KEPT_OPEN = 64
_FORM = "application/x-www-form-urlencoded"
_REDIRECTS = {301, 302, 303, 307, 308}
_NOT_KEPT = {"authorization", "proxy-authorization", "cookie", "set-cookie", "set-cookie2"}

# Both libraries log addresses, and addresses hold patients' names.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Transport(httpx2.HTTPTransport):
    """The library's lowest layer on our own sockets: no proxy, cookie or login of its own."""

    def __init__(self, network: GuardedNetwork, verify: ssl.SSLContext) -> None:
        # How many there are is for the manners; as many are kept open as may be busy at once.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=verify, max_connections=None, max_keepalive_connections=KEPT_OPEN,
            keepalive_expiry=5.0, network_backend=network,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a token endpoint: in memory only, never kept. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Pool:
    """Connections to one provider, its servers' clocks, and manners towards its further ones."""

    network: GuardedNetwork
    transport: httpx2.HTTPTransport
    skew: dict[Origin, float] = field(default_factory=dict)
    beside: dict[Origin, Manners] = field(default_factory=dict)

    def send(
        self, ask: Ask, headers: Mapping[str, str], limits: Limits, deadline: Deadline
    ) -> httpx2.Response:
        """One request, to the end of the answer's headers."""
        timeout = {
            "connect": limits.connect_seconds, "pool": limits.connect_seconds,
            "read": limits.read_seconds, "write": limits.read_seconds,
        }  # fmt: skip
        with deadline.ruling(), _sending(ask):
            request = httpx2.Request(
                ask.method, ask.url, headers=dict(headers),
                content=ask.body if ask.method == "POST" else None,
                extensions={"timeout": timeout},
            )  # fmt: skip
            _expect_same_host(request.url, origin_of(ask.url))
            return self.transport.handle_request(request)


def _expect_same_host(url: httpx2.URL, origin: Origin) -> None:
    # Two parsers read the address: ours decides who gets the login, theirs where to connect.
    theirs = (url.scheme, url.raw_host.decode().strip("[]"), url.port or DEFAULT_PORTS[url.scheme])
    if theirs != (origin.scheme, origin.host, origin.port):
        raise ForeignAddress("an address is read in two ways")


@contextmanager
def _sending(ask: Ask) -> Iterator[None]:
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        raise ProviderUnreachable(f"no connection ({error})"[:200]) from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError):
        raise ForeignAddress("an address that cannot be asked") from None
    except httpx2.TransportError as error:
        # The bytes may have left: whether a create took effect is not known.
        kind = DeliveryUnknown if ask.changes else ProviderUnreachable
        raise kind(f"no answer ({type(error).__name__})") from None


def _body(response: httpx2.Response, place: Place) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()
    except httpx2.TimeoutException:
        place.lost()
        raise ProviderUnreachable("no whole answer in time") from None
    except httpx2.TransportError as error:
        raise Truncated(f"the body broke off ({type(error).__name__})") from None


def _headers(response: httpx2.Response) -> dict[str, str]:
    found = {name.lower(): value for name, value in response.headers.items()}
    return {name: value for name, value in found.items() if name not in _NOT_KEPT}


def _kind(ask: Ask, status: int, headers: Mapping[str, str]) -> Kind:
    # JSON in place of a file is the file in a Binary resource, which has to be parsed.
    as_json = ask.kind == "file" and "json" in headers.get("content-type", "").lower()
    return "page" if as_json or not 200 <= status < 300 else ask.kind


@dataclass(frozen=True, slots=True)
class Wire:
    """
    Every HTTP exchange with one provider's endpoint; made by `Wire.open`.

    `origin` is the endpoint's, trusted wherever it stands; `allowed` has it and further origins of
    the same provider. The login goes to `login_at` only, and never along a redirect to another
    origin. Other origins are asked only when the caller says so, without login, and never inside
    a private network. Every answer is durable, error answers too, before it is returned or raised.
    """

    source: str
    origin: Origin
    allowed: frozenset[Origin]
    login_at: frozenset[Origin]
    keep: Keep
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    pool: Pool
    manners: Manners
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    authoriser: Authoriser = field(default_factory=Anonymous)
    case_id: str | None = None

    @classmethod
    def open(
        cls,
        source: str,
        base: str,
        *,
        keep: Keep,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        allowed: Sequence[str] = (),
        limits: Limits | None = None,
        patience: Patience | None = None,
        verify: ssl.SSLContext | None = None,
        manners: Manners | None = None,
    ) -> Self:
        """
        A wire without login to the endpoint at `base`; ForeignAddress for an odd address. Without
        `manners` what the endpoint bears is learned anew, and forgotten at the end.
        """
        origins = frozenset({origin_of(base), *(origin_of(url) for url in allowed)})
        network = GuardedNetwork((o.host, o.port) for o in origins)
        pool = Pool(network, _Transport(network, verify or ssl.create_default_context()))
        return cls(
            source, origin_of(base), origins, origins, keep, now, new_id, pool,
            manners or Manners(source, now=now),
            limits=limits or Limits(), patience=patience or Patience(),
        )  # fmt: skip

    def with_login(self, authoriser: Authoriser, *, at: Sequence[str] | None = None) -> Self:
        """The same wire with a login; `at` narrows the origins that get it."""
        wanted = self.allowed if at is None else frozenset(origin_of(url) for url in at)
        return replace(self, authoriser=authoriser, login_at=self.allowed & wanted)

    def for_case(self, case_id: str) -> Self:
        """The same wire; what it keeps belongs to the case."""
        return replace(self, case_id=case_id)

    def close(self) -> None:
        """Close every connection, of the copies too, and remember what was learned."""
        self.pool.transport.close()
        self.manners.save()

    def skew_seconds(self, url: str) -> float:
        """How far a server's clock is ahead of ours, by its last Date header."""
        return self.pool.skew.get(origin_of(url), 0.0)

    def ask(self, ask: Ask) -> Answer:
        """
        One exchange, tried again as `Patience` says; a create is tried once.

        Raises ProviderUnreachable, ProviderBusy, ProviderFailed, ProviderRefused, LoginRefused,
        Truncated, TooLarge, ForeignAddress, and what `judge` raises; for a create also
        DeliveryRefused and DeliveryUnknown.
        """
        if ask.changes:
            return self._once(ask)
        return self.patience.run(lambda: self._once(ask))

    def _once(self, ask: Ask) -> Answer:
        answer = asked_for_json(ask, self._answer, self.manners)
        if ask.judge:
            ask.judge(answer)
        return answer

    def _answer(self, ask: Ask) -> Answer:
        flow, ask = self._reach(ask)
        answer = self._kept(flow, ask)
        self._raise_for(answer, ask)
        return answer

    @contextmanager
    def stream(self, ask: Ask) -> Iterator[Flow]:
        """
        An open answer of status 2xx whose body is not kept here: the caller keeps its parts.

        Reaching it is tried again, reading it is not. Error answers are kept and raised.
        """
        flow = self.patience.run(lambda: self._streaming(ask))
        try:
            yield flow
        finally:
            flow.close()

    def _streaming(self, ask: Ask) -> Flow:
        flow, ask = self._reach(ask)
        if not flow.good:
            self._raise_for(self._kept(flow, ask), ask)
        return flow

    def _raise_for(self, answer: Answer, ask: Ask) -> None:
        error = refusal(answer, changes=ask.changes, now=self.now())
        if isinstance(error, ProviderBusy):
            error.retry_after_seconds = self.manners.rest_seconds() or error.retry_after_seconds
        if isinstance(error, (LoginRefused, ProviderRefused)):
            self.manners.refused(error.code)
        if error:
            raise error

    def _reach(self, ask: Ask) -> tuple[Flow, Ask]:
        """Past redirects and an expired login, to the answer that counts."""
        login_at = self.login_at
        for _ in range(MOST_REDIRECTS + 1):
            flow, ask = self._logged_in(ask, login_at)
            target = flow.headers.get("location", "") if flow.status in _REDIRECTS else ""
            if ask.method != "GET" or not target:
                return flow, ask
            kept = self._kept(flow, ask)
            # A login never travels to another origin by way of a redirect, not even to one that
            # may have it: the redirecting server chose the way, and presigned links refuse it.
            login_at &= {origin_of(ask.url)}
            ask = replace(ask, url=joined(ask.url, target), previous=kept.original.id)
        raise ProviderRefused("too many redirects")

    def _logged_in(self, ask: Ask, login_at: frozenset[Origin]) -> tuple[Flow, Ask]:
        origin = self._permitted(ask)
        login = self.authoriser.header() if origin in login_at else ""
        flow = self._opened(ask, login)
        if flow.status != 401 or not login:
            return flow, ask
        refused = self._kept(flow, ask)
        ask = replace(ask, previous=ask.previous or refused.original.id)
        return self._opened(ask, self.authoriser.renewed(login)), ask

    def _permitted(self, ask: Ask) -> Origin:
        origin = origin_of(ask.url)
        if origin not in self.allowed and ask.foreign == "refuse":
            raise ForeignAddress("an address leads to another origin")
        return origin

    def _opened(self, ask: Ask, login: str) -> Flow:
        """To the end of the answer's headers, in a place that is held to the end of its body."""
        place = self._place(origin_of(ask.url))
        try:
            return self._sent(ask, login, place)
        except BaseException as error:
            if isinstance(error, (ProviderUnreachable, DeliveryUnknown)):
                place.lost()
            place.leave()
            raise

    def _place(self, origin: Origin) -> Place:
        """Each server of the provider has its own bearing; a stranger's is not ours to learn."""
        if origin not in self.allowed:
            return Place()
        manners = self.manners
        if origin != self.origin:
            beside = self.pool.beside
            fresh = Manners("", rules=self.manners.rules, now=self.now)
            manners = beside.setdefault(origin, fresh)
        return manners.enter(self.patience.busy_seconds)

    def _sent(self, ask: Ask, login: str, place: Place) -> Flow:
        rate = None if ask.kind == "page" else self.limits.bytes_per_second
        deadline = Deadline(self.limits.total_seconds, bytes_per_second=rate)
        headers = {"Accept": ask.accept, "Accept-Encoding": "identity", **ask.headers}
        if login:
            headers[self.authoriser.name] = login
        response = self.pool.send(ask, headers, self.limits, deadline)
        origin, answered = origin_of(ask.url), _headers(response)
        wait = retry_after_seconds(answered.get("retry-after", ""), self.now())
        place.answered(response.status_code, wait)
        self._learn_skew(origin, answered.get("date", ""))
        try:
            coding = decoder(answered.get("content-encoding", ""))
        except BridgeError:
            response.close()
            raise
        kind = _kind(ask, response.status_code, answered)
        return Flow(
            ask.url, response.status_code, answered, origin not in self.allowed, kind,
            _body(response, place), place.until(response.close, flows=kind == "stream"),
            coding, deadline, Cap(self.limits.max_bytes(kind)),
        )  # fmt: skip

    def _learn_skew(self, origin: Origin, date: str) -> None:
        moment = http_date(date)
        if moment is not None:
            self.pool.skew[origin] = (moment - self.now()).total_seconds()

    def _kept(self, flow: Flow, ask: Ask) -> Answer:
        held, broken = [], None
        with self.keep.writer(max_bytes=self.limits.max_bytes(flow.kind)) as writer:
            try:
                for piece in flow.chunks():
                    writer.write(piece)
                    if flow.kind == "page":
                        held.append(piece)
            except (Truncated, ProviderUnreachable) as error:
                broken = error
            finally:
                flow.close()
            blob = writer.commit()
        row = self.keep.keep(self._row(flow, ask, blob, truncated=broken is not None))
        # A create that was answered 201 has taken effect, whole body or not.
        if broken and flow.good and not ask.changes:
            raise broken
        return Answer(row, flow.url, b"".join(held) if flow.kind == "page" else None)

    def _row(self, flow: Flow, ask: Ask, blob: Blob, *, truncated: bool) -> Original:
        place = {"origin": str(origin_of(flow.url))} if flow.foreign else {}
        return Original(
            id=self.new_id(), source=self.source, how=How(ask.method),
            request=request_line(ask.method, flow.url, foreign=flow.foreign),
            sha256=blob.sha256, size=blob.size, received_at=self.now(), case_id=self.case_id,
            status=flow.status, content_type=flow.headers.get("content-type", ""),
            headers=flow.headers, previous=ask.previous or None, truncated=truncated,
            facts={"accept": ask.accept, **flow.facts(), **place, **ask.facts},
        )  # fmt: skip

    def put(self, body: bytes) -> Blob:
        """Make bytes durable that were taken out of an answer."""
        with self.keep.writer(max_bytes=max(len(body), 1)) as writer:
            writer.write(body)
            return writer.commit()

    def confide(self, url: str, form: Mapping[str, str] | bytes, *, login: str = "") -> Reply:
        """
        POST a form whose answer is a secret: one attempt, no redirect, at most 64 KiB, never kept.

        Bytes in place of a form are sent as JSON. `login` is the header for this request alone.
        A token endpoint inside a private network is reached only when the endpoint itself is.
        """
        origin = origin_of(url)
        if not all(is_public(a) for a in addresses(self.origin.host, self.origin.port)):
            self.pool.network.trust(origin.host, origin.port)
        as_json = isinstance(form, bytes)
        ask = Ask(
            url, "POST", accept="application/json",
            body=form if isinstance(form, bytes) else urlencode(form).encode(),
            headers={"Content-Type": "application/json" if as_json else _FORM},
        )  # fmt: skip
        flow = replace(self._opened(ask, login), cap=Cap(SECRET_BYTES))
        try:
            return Reply(flow.status, flow.headers, b"".join(flow.chunks()))
        finally:
            flow.close()
