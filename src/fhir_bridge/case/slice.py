"""A slice of a pull: one source, one type, one question, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from fhir_bridge.case.certificate import Evidence
from fhir_bridge.case.ledger import LedgerRow
from fhir_bridge.case.record import HeldAttachment

IMAGES = "DICOM images"
REFERRED = "referred records"


@dataclass(frozen=True, slots=True)
class Slice:
    """
    A resumable piece of a pull.

    `type` names it as FHIR writes a search (`DocumentReference`, `Observation?category=survey`,
    `DocumentReference/$docref`), and `kind` is the resource type that it brings. `question` is the
    search as parameter pairs, `cursor` the next page's address (empty before the first page),
    `previous` the original of the page that named it, `visited` the marks of what was turned
    already (pages, or studies), in order. `ended` slices have their verdict in `evidence`; a
    verdict has no default. `restarts` counts how often an expired chain began anew.

    `began` is when this run first asked, `full_at` when the whole list was last begun. `since`
    names the parameter of `question` that leaves out what did not change (`_lastUpdated`), if any.
    """

    case_id: str
    source: str
    type: str
    run: int = 1
    question: tuple[tuple[str, str], ...] = ()
    cursor: str = ""
    pages: int = 0
    ended: bool = False
    evidence: Evidence = field(default_factory=Evidence)
    visited: tuple[str, ...] = ()
    previous: str = ""
    restarts: int = 0
    began: datetime | None = None
    full_at: datetime | None = None
    since: str = ""

    @property
    def whole(self) -> tuple[tuple[str, str], ...]:
        """The question for the whole list, also where only what changed was asked for."""
        return tuple(pair for pair in self.question if pair[0] != self.since)

    @property
    def kind(self) -> str:
        """The resource type of the records that answer the question."""
        return kind_of(self.type)


def kind_of(type_: str) -> str:
    """
    The resource type of a slice's name.

    >>> kind_of("Observation?category=laboratory"), kind_of("DocumentReference/$docref")
    ('Observation', 'DocumentReference')
    """
    return type_.partition("?")[0].partition("/")[0]


@dataclass(frozen=True, slots=True)
class Page:
    """
    What one turn of a page brought, committed in one transaction: the slice as it stands after it,
    the records seen with the server base of each, the ids among them that answer the slice's
    question, the attachments that they name, the records that they refer to as (type, id), and the
    ids of earlier runs that are gone at the source.
    """

    slice: Slice
    seen: tuple[LedgerRow, ...] = ()
    bases: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()
    attachments: tuple[HeldAttachment, ...] = ()
    targets: frozenset[tuple[str, str]] = frozenset()
    gone: frozenset[str] = frozenset()
