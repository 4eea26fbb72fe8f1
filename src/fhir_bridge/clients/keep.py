"""What a client needs of the store: a place for bytes, and a row for each answer."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from fhir_bridge.case.original import Blob, Original


class BlobWriter(Protocol):
    """A body on its way in; leaving without `commit` leaves nothing behind."""

    def __enter__(self) -> Self:
        """Open it."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Drop what was not committed."""

    def write(self, chunk: bytes) -> None:
        """Append; raises TooLarge and StorageFull."""

    def commit(self) -> Blob:
        """Make the bytes durable and return their address."""


class Keep(Protocol):
    """The store as a client sees it. When `keep` returns, body and row survive a power cut."""

    def writer(self, *, max_bytes: int) -> BlobWriter:
        """A new body of at most `max_bytes`."""

    def keep(self, original: Original) -> Original:
        """The row of an answer whose body is committed; the id is the caller's."""
