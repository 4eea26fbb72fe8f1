"""A PACS by DIMSE: C-ECHO, what it lists (C-FIND), and its studies (C-GET, C-MOVE to ourselves)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, cast

import pydicom.config
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from fhir_bridge.case.case import DimseNode
from fhir_bridge.case.imaging import Arrival, InstanceClaim, StudyClaim
from fhir_bridge.case.original import How
from fhir_bridge.clients import dimse_rows as rows
from fhir_bridge.clients.dimse_rows import MoveReport
from fhir_bridge.errors import AssociationRejected, DicomError, ProviderUnreachable, StoreError
from fhir_bridge.standards.dicom import words

# Identifiers are patients' names, and pydicom's warnings quote the values that they are about.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

FIND = StudyRootQueryRetrieveInformationModelFind
GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove
# PS3.8 9.3.2: context ids are the odd numbers to 255, so 128; one is the query model's.
MOST_CONTEXTS = 120
MAX_PDU = 131_072
PIECE = 1024 * 1024
_PENDING = {0xFF00, 0xFF01}

Deliver = Callable[[Arrival], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. A retrieve may be silent for long, because archives fetch from tape."""

    connect: float = 10.0
    acse: float = 10.0
    dimse: float = 60.0
    retrieve: float = 600.0


@dataclass(frozen=True, slots=True)
class DimseClient:
    """
    One PACS node, as seen by us as SCU. `our_aet` is our AE title, and the only destination.

    Every method may raise ProviderUnreachable (no connection), AssociationRejected (refused,
    lost, silent) and DicomError (a status that is a failure).
    """

    node: DimseNode
    our_aet: str
    our_port: int
    source: str = ""
    case_id: str | None = None
    patience: Patience = field(default_factory=Patience)

    def for_case(self, case_id: str) -> DimseClient:
        """The same client; what it gets belongs to the case."""
        return replace(self, case_id=case_id)

    def echo(self) -> str:
        """C-ECHO (PS3.4 A): the peer's implementation version name, which may be empty."""
        with self._association([build_context(Verification)]) as association:
            _expect(association.send_c_echo(), "C-ECHO")
            return str(association.acceptor.implementation_version_name or "")

    def list_studies(self, patient_id: str) -> tuple[StudyClaim, ...]:
        """The studies of a patient. Rows that name another patient are not believed."""
        found = self._studies(PatientID=patient_id)
        ours = [row for row in found if rows.text(row, "PatientID") in {"", patient_id}]
        return tuple(map(rows.study, ours))

    def find_study(self, study_uid: str = "", *, accession: str = "") -> tuple[StudyClaim, ...]:
        """Studies by Study Instance UID or by accession number."""
        key = {"StudyInstanceUID": study_uid} if study_uid else {"AccessionNumber": accession}
        ((name, value),) = key.items()
        return tuple(
            rows.study(row) for row in self._studies(**key) if rows.text(row, name) == value
        )

    def _studies(self, **key: str) -> list[Dataset]:
        with self._association([build_context(FIND)]) as association:
            return _find(association, "STUDY", key)

    def list_instances(self, study_uid: str) -> tuple[InstanceClaim, ...]:
        """
        Every instance that the PACS lists: C-FIND at SERIES, then at IMAGE for each series.

        PS3.4 C.4.1.2: without relational queries a level needs the unique keys of those above.
        """
        with self._association([build_context(FIND)]) as association:
            series = _find(association, "SERIES", {"StudyInstanceUID": study_uid})
            claims = [
                InstanceClaim(
                    study_uid, uid, rows.text(row, "SOPInstanceUID"), rows.text(row, "SOPClassUID")
                )
                for uid in dict.fromkeys(rows.text(row, "SeriesInstanceUID") for row in series)
                for row in _find(
                    association, "IMAGE", {"StudyInstanceUID": study_uid, "SeriesInstanceUID": uid}
                )
            ]
        return tuple(dict.fromkeys(claims))

    def get(self, study_uid: str, only: Collection[InstanceClaim], deliver: Deliver) -> MoveReport:
        """
        C-GET a whole study when `only` is empty, else just those instances.

        Exactly the SOP classes that the PACS lists are negotiated: some archives stop at the first
        that is not. An instance is answered 0000 when `deliver` has returned; what it raised is
        raised at the end.
        """
        claims = tuple(only) or self.list_instances(study_uid)
        classes = sorted({claim.sop_class for claim in claims} - {""}) or _any_class()
        batches = list(_batches(classes))
        whole = not only and len(batches) == 1
        taking, report = _Taking(self, deliver, f"C-GET {study_uid}"), MoveReport("0000")
        for batch in batches:
            wanted = () if whole else [c for c in claims if c.sop_class in {"", *batch}]
            identifiers = rows.identifiers(study_uid, wanted)
            report = report.plus(self._get(batch, identifiers, taking))
        taking.raise_first()
        return report

    def _get(
        self, classes: Sequence[str], identifiers: Sequence[Dataset], taking: _Taking
    ) -> MoveReport:
        contexts = [build_context(GET), *_storage_contexts(classes)]
        roles = [build_role(uid, scp_role=True) for uid in classes]
        with self._association(
            contexts, roles, (evt.EVT_C_STORE, taking.take), self.patience.retrieve
        ) as association:
            report = MoveReport("0000")
            for identifier in identifiers:
                answers = association.send_c_get(identifier, GET)
                report = report.plus(rows.report(answers, "C-GET"))
        return report

    def move(self, study_uid: str, only: Collection[InstanceClaim]) -> MoveReport:
        """
        C-MOVE to our own AE title, a whole study when `only` is empty.

        The images come by their own association to our receiver, perhaps after the last answer
        here: who calls this compares what arrived with what is listed.
        """
        contexts = [build_context(MOVE)]
        with self._association(contexts, silence=self.patience.retrieve) as association:
            report = MoveReport("0000")
            for identifier in rows.identifiers(study_uid, only):
                answers = association.send_c_move(identifier, self.our_aet, MOVE)
                report = report.plus(rows.report(answers, "C-MOVE"))
        return report

    @contextmanager
    def _association(
        self,
        contexts: list[PresentationContext],
        roles: Sequence[Any] = (),
        taking: tuple[evt.EventType, Callable[[evt.Event], int]] | None = None,
        silence: float | None = None,
    ) -> Iterator[Association]:
        silence = silence or self.patience.dimse
        entity = AE(ae_title=self.our_aet)
        entity.acse_timeout, entity.connection_timeout = self.patience.acse, self.patience.connect
        entity.dimse_timeout = entity.network_timeout = silence
        reached: list[bool] = []
        handlers: list[Any] = [(evt.EVT_CONN_OPEN, _limit_silence, [silence, reached])]
        association = entity.associate(
            self.node.host, self.node.port, contexts=contexts, ae_title=self.node.aet,
            max_pdu=MAX_PDU, ext_neg=list(roles),
            evt_handlers=[*handlers, *([taking] if taking else [])],
        )  # fmt: skip
        if not association.is_established:
            raise _refusal(association) if reached else ProviderUnreachable("no connection")
        # The first context is the service; an archive may take the association without it.
        service = contexts[0].abstract_syntax
        if service not in {context.abstract_syntax for context in association.accepted_contexts}:
            association.release()
            raise AssociationRejected("the archive does not offer this service to us")
        try:
            yield association
        except BaseException:
            association.abort()
            raise
        association.release()


def _limit_silence(event: evt.Event, seconds: float, reached: list[bool]) -> None:
    reached.append(True)
    # The library waits for the rest of a PDU without end; the socket itself has to give up.
    socket = event.assoc.dul.socket
    if socket is not None and socket.socket is not None:
        socket.socket.settimeout(seconds)


def _refusal(association: Association) -> AssociationRejected:
    """The reason in the words of PS3.8 9.3.4, or what else kept us out."""
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        return AssociationRejected(f"rejected: {answer.reason_str}")
    if association.rejected_contexts:
        return AssociationRejected("no presentation context was accepted")
    return AssociationRejected("aborted, or no answer in time")


class _Taking:
    """The receiving end of a C-GET: C-STORE sub-operations, answered after the delivery."""

    def __init__(self, client: DimseClient, deliver: Deliver, request: str) -> None:
        self._client, self._deliver, self._request = client, deliver, request
        self._first: Exception | None = None

    def take(self, event: evt.Event) -> int:
        """One instance; the answer is a C-STORE status (PS3.4 B.2.3)."""
        if isinstance(self._first, StoreError):
            return 0xA700
        try:
            self._deliver(self._arrival(event))
        except Exception as error:  # noqa: BLE001 (the PACS gets a status, the caller the error)
            self._first = self._first or error
            return words.failure_code(error)
        return 0x0000

    def raise_first(self) -> None:
        """What the first failed delivery raised."""
        if self._first is not None:
            raise self._first

    def _arrival(self, event: evt.Event) -> Arrival:
        request, client = cast("C_STORE", event.request), self._client
        body = cast("BytesIO", request.DataSet)
        return Arrival(
            source=client.source, how=How.C_STORE, chunks=_pieces(body.getbuffer()),
            part10=False, transfer_syntax=str(event.context.transfer_syntax),
            sop_class=str(request.AffectedSOPClassUID),
            sop_uid=str(request.AffectedSOPInstanceUID), request=self._request,
            case_id=client.case_id,
            facts={"peer": str(client.node), "our_aet": client.our_aet, "asked_by": "C-GET"},
        )  # fmt: skip


def _pieces(view: memoryview) -> Iterator[bytes]:
    for start in range(0, len(view), PIECE):
        yield bytes(view[start : start + PIECE])


def _any_class() -> list[str]:
    """For archives that do not tell SOP classes: what the table says may come by C-GET."""
    return [one.uid for one in words.sop_classes().values() if one.scu_get]


def _batches(classes: Sequence[str]) -> Iterator[Sequence[str]]:
    each = MOST_CONTEXTS // 2
    for start in range(0, len(classes), each):
        yield classes[start : start + each]


def _storage_contexts(classes: Sequence[str]) -> list[PresentationContext]:
    """
    One context for each class and transfer syntax, so that each image can come as it is stored:
    in a shared context the acceptor picks one syntax for all. With many classes, two for each.
    """
    syntaxes = list(words.preferred_syntaxes())
    groups = [[syntax] for syntax in syntaxes]
    if len(classes) * len(groups) > MOST_CONTEXTS:
        groups = [syntaxes[:2], syntaxes[2:]]
    return [build_context(uid, list(group)) for uid in classes for group in groups]


def _find(association: Association, level: str, keys: Mapping[str, str]) -> list[Dataset]:
    found = []
    for status, row in association.send_c_find(rows.question(level, keys), FIND):
        if _expect(status, "C-FIND") and row is not None:
            found.append(row)
    return found


def _expect(status: Dataset, service: str) -> bool:
    """Whether more follows; raises DicomError when the status is neither success nor pending."""
    code = rows.status_code(status)
    if code not in {0x0000, *_PENDING}:
        raise DicomError(f"{service} {code:04X}: {rows.nurse_words(service, code)}")
    return code in _PENDING
