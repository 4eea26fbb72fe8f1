"""The PACS's DIMSE door, asked by pynetdicom: echo, find, get, move, push."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelGet as Get,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelMove as Move,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    Verification,
)

from fhir_bridge.simulators.pacs import Node

from .small_case import PUSHED_STUDY, SERIES, STUDY, Visit

PACKINGS = (ExplicitVRLittleEndian, RLELossless)
Answers = list[tuple[Dataset, Dataset | None]]


@dataclass
class Inbox:
    """A Storage SCP that keeps what it gets: SOP Instance UID -> (syntax, bytes)."""

    got: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    node: str = ""

    def keep(self, event: evt.Event) -> int:
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        self.got[uid] = (event.context.transfer_syntax, event.encoded_dataset(include_meta=False))
        return 0


@contextmanager
def inbox() -> Iterator[Inbox]:
    box, entity = Inbox(), AE("BRIDGE")
    entity.add_supported_context(CTImageStorage, list(PACKINGS))
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, box.keep)]
    )
    assert server is not None
    box.node = f"BRIDGE@127.0.0.1:{server.server_address[1]}"
    yield box
    server.shutdown()


@contextmanager
def calling(visit: Visit, *contexts: Any, title: str = "GENHOSP", **options: Any) -> Iterator[Any]:
    node = Node.parse(str(visit.urls["dimse"]))
    asked = [build_context(one) if isinstance(one, str) else one for one in contexts]
    association = AE("BRIDGE").associate(
        node.host, node.port, contexts=asked, ae_title=title, **options
    )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def identifier(level: str, **keys: Any) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def find(visit: Visit, level: str, **keys: Any) -> tuple[int, list[Dataset]]:
    with calling(visit, Find) as association:
        answers: Answers = list(association.send_c_find(identifier(level, **keys), Find))
    return answers[-1][0].Status, [row for _, row in answers if row is not None]


def get(visit: Visit, level: str, **keys: Any) -> tuple[Dataset, Inbox]:
    box = Inbox()
    storage = [build_context(CTImageStorage, packing) for packing in PACKINGS]
    role = build_role(CTImageStorage, scp_role=True)
    handlers = [(evt.EVT_C_STORE, box.keep)]
    with calling(visit, Get, *storage, ext_neg=[role], evt_handlers=handlers) as association:
        *_, (status, _) = association.send_c_get(identifier(level, **keys), Get)
    return status, box


def stored(case: Path, folder: str) -> dict[str, tuple[str, bytes]]:
    """What lies in the files: SOP Instance UID -> (syntax, data set bytes)."""
    found = {}
    for path in (case / folder).glob("*.dcm"):
        image = dcmread(path)
        head = _preamble_and_meta(image)
        uid = str(image.SOPInstanceUID)
        found[uid] = (str(image.file_meta.TransferSyntaxUID), path.read_bytes()[head:])
    return found


def _preamble_and_meta(image: Any) -> int:
    meta = DicomBytesIO()
    write_file_meta_info(meta, image.file_meta, enforce_standard=False)
    return 132 + len(meta.getvalue())


def test_it_answers_an_echo_only_under_its_own_name(healthy: Visit) -> None:
    with calling(healthy, Verification) as association:
        assert association.send_c_echo().Status == 0
    with calling(healthy, Verification, title="SOMEBODY") as association:
        assert not association.is_established


def test_a_study_is_found_with_its_counts(healthy: Visit) -> None:
    status, (row,) = find(
        healthy,
        "STUDY",
        PatientID="4711",
        PatientName="",
        StudyInstanceUID="",
        NumberOfStudyRelatedInstances="",
        NumberOfStudyRelatedSeries="",
        ModalitiesInStudy="",
        SOPClassesInStudy="",
        InstitutionName="",
    )
    assert (status, row.StudyInstanceUID, row.QueryRetrieveLevel) == (0, STUDY, "STUDY")
    assert (row.NumberOfStudyRelatedSeries, row.NumberOfStudyRelatedInstances) == (2, 5)
    assert (row.ModalitiesInStudy, row.SOPClassesInStudy) == ("CT", CTImageStorage)
    assert (str(row.PatientName), row.InstitutionName) == ("Sánchez^Ana", "")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"PatientName": "s*"}, 1),
        ({"PatientName": "DOE*"}, 0),
        ({"StudyDate": "20240301-20240331"}, 1),
        ({"StudyDate": "20250101-"}, 0),
        ({"AccessionNumber": "ACC-?"}, 1),
        ({"StudyInstanceUID": [STUDY, "2.25.9"]}, 1),
        ({"StudyInstanceUID": PUSHED_STUDY}, 0),
    ],
)
def test_a_query_matches_by_its_keys(healthy: Visit, keys: dict[str, Any], expected: int) -> None:
    assert len(find(healthy, "STUDY", **keys)[1]) == expected


def test_series_and_images_are_found_below_their_study(healthy: Visit) -> None:
    _, series = find(healthy, "SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID="",
                     NumberOfSeriesRelatedInstances="")  # fmt: skip
    counts = {row.SeriesInstanceUID: row.NumberOfSeriesRelatedInstances for row in series}
    assert counts == SERIES
    _, images = find(healthy, "IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID="2.25.11",
                     SOPInstanceUID="", SOPClassUID="")  # fmt: skip
    assert [row.SOPInstanceUID for row in images] == [f"2.25.11.{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize("level", ["SERIES", "IMAGE", "PATIENT", ""])
def test_a_query_without_the_unique_keys_above_is_refused(healthy: Visit, level: str) -> None:
    assert find(healthy, level, SeriesInstanceUID="2.25.11")[0] == 0xA900


def test_a_get_hands_out_the_bytes_as_they_are_stored(healthy: Visit, case: Path) -> None:
    status, box = get(healthy, "STUDY", StudyInstanceUID=STUDY)
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 5)
    assert box.got == stored(case, "dicom")


def test_a_get_can_ask_for_single_images(healthy: Visit) -> None:
    keys = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": "2.25.11"}
    _, box = get(healthy, "IMAGE", **keys, SOPInstanceUID=["2.25.11.1", "2.25.11.3"])
    assert set(box.got) == {"2.25.11.1", "2.25.11.3"}


def test_a_move_goes_to_the_bridge_and_to_nobody_else(
    open_hospital: Callable[..., Any], case: Path
) -> None:
    asked = identifier("STUDY", StudyInstanceUID=STUDY)
    with (
        inbox() as box,
        open_hospital(bridge_dimse=box.node) as visit,
        calling(visit, Move) as association,
    ):
        *_, (status, _) = association.send_c_move(asked, "BRIDGE", Move)
        assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 5)
        *_, (status, _) = association.send_c_move(asked, "ELSEWHERE", Move)
        assert status.Status == 0xA801
    assert box.got == stored(case, "dicom")


def test_a_push_sends_what_the_index_does_not_list(
    open_hospital: Callable[..., Any], case: Path
) -> None:
    with inbox() as box, open_hospital(bridge_dimse=box.node) as visit:
        push = f"{visit.urls['control']}/push"
        assert visit.http.post(f"{push}/{PUSHED_STUDY}").json() == {"sent": 2, "failed": 0}
        assert visit.http.post(push).json() == {"sent": 2, "failed": 0}
        assert visit.http.post(f"{push}/2.25.9").json() == {"sent": 0, "failed": 0}
    assert box.got == stored(case, "push")


# pynetdicom drops the socket of a refused connection without closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_push_to_a_bridge_that_is_away_fails_and_says_so(
    open_hospital: Callable[..., Any],
) -> None:
    with open_hospital(bridge_dimse="BRIDGE@127.0.0.1:1") as visit:
        push = visit.http.post(f"{visit.urls['control']}/push")
        assert push.json() == {"sent": 0, "failed": 2}
