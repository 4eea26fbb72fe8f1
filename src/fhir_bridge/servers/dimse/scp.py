"""The Storage SCP: C-ECHO and C-STORE, answered with success only for what is durable."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE, SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import ThreadedAssociationServer

from fhir_bridge.case.ids import slug
from fhir_bridge.case.imaging import Arrival, Instance
from fhir_bridge.case.original import How
from fhir_bridge.errors import BridgeError, PortTaken
from fhir_bridge.servers.dimse.guard import MAX_PDU, GuardedRequest, GuardedServer, GuardedSocket
from fhir_bridge.servers.dimse.negotiation import Offer, choose, stored_classes
from fhir_bridge.standards.dicom import words
from fhir_bridge.standards.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

log = structlog.get_logger(__name__)

_STORAGE_SERVICE = "1.2.840.10008.4.2"
_CHUNK = 1024 * 1024
_POLL_SECONDS = 0.2
_SUCCESS, _NOT_SUPPORTED, _NO_RESOURCES = 0x0000, 0x0122, 0xA700

# pynetdicom's own handlers and identifier logs write what patients are called.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


class Receives(Protocol):
    """Who takes the images in: returns only after the instance is durable."""

    def accept(self, arrival: Arrival) -> Instance:
        """Store it, or raise a BridgeError that says what to answer."""
        ...


@dataclass(frozen=True, slots=True)
class ScpSettings:
    """
    How we listen. `senders` are the calling AE titles that may push, None for anyone. Port 0 takes
    a free one. `idle_seconds` cuts a silent association, `pdu_seconds` a PDU that drips.
    """

    host: str = "127.0.0.1"
    port: int = 11112
    aet: str = "FHIRBRIDGE"
    senders: frozenset[str] | None = None
    max_associations: int = 50
    idle_seconds: float = 60.0
    connect_seconds: float = 10.0
    pdu_seconds: float = 10.0
    max_instance_bytes: int = 4 * 1024**3 - 1


class StorageScp:
    """
    Our application entity on the network.

    `source_of` gives the source's id for a calling AE title. `start` returns when the port is
    open; `stop` lets instances in flight be answered, then closes every association.
    """

    def __init__(
        self,
        receiver: Receives,
        settings: ScpSettings,
        *,
        source_of: Callable[[str], str] = slug,
    ) -> None:
        self._receiver, self._settings, self._source_of = receiver, settings, source_of
        self._server: ThreadedAssociationServer | None = None
        self._busy, self._draining = 0, False
        self._calm = threading.Condition()

    @property
    def port(self) -> int:
        """The port that we listen on; the configured one before the start."""
        if self._server is None:
            return self._settings.port
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen; raises PortTaken when another program has the port."""
        settings = self._settings
        entity = AE(ae_title=settings.aet)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION
        entity.maximum_pdu_size = MAX_PDU
        entity.maximum_associations = settings.max_associations
        entity.acse_timeout = settings.connect_seconds
        entity.dimse_timeout = entity.network_timeout = settings.idle_seconds
        entity.require_called_aet = True
        entity.require_calling_aet = sorted(settings.senders or ())
        entity.add_supported_context(words.VERIFICATION)
        try:
            server = entity.make_server(
                (settings.host, settings.port),
                evt_handlers=self._handlers(),
                server_class=GuardedServer,
                request_handler=GuardedRequest,
            )
        except OSError:
            raise PortTaken(
                f"DICOM port {settings.port} is taken: set FHIR_BRIDGE_DIMSE_PORT"
            ) from None
        entity._servers.append(server)  # noqa: SLF001 (its shutdown takes it out again)
        name = "dimse-listener"
        threading.Thread(
            target=server.serve_forever, args=(_POLL_SECONDS,), name=name, daemon=True
        ).start()
        self._server, self._draining = server, False
        log.info("dicom receiver listens", aet=settings.aet, port=self.port)

    def stop(self, *, drain_seconds: float = 5.0) -> None:
        """Take no more, wait for what is in flight, then end every association."""
        server, self._server = self._server, None
        if server is None:
            return
        with self._calm:
            self._draining = True
            self._calm.wait_for(lambda: self._busy == 0, drain_seconds)
        time.sleep(0.05)  # the last answer leaves after its handler returned
        associations = server.active_associations
        server.shutdown()
        for association in associations:
            association.abort()
        log.info("dicom receiver stopped", associations=len(associations))

    def _handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_SOP_COMMON, _on_common),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_C_ECHO, _on_echo),
            (evt.EVT_C_STORE, self._on_store),
        ]

    def _on_connection(self, event: Event) -> None:
        guarded = event.assoc.dul.socket
        if isinstance(guarded, GuardedSocket):
            guarded.pdu_seconds = self._settings.pdu_seconds
            guarded.max_instance_bytes = self._settings.max_instance_bytes

    def _on_request(self, event: Event) -> None:
        # pynetdicom lets the acceptor's order of syntaxes win. Narrowing each proposal to the one
        # that we choose leaves it nothing to choose: the sender's own preference is kept.
        proposed = _asked(event).presentation_context_definition_list
        offers = [_offer(context) for context in proposed]
        for context, offer in zip(proposed, offers, strict=True):
            chosen = choose(offer)
            if chosen is not None:
                context.transfer_syntax = [chosen]
        supported = {o.sop_class: [s] for o in offers if (s := choose(o))}
        for offer in offers:
            if (chosen := choose(offer)) and chosen not in supported[offer.sop_class]:
                supported[offer.sop_class].append(chosen)
        contexts = [build_context(uid, syntaxes) for uid, syntaxes in supported.items()]
        event.assoc.acceptor.supported_contexts = contexts

    def _on_rejected(self, event: Event) -> None:
        asked = _asked(event)
        log.warning(
            "association rejected: to let this sender in, add its calling AE title to "
            "FHIR_BRIDGE_DIMSE_SENDERS and have it call our AE title",
            calling_aet=str(asked.calling_ae_title),
            called_aet=str(asked.called_ae_title),
            our_aet=self._settings.aet,
            address=str(event.assoc.requestor.address),
        )

    def _on_store(self, event: Event) -> int:
        guarded = event.assoc.dul.socket
        if isinstance(guarded, GuardedSocket):
            guarded.taken = 0
        with self._calm:
            if self._draining:
                return _NO_RESOURCES
            self._busy += 1
        try:
            return self._store(event)
        finally:
            with self._calm:
                self._busy -= 1
                self._calm.notify_all()

    def _store(self, event: Event) -> int:
        request = event.request
        assert isinstance(request, C_STORE)
        if not words.is_stored(str(request.AffectedSOPClassUID)):
            return _NOT_SUPPORTED
        source = self._source_of(str(event.assoc.requestor.ae_title))
        try:
            with _dataset(request) as dataset:
                self._receiver.accept(self._arrival(event, request, source, dataset))
        except BridgeError as error:
            code = words.failure_code(error)
            log.warning("image not accepted", source=source, code=error.code, status=f"{code:04X}")
            return code
        except Exception as error:  # noqa: BLE001 (pynetdicom would answer C211: never retried)
            log.error("image not accepted", source=source, error=type(error).__name__)  # noqa: TRY400 (a traceback may quote the image)
            return _NO_RESOURCES
        return _SUCCESS

    def _arrival(self, event: Event, request: C_STORE, source: str, dataset: memoryview) -> Arrival:
        asked = _asked(event)
        originator = str(getattr(request, "MoveOriginatorApplicationEntityTitle", None) or "")
        facts = {
            "calling_aet": str(asked.calling_ae_title),
            "called_aet": str(asked.called_ae_title),
            "address": str(event.assoc.requestor.address),
        }
        sop_uid = str(request.AffectedSOPInstanceUID)
        return Arrival(
            source=source,
            how=How.C_STORE,
            chunks=_chunks(dataset),
            part10=False,
            transfer_syntax=str(event.context.transfer_syntax),
            sop_class=str(request.AffectedSOPClassUID),
            sop_uid=sop_uid,
            request=f"C-STORE {sop_uid}",
            # A C-MOVE that we asked for arrives as a C-STORE with our title as its originator.
            pushed=originator.strip() != self._settings.aet,
            facts=facts | ({"move_originator": originator} if originator else {}),
        )


@contextlib.contextmanager
def _dataset(request: C_STORE) -> Iterator[memoryview]:
    """The data set as it lies in pynetdicom's buffer: no decoding, no copy."""
    if request.DataSet is None:
        yield memoryview(b"")
        return
    view = request.DataSet.getbuffer()
    try:
        yield view
    finally:
        view.release()


def _chunks(view: memoryview) -> Iterator[bytes]:
    for start in range(0, len(view), _CHUNK):
        yield bytes(view[start : start + _CHUNK])


def _offer(context: PresentationContext) -> Offer:
    syntaxes = tuple(str(syntax) for syntax in context.transfer_syntax)
    return Offer(context.context_id or 0, str(context.abstract_syntax), syntaxes)


def _asked(event: Event) -> A_ASSOCIATE:
    asked = event.assoc.requestor.primitive
    assert isinstance(asked, A_ASSOCIATE)
    return asked


def _on_echo(_event: Event) -> int:
    return _SUCCESS


def _on_common(event: Event) -> dict[str, SOPClassCommonExtendedNegotiation]:
    """Private and new SOP classes are served like every other storage class (PS3.7 D.3.3.6)."""
    asked = _asked(event).presentation_context_definition_list
    found: dict[str, SOPClassCommonExtendedNegotiation] = {}
    for uid in stored_classes(_offer(context) for context in asked):
        item = SOPClassCommonExtendedNegotiation()
        item.sop_class_uid, item.service_class_uid = uid, _STORAGE_SERVICE
        found[uid] = item
    return found
