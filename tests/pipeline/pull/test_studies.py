"""Images: every list is asked before and after; only what is missing is fetched again."""

from __future__ import annotations

import pytest

from fhir_bridge.case.certificate import Grade
from fhir_bridge.case.imaging import InstanceClaim
from fhir_bridge.case.ledger import INSTANCE, RecordState
from fhir_bridge.case.slice import IMAGES
from fhir_bridge.errors import ProviderUnreachable, StoreError
from fhir_bridge.pipeline.pull.studies import claims_of, study_uid

from .fake_ehr import FakeArchive, FakeEhr, patient, pull, source_of


def claims(number: int, study: str = "1.2") -> list[InstanceClaim]:
    return [InstanceClaim(study, f"{study}.3", f"{study}.3.{n}") for n in range(number)]


def imaging_study(found: list[InstanceClaim], **more):
    series: dict[str, list] = {}
    for claim in found:
        series.setdefault(claim.series_uid, []).append({"uid": claim.sop_uid})
    return {
        "resourceType": "ImagingStudy",
        "id": "s1",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2"}],
        "subject": {"reference": "Patient/p1"},
        "series": [{"uid": uid, "instance": found} for uid, found in series.items()],
    } | more


@pytest.fixture
def pulled(store, case):
    """Pulls with these archives; the certificate's line of the images."""

    def run(*archives, resources=(), run=1):
        ehr = FakeEhr(store, case.id, [patient(), *resources])
        return pull(source_of(store, case, ehr, *archives), ehr, run=run)[IMAGES]

    return run


def _find(has, **more):
    return FakeArchive(has, witness="C-FIND IMAGE", **more)


def test_one_list_that_agrees_is_consistent_and_two_are_proven(pulled):
    assert pulled(FakeArchive(claims(4))).grade is Grade.CONSISTENT
    assert pulled(FakeArchive(claims(4)), _find(claims(4)), run=2).grade is Grade.PROVEN


def test_the_ehrs_own_study_is_a_witness_too(pulled):
    line = pulled(FakeArchive(claims(4)), resources=[imaging_study(claims(4))])
    assert (line.grade, line.got, line.said) == (Grade.PROVEN, 4, 4)


def test_a_study_is_asked_for_whole_and_then_only_for_what_is_missing(pulled):
    stingy, generous = FakeArchive(claims(5), gives=3), _find(claims(5))
    assert pulled(stingy, generous).grade is Grade.PROVEN
    assert (stingy.retrieved, generous.retrieved) == ([0], [2])


def test_an_image_that_is_listed_and_not_handed_over_is_a_failed_row(pulled, store, case):
    line = pulled(FakeArchive(claims(3), lists=claims(5)))
    assert (line.grade, line.got, line.said) == (Grade.SHORT, 3, 5)
    failed = [r for r in store.ledgers.rows(case.id) if r.state is RecordState.FAILED]
    assert {(r.key.kind, r.key.id) for r in failed} == {
        (INSTANCE, "1.2.3.3"),
        (INSTANCE, "1.2.3.4"),
    }
    assert {r.error_code for r in failed} == {"FB-5002"}


def test_a_list_that_lacks_what_we_hold_is_no_witness(pulled):
    """A PACS that caps its list, or an EHR that knows one of two studies, shows nothing missing."""
    line = pulled(FakeArchive(claims(4)), resources=[imaging_study(claims(2))])
    assert (line.grade, line.got) == (Grade.CONSISTENT, 4)


def test_an_image_that_appeared_during_the_pull_makes_it_short(pulled):
    late = _Growing(claims(3), claims(4))
    assert pulled(late).grade is Grade.SHORT


def test_a_study_that_appeared_during_the_pull_makes_it_short(pulled):
    late = _Growing(claims(3), [*claims(3), *claims(2, study="9.9")])
    line = pulled(late)
    assert (line.grade, line.got, line.said) == (Grade.SHORT, 3, 5)


def test_more_images_than_anybody_lists_make_it_short(pulled):
    """The study says 60, the list of instances is capped at 4: nobody names the other 56."""
    assert pulled(FakeArchive(claims(4), stated=60)).grade is Grade.SHORT
    study = imaging_study(claims(4), numberOfInstances=60)
    assert pulled(FakeArchive(claims(4)), resources=[study], run=2).grade is Grade.SHORT


def test_without_a_way_to_images_nobody_is_asked(pulled):
    assert pulled().grade is Grade.NOT_ASKED


def test_a_study_that_the_ehr_lists_without_a_way_to_it_is_short(pulled):
    assert pulled(resources=[imaging_study(claims(4))]).grade is Grade.SHORT


def test_an_archive_that_does_not_answer_is_refused_and_another_way_is_taken(pulled):
    gone = FakeArchive(claims(3), broken=ProviderUnreachable("no connection"))
    assert pulled(gone).grade is Grade.REFUSED
    assert pulled(gone, _find(claims(3)), run=2).grade is Grade.CONSISTENT


def test_a_patient_without_images_is_unknown_not_complete(pulled):
    assert pulled(FakeArchive([])).grade is Grade.UNKNOWN


def test_the_archive_is_asked_by_the_pinned_patients_numbers_and_by_no_pattern(store, case):
    """PS3.4 C.2.2.2.4: an asterisk would ask for everybody's images."""
    numbers = [{"system": "urn:x", "value": value} for value in ("00123", "*", "12?", "a\\b", "7")]
    archive = FakeArchive(claims(1))
    ehr = FakeEhr(store, case.id, [patient(identifier=numbers)])
    pull(source_of(store, case, ehr, archive), ehr)
    assert set(archive.numbers) == {"00123", "7"}


def test_a_fault_of_our_own_is_not_the_archives(pulled, store, case):
    full = FakeArchive(claims(2), broken=StoreError("I/O"))
    with pytest.raises(StoreError):
        pulled(full)
    assert store.ledgers.slice(case.id, "st-anne", IMAGES) is None


def test_a_way_that_breaks_off_is_followed_by_the_next_round(pulled):
    archive = FakeArchive(claims(4), gives=2)
    assert pulled(archive).grade is Grade.CONSISTENT
    assert archive.retrieved == [0, 2]


def test_the_lists_are_asked_for_once_a_run(store, case):
    ehr = FakeEhr(store, case.id, [patient()])
    archive = FakeArchive(claims(2))
    source = source_of(store, case, ehr, archive)
    pull(source, ehr)
    asked = len(archive.numbers)
    pull(source, ehr)
    assert len(archive.numbers) == asked + 1  # once more after the pull, not before it


@pytest.mark.parametrize(
    "resource",
    [
        {},
        {"identifier": "1.2", "series": 7},
        {"identifier": [{"system": "urn:dicom:uid", "value": 7}], "series": ["x"]},
        imaging_study([], series=[{"instance": [None, "x", {"uid": 7}, {"sopClass": "x"}]}]),
        imaging_study([], series={"instance": {"title": "no uid"}}),
    ],
)
def test_a_study_of_the_wrong_shape_lists_nothing(resource):
    assert list(claims_of(resource)) == []


def test_a_study_is_named_by_its_dicom_uid():
    assert study_uid(imaging_study([])) == "1.2"
    assert study_uid({"identifier": [{"system": "urn:x", "value": "1.2"}]}) == ""


def test_the_class_of_an_instance_loses_its_urn():
    found = imaging_study([], series=[{"uid": "1.2.3", "instance": [
        {"uid": "1.2.3.0", "sopClass": {"code": "urn:oid:1.2.840"}}]}])  # fmt: skip
    assert list(claims_of(found)) == [InstanceClaim("1.2", "1.2.3", "1.2.3.0", "1.2.840")]


class _Growing(FakeArchive):
    """Lists more after it has handed something over."""

    __slots__ = ("_later",)

    def __init__(self, has, later) -> None:
        super().__init__(has)
        self._later = later

    def retrieve(self, study_uid, only, deliver):
        super().retrieve(study_uid, only, deliver)
        self.lists = self._later
