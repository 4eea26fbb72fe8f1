"""What the Receiver promises: bytes as sent, durable first, nothing dropped, nothing mixed up."""

from __future__ import annotations

import hashlib

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from fhir_bridge.case.imaging import Arrival
from fhir_bridge.case.original import How
from fhir_bridge.errors import Hostile, StorageRefused, TooLarge, Unreadable
from fhir_bridge.standards.dicom.part10 import read_meta


def stow(body: bytes, **facts) -> Arrival:
    pieces = [body[i : i + 700] for i in range(0, len(body), 700)]
    return Arrival("general", How.STOW, pieces, part10=True, pushed=True, **facts)


def pushed(stand, made, syntax=ExplicitVRLittleEndian, **facts) -> Arrival:
    body = stand.bare(stand.part10(made, syntax))
    known = {"sop_class": made.SOPClassUID, "sop_uid": made.SOPInstanceUID} | facts
    return Arrival(
        "general", How.C_STORE, [body], part10=False, transfer_syntax=syntax, pushed=True, **known
    )


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        JPEGLSLossless,
    ],
)
def test_a_file_is_kept_byte_for_byte(stand, shelf, receiver, syntax):
    body = stand.part10(stand.dataset(), syntax)
    instance = receiver.accept(stow(body))
    assert shelf.body(instance.sha256) == body
    assert instance.dataset_sha256 == hashlib.sha256(stand.bare(body)).hexdigest()
    assert (instance.transfer_syntax, instance.quarantined) == (syntax, "")


def test_a_bare_data_set_is_kept_behind_a_file_meta_of_our_own(stand, shelf, receiver):
    made = stand.dataset()
    body = stand.bare(stand.part10(made))
    instance = receiver.accept(pushed(stand, made))
    kept = shelf.body(instance.sha256)
    meta = read_meta(kept)
    assert kept[meta.length :] == body
    assert (meta.sop_uid, meta.sop_class) == (made.SOPInstanceUID, made.SOPClassUID)
    assert instance.dataset_sha256 == hashlib.sha256(body).hexdigest()
    assert kept[:128] == bytes(128)


def test_an_image_sent_twice_is_kept_once(stand, shelf, receiver):
    for _ in range(2):
        receiver.accept(pushed(stand, stand.dataset()))
    assert len(shelf.rows()) == 1


def test_the_same_number_with_other_bytes_keeps_both_and_sets_the_newcomer_aside(
    stand, shelf, receiver
):
    first = receiver.accept(pushed(stand, stand.dataset()))
    second = receiver.accept(pushed(stand, stand.dataset(SeriesDescription="again")))
    third = receiver.accept(pushed(stand, stand.dataset()))
    assert [r["reason"] != "" for r in shelf.rows()].count(True) == 1
    assert len(shelf.rows()) == 2
    assert (first.quarantined, third.quarantined) == ("", "")
    assert "same number" in second.quarantined


def test_an_image_that_was_announced_under_another_number_is_refused_and_kept(
    stand, shelf, receiver
):
    arrival = pushed(stand, stand.dataset(), sop_uid=f"{stand.ROOT}.9.9")
    with pytest.raises(StorageRefused):
        receiver.accept(arrival)
    [row] = shelf.rows()
    assert row["sop"] == f"{stand.ROOT}.3.1"
    assert "announced" in row["reason"]


def test_an_image_of_another_study_than_the_request_names_is_refused_and_kept(
    stand, shelf, receiver
):
    arrival = stow(stand.part10(stand.dataset()), facts={"study_uid": "1.2.3"})
    with pytest.raises(StorageRefused):
        receiver.accept(arrival)
    assert len(shelf.rows()) == 1


def test_a_file_cut_off_at_any_byte_is_never_accepted(stand, shelf, receiver):
    """D14: whatever the cut, it is refused, or at the least set aside."""
    body = stand.part10(stand.dataset(PixelData=bytes(2048)))
    step = max(1, len(body) // 400)
    for end in range(1, len(body), step):
        try:
            instance = receiver.accept(stow(body[:end]))
        except (Unreadable, StorageRefused):
            continue
        assert instance.quarantined, f"cut after {end} bytes"
    assert all(row["reason"] for row in shelf.rows())


def test_what_is_no_dicom_keeps_its_bytes_and_is_told_to_the_sender(shelf, receiver):
    with pytest.raises(Unreadable):
        receiver.accept(stow(b"%PDF-1.7 not an image" * 40))
    [original] = shelf.originals
    assert shelf.body(original.sha256).startswith(b"%PDF")
    assert "no-file-meta" in original.facts["findings"]
    assert shelf.rows() == []


def test_sequences_nested_beyond_the_cap_are_hostile_and_kept(stand, shelf, receiver):
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    nested = (b"\x40\x00\x30\xa7SQ\x00\x00\xff\xff\xff\xff" + item) * 300
    made = stand.dataset(PixelData=None)
    with pytest.raises(Hostile):
        receiver.accept(stow(stand.part10(made) + nested))
    assert "nested" in shelf.rows()[0]["reason"]


def test_a_stream_that_breaks_leaves_nothing(stand, shelf, receiver):
    def breaking():
        yield stand.part10(stand.dataset())[:900]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        receiver.accept(Arrival("general", How.STOW, breaking(), part10=True))
    assert (shelf.rows(), shelf.blobs(), shelf.originals) == ([], set(), [])
    assert list((shelf.folder / "incoming").iterdir()) == []


def test_an_image_beyond_the_cap_leaves_nothing(stand, shelf):
    small = stand.receiver(shelf)
    small._max_bytes = 1000
    with pytest.raises(TooLarge):
        small.accept(stow(stand.part10(stand.dataset())))
    assert shelf.blobs() == set()


def test_an_image_goes_to_the_case_of_its_patient(stand, shelf, receiver):
    instance = receiver.accept(pushed(stand, stand.dataset()))
    assert instance.case_id == "case-1"
    assert shelf.originals[0].case_id == "case-1"


def test_an_image_of_an_unknown_patient_waits_in_unassigned(stand, receiver):
    made = stand.dataset(PatientName="Okafor^Ben", PatientID="X-9", PatientBirthDate="19750101")
    assert receiver.accept(pushed(stand, made)).case_id is None


def test_one_slice_of_another_patient_in_a_study_is_set_aside_alone(stand, shelf, receiver):
    receiver.accept(pushed(stand, stand.dataset(1)))
    other = receiver.accept(pushed(stand, stand.dataset(2, PatientName="Okafor^Ben")))
    third = receiver.accept(pushed(stand, stand.dataset(3)))
    assert (other.case_id, third.quarantined) == ("case-1", "")
    assert "another patient" in other.quarantined


def test_the_issuer_is_translated_before_patients_are_compared(stand, shelf):
    made = stand.dataset(IssuerOfPatientID="GENERAL")
    known = stand.receiver(shelf, systems={"GENERAL": stand.MRN})
    assert known.accept(pushed(stand, made)).case_id == "case-1"
    made = stand.dataset(2, IssuerOfPatientID="ELSEWHERE", StudyInstanceUID="1.2.9")
    assert stand.receiver(shelf).accept(pushed(stand, made)).case_id is None


@pytest.mark.parametrize("evil", ["../../../../etc/passwd", "1.02.3", "/etc/x", "1..2", "a.b"])
def test_no_path_is_made_from_what_the_sender_wrote(stand, shelf, receiver, evil):
    number = f"{stand.ROOT}.3.1".encode()
    body = stand.part10(stand.dataset()).replace(number, evil.encode().ljust(len(number), b"\0"))
    instance = receiver.accept(stow(body))
    assert instance.sop_uid == evil
    assert "identifier that DICOM does not allow" in instance.quarantined
    assert shelf.blobs() == {instance.sha256}
