"""What a pull asks of the world: the provider's EHR and archives, and our own memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fhir_bridge.case.case import Case, Pin
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.imaging import Arrival, Instance, InstanceClaim, StudyClaim
from fhir_bridge.case.ledger import LedgerRow, RecordKey
from fhir_bridge.case.original import Answer, Blob
from fhir_bridge.case.record import HeldAttachment, Sighted
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import BridgeError, ProviderBusy, StoreError
from fhir_bridge.standards.fhir import bundle, json

TYPES = ("DocumentReference", "DiagnosticReport", "ImagingStudy")


class Offers(Protocol):
    """What a provider's CapabilityStatement declares; necessary, never sufficient."""

    @property
    def interactions(self) -> Mapping[str, frozenset[str]]:
        """By type, what may be done with it; empty when the statement names no types."""

    @property
    def operations(self) -> Mapping[str, frozenset[str]]:
        """By type, the operations that are declared, without the dollar sign."""

    @property
    def search_params(self) -> Mapping[str, frozenset[str]]:
        """By type, the search parameters that are declared."""

    @property
    def fhir_version(self) -> str:
        """As the server writes it: `4.0.1`."""

    @property
    def software(self) -> str:
        """The name of the server's software, or empty."""

    @property
    def publisher(self) -> str:
        """Who publishes the statement, or empty."""

    @property
    def url(self) -> str:
        """The base that the statement itself names, or empty."""


class Ehr(Protocol):
    """A provider's FHIR endpoint. Every answer is durable before it is returned."""

    @property
    def base(self) -> str:
        """The server base without a trailing slash."""

    def capability(self) -> Offers:
        """What /metadata declares."""

    def search(
        self, type_: str, params: Sequence[tuple[str, str]], *, post: bool = False
    ) -> Answer:
        """The first page of a search."""

    def follow(self, url: str, *, previous: str) -> Answer:
        """The page behind a `next` link."""

    def read(self, reference: str, *, previous: str = "") -> Answer:
        """One resource by `Type/id`."""

    def fetch(self, url: str, *, content_type: str) -> Answer:
        """An attachment, streamed to the store."""


class Archive(Protocol):
    """One way to a provider's images."""

    @property
    def witness(self) -> str:
        """The name of its instance list: `QIDO instances`, `C-FIND IMAGE`."""

    def list_studies(self, patient_id: str) -> Sequence[StudyClaim]:
        """The studies of a patient id."""

    def list_instances(self, study_uid: str) -> Sequence[InstanceClaim]:
        """The instances of a study."""

    def retrieve(
        self,
        study_uid: str,
        only: Collection[InstanceClaim],
        deliver: Callable[[Arrival], object],
    ) -> object:
        """Fetch a study, or only some of its instances (empty means all)."""


class Slices(Protocol):
    """How far a pull is; each change is one transaction."""

    def begin(self, slices: Sequence[Slice], targets: Collection[tuple[str, str]] = ()) -> None:
        """Commit slices that begin, and what they refer to."""

    def turn(self, page: Page, *events: Event) -> None:
        """Commit a page."""

    def slice(self, case_id: str, source: str, type_: str) -> Slice | None:
        """A slice that was begun."""

    def slices(self, case_id: str, source: str | None = None) -> Sequence[Slice]:
        """The slices of a source, or of every source of a case."""

    def unlisted(self, slice_: Slice, ids: Collection[str]) -> frozenset[str]:
        """Those of these ids that no page of this slice and run has listed yet."""


class Sightings(Protocol):
    """What a pull has seen, and what that refers to."""

    def earlier(self, slice_: Slice) -> frozenset[str]:
        """The ids of earlier runs that this run has not listed, without what is known as gone."""

    def see(
        self,
        case_id: str,
        row: LedgerRow,
        *events: Event,
        base: str = "",
        attachments: Sequence[HeldAttachment] = (),
        targets: Collection[tuple[str, str]] = (),
    ) -> None:
        """Note one record outside of a page, with what it names and refers to."""

    def unread(
        self, case_id: str, source: str, *, limit: int | None = None
    ) -> Sequence[tuple[str, str]]:
        """(type, id) of what is referred to and was never asked for: all of it, or so many."""


class Shelf(Slices, Sightings, Protocol):
    """Where a pull notes what it has seen and how far it is."""


class Files(Protocol):
    """What was received, and the attachments that it names."""

    def sighted(self, case_id: str, only: Collection[RecordKey] | None = None) -> Sequence[Sighted]:
        """The resources received, or just these, from their original bytes."""

    def unsettled(
        self, case_id: str, source: str, *, keys: int | None = None
    ) -> Sequence[HeldAttachment]:
        """Named, and neither held nor failed yet: all of them, or those of that many keys."""

    def settle(self, case_id: str, attachment: HeldAttachment, *events: Event) -> None:
        """What became of one."""

    def keys(self, case_id: str, source: str, kind: str) -> Sequence[RecordKey]:
        """The records of one kind that were received."""

    def reads(self, case_id: str, source: str) -> int:
        """How many records were asked for one by one."""


class Bodies(Protocol):
    """The store of bodies."""

    def read(self, sha256: str) -> bytes:
        """A whole body."""

    def head(self, sha256: str, size: int) -> bytes:
        """The first bytes of a body."""

    def pieces(self, sha256: str) -> Iterator[bytes]:
        """A body bit by bit."""

    def put(self, body: bytes) -> Blob:
        """Store a small body."""


class Claims(Protocol):
    """What witnesses say about images, and what we hold of them."""

    def claim(
        self, case_id: str, source: str, witness: str, claims: Iterable[InstanceClaim]
    ) -> None:
        """Note a list."""

    def claims(self, case_id: str, source: str) -> Mapping[str, Sequence[InstanceClaim]]:
        """The lists by witness."""


class Pins(Protocol):
    """Who the patient is at each source."""

    def pins(self, case_id: str) -> Sequence[Pin]:
        """The decisions of a case."""

    def pin(self, pin: Pin, *events: Event) -> None:
        """Write one."""


@dataclass(frozen=True, slots=True)
class Source:
    """
    One treating provider within one case: everything a pull step needs.

    `vendor` names the rules of `mappings/providers`, as far as the operator said it, and `lies` the
    types whose totals were seen to lie in an earlier pull. `deliver` takes an arriving instance to
    the receiver and returns when it is durable; `held` tells the SOP Instance UIDs of this case and
    source that we have, `halted` whether a person has paused or ended the pull. An `impatient` pull
    has waited often enough: a hospital that is still busy then does not answer.
    """

    id: str
    name: str
    case: Case
    ehr: Ehr | None
    archives: tuple[Archive, ...]
    shelf: Shelf
    files: Files
    bodies: Bodies
    claims: Claims
    pins: Pins
    deliver: Callable[[Arrival], Instance]
    held: Callable[[], frozenset[str]]
    now: Callable[[], datetime]
    halted: Callable[[], bool] = bool
    vendor: str = ""
    lies: frozenset[str] = frozenset()
    impatient: bool = False

    def waits_out(self, error: BridgeError) -> bool:
        """Whether an error is no verdict: a fault of our own, or a hospital that has us wait."""
        busy = isinstance(error, ProviderBusy) and not self.impatient
        return busy or isinstance(error, StoreError)

    def pin(self) -> Pin:
        """Who the patient is here, as far as it is settled."""
        found = (pin for pin in self.pins.pins(self.case.id) if pin.source == self.id)
        return next(found, Pin(self.case.id, self.id))

    def event(self, name: Happened, **facts: str | int) -> Event:
        """An event of this source, now."""
        return Event(name, self.case.id, "bridge", self.now(), {"source": self.id, **facts})


def searchset(answer: Answer, ehr: Ehr) -> bundle.Page:
    """An answer to a search, read; raises NotFhir, Unreadable or Hostile."""
    return bundle.read_searchset(json.load_object(answer.body or b""), ehr.base)
