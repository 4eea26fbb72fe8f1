"""A slice of a pull: one source, one type, one question, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from fhir_bridge.case.certificate import Evidence
from fhir_bridge.case.ledger import LedgerRow
from fhir_bridge.case.record import HeldAttachment

IMAGES = "DICOM images"
REFERRED = "referred records"


@dataclass(frozen=True, slots=True)
class Slice:
    """
    A resumable piece of a pull.

    `question` is the search as parameter pairs, `cursor` the next page's address (empty before
    the first page), `previous` the original of the page that named it, `visited` the marks of what
    was turned already (pages, or studies), in order. `ended` slices have their verdict in
    `evidence`; a verdict has no default.
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


@dataclass(frozen=True, slots=True)
class Page:
    """
    What one turn of a page brought, committed in one transaction: the slice as it stands after it,
    the records seen with the server base of each, the ids among them that answer the slice's
    question, the attachments that they name, and the records that they refer to as (type, id).
    """

    slice: Slice
    seen: tuple[LedgerRow, ...] = ()
    bases: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()
    attachments: tuple[HeldAttachment, ...] = ()
    targets: frozenset[tuple[str, str]] = frozenset()
