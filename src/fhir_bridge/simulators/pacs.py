"""The PACS's DIMSE door, GENHOSP: C-ECHO, C-FIND, C-GET, C-MOVE, and C-STORE to the bridge."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from fhir_bridge.simulators.images import LEVELS, Archive, Instance
from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.seen import Requests

AE_TITLE = "GENHOSP"
PENDING, SUCCESS, CANCELLED, MISMATCH = 0xFF00, 0x0000, 0xFE00, 0xA900
_UNIQUE_KEYS = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
_CONTEXTS_AT_MOST = 128

# As stored: the bytes of the file go out, no decode and re-encode. The identifiers of queries
# name patients, so they are not logged.
_config.STORE_SEND_CHUNKED_DATASET = True
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False


@dataclass(frozen=True, slots=True)
class Node:
    """A DICOM application entity, written `AET@HOST:PORT`."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Node:
        """Read `AET@HOST:PORT`; raises ValueError."""
        ae_title, at, address = text.partition("@")
        host, colon, port = address.rpartition(":")
        if not (ae_title and at and host and colon):
            raise ValueError("not AET@HOST:PORT")
        return cls(ae_title, host, int(port))


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a push: instances acknowledged with success, and the others."""

    sent: int
    failed: int


class Pacs:
    """A Query/Retrieve SCP over the archive (PS3.4 Annex C, Study Root)."""

    def __init__(
        self, archive: Archive, bridge: Node | None, rules: Rules, requests: Requests
    ) -> None:
        self.archive, self.bridge = archive, bridge
        self._rules, self._requests = rules, requests
        self._ae = _quiet_ae()
        self._ae.require_called_aet = True
        self._offer()
        self._server: Any = None
        self.port = 0

    def _offer(self) -> None:
        offered = [
            Verification,
            StudyRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelMove,
        ]
        if self._rules.offers_get:
            offered.append(StudyRootQueryRetrieveInformationModelGet)
        for abstract in offered:
            self._ae.add_supported_context(abstract)
        for sop_class, syntaxes in _by_class(self.archive.listed).items():
            # PS3.7 D.3.3.4: for C-GET the requestor takes the SCP role of the storage classes.
            self._ae.add_supported_context(sop_class, syntaxes, scu_role=False, scp_role=True)

    def start(self, port: int) -> None:
        """Listen on loopback, port 0 for any. Raises OSError when it is taken."""
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, _no_delay),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_GET, self._get),
            (evt.EVT_C_MOVE, self._move),
        ]
        address = ("127.0.0.1", port)
        self._server = self._ae.start_server(address, block=False, evt_handlers=handlers)
        self.port = int(self._server.server_address[1])

    def stop(self) -> None:
        """Hang up and stop listening."""
        if self._server is not None:
            self._server.shutdown()

    def _echo(self, _event: evt.Event) -> int:
        self._requests.note("C-ECHO", "", SUCCESS)
        return SUCCESS

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        level = str(identifier.get("QueryRetrieveLevel", ""))
        status = SUCCESS if _well_asked(identifier, level, own=False) else MISMATCH
        self._requests.note("C-FIND", level, status)
        if status != SUCCESS:
            yield status, None
            return
        for row in self.archive.find(level, _keys(identifier)):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            yield PENDING, _response(identifier, row)

    def _get(self, event: evt.Event) -> Iterator[Any]:
        chosen = self._chosen(event.identifier)
        self._requests.note("C-GET", _level(event), SUCCESS if chosen is not None else MISMATCH)
        yield len(chosen or ())
        yield from self._sub_operations(event, chosen)

    def _move(self, event: evt.Event) -> Iterator[Any]:
        bridge, chosen = self.bridge, self._chosen(event.identifier)
        self._requests.note("C-MOVE", _level(event), SUCCESS if chosen is not None else MISMATCH)
        if bridge is None or event.move_destination != bridge.ae_title:
            yield None, None
            return
        yield bridge.host, bridge.port, {"contexts": _contexts(chosen or ())}
        yield len(chosen or ())
        yield from self._sub_operations(event, chosen)

    def _chosen(self, identifier: Dataset) -> Sequence[Instance] | None:
        """What a retrieve asks for; None when its keys do not fit its level."""
        level = str(identifier.get("QueryRetrieveLevel", ""))
        if not _well_asked(identifier, level, own=True):
            return None
        return self._rules.hand_out(self.archive.stored(_keys(identifier)))

    def _sub_operations(
        self, event: evt.Event, chosen: Sequence[Instance] | None
    ) -> Iterator[tuple[int, Dataset | None]]:
        if chosen is None:
            yield MISMATCH, None
            return
        for one in chosen:
            if event.is_cancelled:
                yield CANCELLED, None
                return
            time.sleep(self._rules.image_delay_seconds)
            yield PENDING, dcmread(one.path)

    def push(self, study: str | None = None) -> Pushed:
        """Send one pushable study, or all, to the bridge by C-STORE; blocks until answered."""
        chosen = [one for one in self.archive.pushable if study in (None, one.study)]
        if self.bridge is None or not chosen:
            return Pushed(0, len(chosen))
        association = _quiet_ae().associate(
            self.bridge.host,
            self.bridge.port,
            contexts=_contexts(chosen),
            ae_title=self.bridge.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _no_delay)],
        )
        if not association.is_established:
            return Pushed(0, len(chosen))
        sent = sum(self._store(association, one) for one in chosen)
        association.release()
        return Pushed(sent, len(chosen) - sent)

    def _store(self, association: Association, one: Instance) -> bool:
        try:
            answer = association.send_c_store(one.path)
        except (ValueError, RuntimeError):
            # No accepted presentation context, or the peer hung up: this one was not sent.
            return False
        # PS3.4 B.2.3: B000, B006 and B007 are warnings, the instance was stored.
        return answer.get("Status", -1) in (SUCCESS, 0xB000, 0xB006, 0xB007)


def _quiet_ae() -> AE:
    entity = AE(ae_title=AE_TITLE)
    entity.acse_timeout = entity.dimse_timeout = 30
    entity.network_timeout = 60
    return entity


def _no_delay(event: evt.Event) -> None:
    """Small PDUs go out at once; without this each one waits for the peer's delayed ACK."""
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _by_class(instances: Sequence[Instance]) -> dict[str, list[str]]:
    """SOP class -> the transfer syntaxes in which its instances are stored."""
    classes: dict[str, list[str]] = {}
    for one in instances:
        syntaxes = classes.setdefault(one.sop_class, [])
        if one.syntax not in syntaxes:
            syntaxes.append(one.syntax)
    return classes


def _contexts(instances: Sequence[Instance]) -> list[PresentationContext]:
    """One presentation context a pair of class and syntax, so that each is answered by itself."""
    pairs = [(c, s) for c, syntaxes in _by_class(instances).items() for s in syntaxes]
    return [build_context(c, s) for c, s in pairs][:_CONTEXTS_AT_MOST]


def _well_asked(identifier: Dataset, level: str, *, own: bool) -> bool:
    """PS3.4 C.4.1.2.1, C.4.2.1.4.2: unique keys above the level; a retrieve has its own too."""
    if level not in LEVELS:
        return False
    above = LEVELS[: LEVELS.index(level) + own]
    return all(identifier.get(_UNIQUE_KEYS[one]) for one in above)


def _level(event: evt.Event) -> str:
    return str(event.identifier.get("QueryRetrieveLevel", ""))


def _keys(identifier: Dataset) -> dict[str, str]:
    """The matching keys of an identifier: those with a value; sequences are universal."""
    unmatched = ("QueryRetrieveLevel", "SpecificCharacterSet", "RetrieveAETitle")
    found: dict[str, str] = {}
    for element in identifier:
        if element.keyword and element.VR != "SQ" and element.keyword not in unmatched:
            value = element.value
            many = isinstance(value, Sequence) and not isinstance(value, str)
            found[element.keyword] = "\\".join(value) if many else str(value or "")
    return found


def _response(identifier: Dataset, row: Dataset) -> Dataset:
    """The keys that were asked for, with what the row has, else empty (PS3.4 C.4.1.3.2)."""
    answer = Dataset()
    for element in identifier:
        if element.tag in row:
            answer.add(row[element.tag])
        elif element.VR != "SQ":
            answer.add(DataElement(element.tag, element.VR, None))
    answer.QueryRetrieveLevel = identifier.QueryRetrieveLevel
    answer.RetrieveAETitle = AE_TITLE
    answer.SpecificCharacterSet = "ISO_IR 192"
    return answer
