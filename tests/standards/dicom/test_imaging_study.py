"""The ImagingStudy of what we hold: nothing invented, nothing claimed, always the same."""

from __future__ import annotations

import random
from io import BytesIO

import pytest
from fhir.resources.R4B.imagingstudy import ImagingStudy
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fhir_bridge.errors import Hostile, Unreadable, UsageError
from fhir_bridge.standards.dicom.header import read_facts
from fhir_bridge.standards.dicom.imaging_study import imaging_study
from fhir_bridge.standards.fhir import json

SUBJECT = {"reference": "urn:uuid:6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41"}


@pytest.fixture
def facts(stand):
    def made(number=1, **elements):
        return read_facts(BytesIO(stand.part10(stand.dataset(number, **elements))))

    return made


def study(*headers, complete=True):
    found = imaging_study(headers, subject=SUBJECT, complete=complete)
    ImagingStudy.model_validate(json.loads(json.dumps(found)))
    return found


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def test_a_study_of_two_series(stand, facts):
    other = {"SeriesInstanceUID": f"{stand.ROOT}.4", "SeriesNumber": 2, "Modality": "SR"}
    found = study(facts(2), facts(1), facts(3, **other))
    assert found["identifier"][0] == {
        "system": "urn:dicom:uid",
        "value": f"urn:oid:{stand.ROOT}.1",
    }
    accession = found["identifier"][1]
    assert accession["value"] == "A-77"
    assert accession["type"]["coding"][0]["code"] == "ACSN"
    assert [m["code"] for m in found["modality"]] == ["CT", "SR"]
    assert (found["numberOfSeries"], found["numberOfInstances"]) == (2, 3)
    assert [s["numberOfInstances"] for s in found["series"]] == [2, 1]
    first = found["series"][0]["instance"][0]
    assert (first["uid"], first["number"]) == (f"{stand.ROOT}.3.1", 1)
    assert first["sopClass"] == {
        "system": "urn:ietf:rfc:3986",
        "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2",
    }
    assert found["subject"] == SUBJECT


def test_the_order_of_arrival_makes_no_difference(facts):
    headers = [facts(n) for n in range(1, 12)]
    once = json.dumps(study(*headers))
    random.Random(3).shuffle(headers)
    assert json.dumps(study(*headers)) == once


def test_an_instance_that_comes_twice_counts_once(facts):
    assert study(facts(1), facts(1))["numberOfInstances"] == 1


def test_a_study_is_available_only_when_it_is_proved_complete(facts):
    assert study(facts())["status"] == "available"
    assert study(facts(), complete=False)["status"] == "registered"


@pytest.mark.parametrize(
    ("elements", "started"),
    [
        ({}, "2026-01-15"),
        ({"TimezoneOffsetFromUTC": "-0500"}, "2026-01-15T09:30:15-05:00"),
        (
            {"StudyTime": "093015.250000", "TimezoneOffsetFromUTC": "+0100"},
            "2026-01-15T09:30:15.250000+01:00",
        ),
        ({"StudyTime": "0930", "TimezoneOffsetFromUTC": "+0100"}, "2026-01-15T09:30:00+01:00"),
        ({"StudyTime": "09", "TimezoneOffsetFromUTC": "+0100"}, "2026-01-15"),
        ({"StudyTime": "", "TimezoneOffsetFromUTC": "+0100"}, "2026-01-15"),
        ({"StudyTime": "996699", "TimezoneOffsetFromUTC": "+0100"}, "2026-01-15"),
        ({"StudyDate": "20261399"}, None),
        ({"StudyDate": ""}, None),
    ],
)
def test_started_has_the_precision_that_was_sent(facts, elements, started):
    assert study(facts(**elements)).get("started") == started


def test_a_missing_modality_is_other_and_a_negative_number_is_left_out(facts):
    found = study(facts(Modality="", SeriesNumber=-1))
    assert found["series"][0]["modality"]["code"] == "OT"
    assert "number" not in found["series"][0]


def test_codes_keep_their_scheme_and_local_ones_are_named_as_local(facts):
    codes = [code("24627-2", "LN", "Chest CT"), code("CTTHX", "99GEN", "CT thorax")]
    found = study(facts(ProcedureCodeSequence=codes))
    systems = [concept["coding"][0]["system"] for concept in found["procedureCode"]]
    assert systems == ["http://loinc.org", "urn:dicom:scheme:99GEN"]


def test_body_part_side_and_referrer(facts):
    found = study(
        facts(BodyPartExamined="LUNG", Laterality="L", ReferringPhysicianName="Keller^Ada^^Dr.")
    )
    series = found["series"][0]
    assert series["bodySite"] == {"display": "LUNG"}
    assert series["laterality"]["code"] == "7771000"
    assert found["referrer"] == {"display": "Dr. Ada Keller"}


def test_the_first_title_that_exists_is_taken(facts):
    both = facts(
        ImageType=["ORIGINAL", "PRIMARY"],
        DocumentTitle="Letter",
        ConceptNameCodeSequence=[code("18748-4", "LN", "Diagnostic imaging report")],
    )
    assert study(both)["series"][0]["instance"][0]["title"] == "Diagnostic imaging report"
    assert study(facts(ImageType=["ORIGINAL", "PRIMARY"]))["series"][0]["instance"][0]["title"] == (
        "ORIGINAL\\PRIMARY"
    )


def test_two_studies_are_not_mixed_into_one(facts):
    with pytest.raises(UsageError):
        study(facts(1), facts(2, StudyInstanceUID="1.2.3"))
    with pytest.raises(UsageError):
        study()


def test_an_instance_without_a_series_is_refused(facts):
    with pytest.raises(Unreadable):
        study(facts(SeriesInstanceUID=""))


def test_a_deflated_file_is_read_and_a_bomb_is_not(stand):
    body = stand.part10(stand.dataset(), DeflatedExplicitVRLittleEndian)
    assert read_facts(BytesIO(body)).text("AccessionNumber") == "A-77"
    bomb = stand.part10(
        stand.dataset(PixelData=bytes(64 * 1024 * 1024)), DeflatedExplicitVRLittleEndian
    )
    with pytest.raises(Hostile):
        read_facts(BytesIO(bomb))


def test_rubbish_is_unreadable_or_empty_and_never_a_crash(stand):
    body = stand.part10(stand.dataset())
    for place in range(380, len(body) - 2048, 5):
        try:
            read_facts(BytesIO(body[:place] + b"\xff\xfe\xff" + body[place + 3 :]))
        except Unreadable:
            continue
