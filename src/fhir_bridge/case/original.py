"""An Original: bytes exactly as they arrived, and the circumstances of their arrival (TRUTH 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class How(StrEnum):
    """The way an original came in."""

    GET = "GET"
    POST = "POST"
    DELETE = "DELETE"
    C_STORE = "C-STORE"
    STOW = "STOW"
    IMPORT = "import"
    PAPER = "paper"


@dataclass(frozen=True, slots=True)
class Blob:
    """A distinct body in the store: lower-case hex SHA-256 and length in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Original:
    """
    One answer or arrival. The body is in the store under `sha256`, never edited.

    `request` is the request line without secrets, `headers` the answer's headers without
    credentials and cookies, `facts` what else is known of the sender or the negotiation
    (`transfer_syntax`, `calling_aet`, `address`, `accept`). A truncated body has `truncated`.
    """

    id: str
    source: str
    how: How
    request: str
    sha256: str
    size: int
    received_at: datetime
    case_id: str | None = None
    status: int | None = None
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    previous: str | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What came back from a request, already durable: the original's row and where it came from.

    `url` is the address that answered (never logged). `body` holds the bytes of a small answer
    (JSON pages and resources); a streamed attachment has None and is read from the store.
    """

    original: Original
    url: str
    body: bytes | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.original.status or 0

    def header(self, name: str) -> str:
        """A header of the answer, case-insensitively; empty when it is absent."""
        wanted = name.lower()
        return next((v for k, v in self.original.headers.items() if k.lower() == wanted), "")
