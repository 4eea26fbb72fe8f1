"""The PACS's DICOMweb door: QIDO-RS and WADO-RS over HTTP."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from typing import Any

import httpx2
import pytest

from .small_case import PUSHED_STUDY, SERIES, STUDY, Visit

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def web(visit: Visit, path: str, accept: str = "*/*") -> httpx2.Response:
    return visit.get(f"{visit.urls['dicomweb']}/{path}", headers={"accept": accept})


def parts(answer: httpx2.Response) -> dict[bytes, str]:
    """Body -> media type of each part."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.content, policy=HTTP)
    return {bytes(p.get_content()): p["content-type"] for p in message.iter_parts()}


def value(row: dict[str, Any], tag: str) -> Any:
    return row[tag]["Value"][0]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("studies?PatientID=4711", 1),
        ("studies?00100020=4711&AccessionNumber=ACC-1", 1),
        (f"studies?StudyInstanceUID={STUDY}&unknownattribute=1", 1),
        ("series?Modality=CT", 2),
        (f"studies/{STUDY}/series", 2),
        (f"studies/{STUDY}/instances", 5),
        (f"studies/{STUDY}/instances?limit=2&offset=1", 2),
        (f"studies/{STUDY}/instances?limit=2&offset=4", 1),
        (f"studies/{STUDY}/series/2.25.11/instances", 3),
        ("instances?SOPInstanceUID=2.25.11.2", 1),
    ],
)
def test_a_query_lists_what_matches(healthy: Visit, path: str, expected: int) -> None:
    answer = web(healthy, path, "application/dicom+json")
    assert answer.headers["content-type"] == "application/dicom+json"
    assert len(answer.json()) == expected


@pytest.mark.parametrize("path", ["studies?PatientID=1", f"studies/{PUSHED_STUDY}/series"])
def test_an_empty_list_is_204(healthy: Visit, path: str) -> None:
    assert web(healthy, path).status_code == 204


def test_a_study_says_how_much_it_holds_and_where(healthy: Visit) -> None:
    (row,) = web(healthy, "studies").json()
    assert (value(row, "00201206"), value(row, "00201208")) == (2, 5)
    assert value(row, "00081190") == f"{healthy.urls['dicomweb']}/studies/{STUDY}"
    series = web(healthy, f"studies/{STUDY}/series").json()
    assert {value(row, "0020000E"): value(row, "00201209") for row in series} == SERIES


def test_a_study_comes_as_the_files_that_are_stored(healthy: Visit, case: Path) -> None:
    answer = web(healthy, f"studies/{STUDY}", AS_STORED)
    files = {path.read_bytes() for path in (case / "dicom").iterdir()}
    assert set(parts(answer)) == files
    assert {kind.split("=")[1].strip('"') for kind in parts(answer).values()} == {
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.5",
    }


def test_a_series_and_an_image_come_alone(healthy: Visit) -> None:
    series = f"studies/{STUDY}/series/2.25.11"
    assert len(parts(web(healthy, series, AS_STORED))) == 3
    assert len(parts(web(healthy, f"{series}/instances/2.25.11.1", AS_STORED))) == 1


def test_another_transfer_syntax_than_the_stored_is_not_acceptable(healthy: Visit) -> None:
    plain = 'multipart/related; type="application/dicom"'
    assert web(healthy, f"studies/{STUDY}/series/2.25.11", plain).status_code == 200
    assert web(healthy, f"studies/{STUDY}/series/2.25.12", plain).status_code == 406
    assert web(healthy, f"studies/{STUDY}", "image/jpeg").status_code == 406


@pytest.mark.parametrize("path", [PUSHED_STUDY, f"{STUDY}/series/2.25.9", "2.25.9/metadata"])
def test_what_is_not_listed_is_not_there(healthy: Visit, path: str) -> None:
    assert web(healthy, f"studies/{path}").status_code == 404


def test_metadata_has_every_image_and_no_pixels(healthy: Visit) -> None:
    rows = web(healthy, f"studies/{STUDY}/metadata", "application/dicom+json").json()
    assert len(rows) == 5
    assert all("7FE00010" not in row for row in rows)
