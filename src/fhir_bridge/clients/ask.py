"""What is asked of the wire, within which limits, and with which login."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from fhir_bridge.case.original import Answer
from fhir_bridge.errors import LoginRefused, UsageError

Kind = Literal["page", "file", "stream"]
FHIR_JSON = "application/fhir+json"
MIB = 1024 * 1024
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_FIELD_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_TAKEN_NAMES = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "expect", "host"}
    | {"cookie", "if-none-exist", "prefer", "te", "transfer-encoding", "upgrade", "user-agent"}
)
_SECRET_PARAMETERS = frozenset(
    {"access_token", "client_secret", "password", "sig", "signature", "token"}
    | {f"x-amz-{name}" for name in ("credential", "security-token", "signature")}
    | {"x-goog-signature"}
)


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Seconds and bytes. `total_seconds` bounds a whole answer, header and body; a file or an image
    stream may take longer as long as `bytes_per_second` keep coming.
    """

    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    total_seconds: float = 60.0
    bytes_per_second: float = 32 * 1024.0
    page_bytes: int = 64 * MIB
    file_bytes: int = 512 * MIB
    stream_bytes: int = 64 * 1024 * MIB

    def max_bytes(self, kind: Kind) -> int:
        """The cap for one kind of body."""
        return {"page": self.page_bytes, "file": self.file_bytes, "stream": self.stream_bytes}[kind]


@dataclass(frozen=True, slots=True)
class Ask:
    """
    One request. `url` is absolute.

    A `page` is small and stays in memory as well, a `file` goes to the store only, of a `stream`
    the caller keeps the parts.
    `changes` marks a create: one attempt, and what is not known to have failed is unknown.
    `foreign` says whether another origin may be asked, without any login. `judge` raises when an
    answer of status 200 is not what it should be; then it is asked again.
    """

    url: str
    method: Literal["GET", "POST", "DELETE"] = "GET"
    accept: str = FHIR_JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    previous: str = ""
    kind: Kind = "page"
    changes: bool = False
    foreign: Literal["refuse", "anonymous"] = "refuse"
    judge: Callable[[Answer], None] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


class Authoriser(Protocol):
    """Where the login of one provider comes from: the name and the value of a header."""

    @property
    def name(self) -> str:
        """The header's name, `Authorization` but for static headers."""

    def header(self) -> str:
        """The value to send now; empty for none. Raises LoginRefused."""

    def renewed(self, refused: str) -> str:
        """Another value after a 401 on `refused`; raises LoginRefused when there is none."""


class Anonymous:
    """No login."""

    name = "Authorization"

    def header(self) -> str:
        """Nothing to send."""
        return ""

    def renewed(self, refused: str) -> str:
        """There is nothing to renew; unreachable in practice, because nothing was sent."""
        raise LoginRefused("no login is configured" + (", yet one was refused" if refused else ""))


class Basic:
    """HTTP basic authentication (RFC 7617)."""

    name = "Authorization"

    def __init__(self, user: str, password: str) -> None:
        self._header = basic(user, password)

    def header(self) -> str:
        """The same each time."""
        return self._header

    def renewed(self, refused: str) -> str:
        """There is no other password to try."""
        raise LoginRefused("the password was refused" if refused else "no password")


class StaticHeader:
    """
    One header that never changes, as API gateways want it (`X-Api-Key`).

    Raises UsageError for a name or a value that no HTTP header can have (RFC 9110 5.1, 5.5), and
    for a name that HTTP itself or the bridge uses.
    """

    def __init__(self, name: str, value: str) -> None:
        if not _FIELD_NAME.fullmatch(name) or name.lower() in _TAKEN_NAMES:
            raise UsageError("that is no name for a login header")
        if not value or not _FIELD_VALUE.fullmatch(value):
            raise UsageError("the value of the login header cannot be sent")
        self.name, self._value = name, value

    def header(self) -> str:
        """The same each time."""
        return self._value

    def renewed(self, refused: str) -> str:
        """There is no other value to try."""
        raise LoginRefused("the static header was refused" if refused else "no static header")


def basic(user: str, password: str) -> str:
    """The header value of HTTP basic authentication, UTF-8."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def request_line(method: str, url: str, *, foreign: bool = False) -> str:
    """
    Method, path and query, without host and secrets: the line of an original's row.

    The query of a foreign address is left out whole, because presigned links are secrets.

    >>> request_line("GET", "https://a.example/fhir/Patient?family=Doe&access_token=x")
    'GET /fhir/Patient?family=Doe&access_token=...'
    """
    parts = urlsplit(url)
    if not parts.query:
        return f"{method} {parts.path}"
    return f"{method} {parts.path}?{'...' if foreign else _without_secrets(parts.query)}"


def _without_secrets(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(name.lower() in _SECRET_PARAMETERS for name, _ in pairs):
        return query
    shown = [(n, "..." if n.lower() in _SECRET_PARAMETERS else v) for n, v in pairs]
    return urlencode(shown)
