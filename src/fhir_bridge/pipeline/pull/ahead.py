"""One page ahead: while a page is taken apart and committed, the next one is on its way."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future

from fhir_bridge.case.original import Answer
from fhir_bridge.pipeline.pull.source import Ehr, Offers


class Ahead:
    """
    An EHR for one page chain. `expect` asks for a page early, at most one; `follow` hands it over.

    What goes wrong on the way is raised where the page is asked for. A page that was asked for and
    never taken up (the worker died) is an original without a reader, and is asked for again.
    """

    def __init__(self, ehr: Ehr, pool: Executor) -> None:
        self._ehr, self._pool = ehr, pool
        self._coming: tuple[str, str, Future[Answer]] | None = None

    @property
    def base(self) -> str:
        """The server base without a trailing slash."""
        return self._ehr.base

    @property
    def coming(self) -> bool:
        """Whether a page was asked for and not yet taken up."""
        return self._coming is not None

    def expect(self, url: str, previous: str) -> None:
        """The next page will be this one."""
        future = self._pool.submit(self._ehr.follow, url, previous=previous)
        self._coming = (url, previous, future)

    def follow(self, url: str, *, previous: str) -> Answer:
        """The page behind a `next` link, which may be on its way already."""
        coming, self._coming = self._coming, None
        if coming is not None and coming[:2] == (url, previous):
            return coming[2].result()
        return self._ehr.follow(url, previous=previous)

    def capability(self) -> Offers:
        """What /metadata declares."""
        return self._ehr.capability()

    def search(
        self, type_: str, params: Sequence[tuple[str, str]], *, post: bool = False
    ) -> Answer:
        """The first page of a search."""
        return self._ehr.search(type_, params, post=post)

    def read(self, reference: str, *, previous: str = "") -> Answer:
        """One resource by `Type/id`."""
        return self._ehr.read(reference, previous=previous)

    def fetch(self, url: str, *, content_type: str) -> Answer:
        """An attachment, streamed to the store."""
        return self._ehr.fetch(url, content_type=content_type)
