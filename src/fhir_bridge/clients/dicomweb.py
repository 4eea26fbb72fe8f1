"""An imaging archive by DICOMweb: what it lists (QIDO-RS), and its studies (WADO-RS)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlencode

from fhir_bridge.case.imaging import Arrival, InstanceClaim, StudyClaim
from fhir_bridge.case.original import Answer, How
from fhir_bridge.clients.ask import Ask, request_line
from fhir_bridge.clients.flow import Flow
from fhir_bridge.clients.http import Wire
from fhir_bridge.clients.multipart import Part, parts, whole
from fhir_bridge.errors import BridgeError, DicomError, NotFhir
from fhir_bridge.standards.fhir import json

# Without the star a conforming server transcodes to Explicit VR Little Endian (PS3.18 8.7.3.5.2).
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
DICOM_JSON = "application/dicom+json"
MOST_PAGES = 1000

_STUDY, _SERIES, _SOP, _SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
_PATIENT, _ACCESSION, _DATE, _DESCRIPTION = "00100020", "00080050", "00080020", "00081030"
_MODALITIES, _COUNT = "00080061", "00201208"

Row = Mapping[str, Any]
Deliver = Callable[[Arrival], None]


class DicomWebClient:
    """
    One DICOMweb endpoint (PS3.18). `base` has no slash at its end.

    Every method may raise what the wire raises; answers of QIDO-RS are kept, and every instance
    is kept by who takes the delivery.
    """

    def __init__(self, base: str, wire: Wire) -> None:
        self.base, self.wire = base.rstrip("/"), wire

    def for_case(self, case_id: str) -> DicomWebClient:
        """The same client; what it gets belongs to the case."""
        return DicomWebClient(self.base, self.wire.for_case(case_id))

    def list_studies(self, patient_id: str) -> tuple[StudyClaim, ...]:
        """The studies of a patient. Rows that name another patient are not believed."""
        rows = self._studies([("PatientID", patient_id)])
        return tuple(_study(row) for row in rows if _text(row, _PATIENT) in {"", patient_id})

    def find_study(self, study_uid: str = "", *, accession: str = "") -> tuple[StudyClaim, ...]:
        """Studies by Study Instance UID or by accession number."""
        if study_uid:
            rows = self._studies([("StudyInstanceUID", study_uid)])
            return tuple(_study(row) for row in rows if _text(row, _STUDY) == study_uid)
        rows = self._studies([("AccessionNumber", accession)])
        return tuple(_study(row) for row in rows if _text(row, _ACCESSION) in {"", accession})

    def _studies(self, params: list[tuple[str, str]]) -> list[Row]:
        wanted = [("includefield", tag) for tag in (_MODALITIES, _COUNT, _DESCRIPTION)]
        return self._rows("studies", params + wanted, _STUDY)

    def list_instances(self, study_uid: str) -> tuple[InstanceClaim, ...]:
        """Every instance that the archive lists for a study."""
        path = f"studies/{quote(study_uid, safe='')}/instances"
        return tuple(
            InstanceClaim(study_uid, _text(r, _SERIES), _text(r, _SOP), _text(r, _SOP_CLASS))
            for r in self._rows(path, [("includefield", _SOP_CLASS)], _SOP)
        )

    def _rows(self, path: str, params: Sequence[tuple[str, str]], key: str) -> list[Row]:
        """
        All rows of a search. Asked on from where a page ended (PS3.18 8.3.4) when the server says
        that it was limited, or when a round number of rows looks like a limit.
        """
        rows: dict[str, Row] = {}
        for _ in range(MOST_PAGES):
            more = [("offset", str(len(rows)))] if rows else []
            answer = self._page(path, [*params, *more])
            page = json.loads(answer.body) if answer.body else []
            fresh = {_text(row, key): row for row in page if _text(row, key) not in rows}
            rows |= fresh
            limited = "299" in answer.header("Warning") or len(page) % 100 == 0
            if not fresh or not limited:
                break
        return list(rows.values())

    def _page(self, path: str, params: Sequence[tuple[str, str]]) -> Answer:
        url = f"{self.base}/{path}?{urlencode(params)}"
        return self.wire.ask(Ask(url, accept=DICOM_JSON, judge=_expect_rows))

    def retrieve(self, study_uid: str, only: Collection[InstanceClaim], deliver: Deliver) -> str:
        """
        Bring in a whole study as one stream when `only` is empty, else just those instances.

        Each whole instance is handed to `deliver` while the next one streams in. Returns how:
        `WADO-RS study` or `WADO-RS instances`. Raises Truncated when the stream broke off, after
        the whole instances were delivered; DicomError when something came that is no DICOM.
        """
        study = f"{self.base}/studies/{quote(study_uid, safe='')}"
        if not only:
            self._deliver_all(study, deliver)
            return "WADO-RS study"
        for one in only:
            series, sop = quote(one.series_uid, safe=""), quote(one.sop_uid, safe="")
            self._deliver_all(f"{study}/series/{series}/instances/{sop}", deliver)
        return "WADO-RS instances"

    def _deliver_all(self, url: str, deliver: Deliver) -> None:
        strange = 0
        with self.wire.stream(Ask(url, accept=AS_STORED, kind="stream")) as flow:
            for part in _parts(flow):
                with closing(part):
                    if part.start(132)[128:] == b"DICM":
                        deliver(self._arrival(url, part))
                    else:
                        strange += 1
        if strange:
            raise DicomError(f"{strange} parts of an answer are no DICOM")

    def _arrival(self, url: str, part: Part) -> Arrival:
        return Arrival(
            source=self.wire.source, how=How.GET, chunks=part.chunks(), part10=True,
            request=request_line("GET", url), case_id=self.wire.case_id,
            facts={"accept": AS_STORED, "content_type": part.headers.get("content-type", "")},
        )  # fmt: skip


def _parts(flow: Flow) -> Iterator[Part]:
    content_type = flow.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        return parts(flow.chunks(), content_type)
    if kind in {"application/dicom", "application/octet-stream"}:
        return whole(flow.chunks(), flow.headers)
    raise DicomError("the archive answered with something that is no DICOM")


def _expect_rows(answer: Answer) -> None:
    if answer.status == 204:
        return
    try:
        rows = json.loads(answer.body or b"[]")
    except BridgeError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NotFhir("the archive's list is no DICOM JSON")


def _study(row: Row) -> StudyClaim:
    count = _text(row, _COUNT)
    return StudyClaim(
        study_uid=_text(row, _STUDY),
        accession=_text(row, _ACCESSION),
        description=_text(row, _DESCRIPTION),
        date=_text(row, _DATE),
        modalities=_texts(row, _MODALITIES),
        instances=int(count) if count.isdecimal() else None,
    )


def _texts(row: Row, tag: str) -> tuple[str, ...]:
    """The values of an element in DICOM JSON (PS3.18 F.2.2), without padding."""
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    if not isinstance(values, list):
        return ()
    return tuple(str(v).strip(" \0") for v in values if isinstance(v, str | int) and str(v))


def _text(row: Row, tag: str) -> str:
    return next(iter(_texts(row, tag)), "")
