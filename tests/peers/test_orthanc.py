"""Orthanc is the hospital's PACS: pulled by every way there is, and pushing to us by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import simplejson
from pydicom import dcmread
from pydicom.data import get_testdata_file

from fhir_bridge.case.case import DimseNode, TreatingProvider
from fhir_bridge.pipeline.pull import plan
from fhir_bridge.security.access import LOCAL
from fhir_bridge.simulators.studies import make_studies

from . import images, job, orthanc, sekmet
from .orthanc import Modality

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fhir_bridge.bridge import Bridge
    from fhir_bridge.case.imaging import Instance

    from .fhir_server import FhirServer
    from .orthanc import Orthanc
    from .validator import Judges

CHART = job.Chart("oncology")
ISSUERS = {"general-hospital": "https://general-hospital.example/mrn"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """The oncology images: those in the archive's index, and the study that radiology pushes."""

    indexed: Sequence[Path]
    pushed: Sequence[Path]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    files = make_studies(CHART.folder / "studies.json", tmp_path_factory.mktemp("drawn"))
    studies = simplejson.loads((CHART.folder / "studies.json").read_text(encoding="utf-8"))
    hidden = {study["accession"] for study in studies if study.get("pushed")}
    return Drawn(
        indexed=[file for file in files if file.parent.name not in hidden],
        pushed=[file for file in files if file.parent.name in hidden],
    )


@pytest.fixture(scope="module")
def ehr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    with sekmet.serving(tmp_path_factory.mktemp("ehr")) as server:
        CHART.load_into(server)
        yield server


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    with job.running_bridge(tmp_path / "bridge") as bridge:
        yield bridge


def _hospital(ehr: FhirServer, pacs: Orthanc, *ways: str) -> TreatingProvider:
    node = DimseNode(pacs.aet, pacs.host, pacs.dimse_port)
    return TreatingProvider(
        id="hospital",
        name="Hospital",
        fhir=ehr.base,
        dimse=node if "dimse" in ways else None,
        dicomweb=pacs.dicomweb if "dicomweb" in ways else "",
        issuers=ISSUERS,
    )


def _fill(pacs: Orthanc, files: Sequence[Path], bridge: Bridge, *, gets: bool = True) -> None:
    """Lay files into the archive, and make our receiver known there."""
    for file in files:
        pacs.store(file.read_bytes())
    node = Modality(bridge.settings.dimse_aet, bridge.dimse_port, gets=gets)
    pacs.add_modality("bridge", node)


def test_chart_and_archive_make_one_case_all_the_way(
    bridge: Bridge, ehr: FhirServer, orthanc_pacs: Orthanc, drawn: Drawn, judges: Judges
) -> None:
    """A chart that we did not write and an archive that we did not write: nothing is missing."""
    _fill(orthanc_pacs, drawn.indexed, bridge)
    bridge.add_provider(_hospital(ehr, orthanc_pacs, "dicomweb", "dimse"))
    found = job.whole_job(bridge, CHART, ehr, "hospital", judges)
    assert found == CHART.grades | {"DICOM images": "proven"}
    (case,) = bridge.store.cases.all()
    held = images.of_bridge(bridge, bridge.store.images.of_case(case.id))
    assert held == images.of_files(drawn.indexed)


def test_an_archive_that_knows_more_than_the_chart_is_pulled_whole_by_wado_rs(
    bridge: Bridge, ehr: FhirServer, orthanc_pacs: Orthanc, drawn: Drawn
) -> None:
    """The chart lists two of three studies: that makes it no witness, and the pull not short."""
    _fill(orthanc_pacs, [*drawn.indexed, *drawn.pushed], bridge)
    bridge.add_provider(_hospital(ehr, orthanc_pacs, "dicomweb"))
    case_id = job.open_case(bridge, CHART, "hospital")
    job.pull(bridge, case_id)
    instances = bridge.store.images.of_case(case_id)
    assert images.of_bridge(bridge, instances) == images.of_files([*drawn.indexed, *drawn.pushed])
    assert _came_by(bridge, instances) == {"GET"}
    assert job.grades(bridge, case_id)["DICOM images"] == "consistent"


def test_an_archive_alone_is_pulled_by_c_get_once_a_person_said_who_the_patient_is(
    bridge: Bridge, orthanc_pacs: Orthanc, drawn: Drawn
) -> None:
    """Without a chart nothing can be matched by rule: nothing is fetched before the answer."""
    _fill(orthanc_pacs, drawn.indexed, bridge)
    bridge.add_provider(_archive(orthanc_pacs))
    case_id = job.open_case(bridge, CHART, "hospital")
    (end,) = job.pull(bridge, case_id)["sources"]
    assert (end["state"], bridge.store.images.of_case(case_id)) == ("needs-person", [])
    instances = _confirmed_and_pulled(bridge, case_id)
    assert images.of_bridge(bridge, instances) == images.of_files(drawn.indexed)
    assert _came_by(bridge, instances) == {"C-GET"}
    said = {line["type"]: (line["grade"], line["reason"]) for line in bridge.certificate(case_id)}
    no_chart = ("not-asked", "no way to this hospital's chart is set up")
    assert said == {"DICOM images": ("consistent", "")} | dict.fromkeys(plan.core(), no_chart)


def test_an_archive_that_refuses_c_get_sends_by_c_move(
    tmp_path: Path, bridge: Bridge, drawn: Drawn
) -> None:
    with orthanc.serving(tmp_path, DicomAlwaysAllowGet=False) as pacs:
        _fill(pacs, drawn.indexed, bridge, gets=False)
        bridge.add_provider(_archive(pacs))
        case_id = job.open_case(bridge, CHART, "hospital")
        instances = _confirmed_and_pulled(bridge, case_id)
    assert images.of_bridge(bridge, instances) == images.of_files(drawn.indexed)
    assert _came_by(bridge, instances) == {"C-STORE"}
    assert job.grades(bridge, case_id)["DICOM images"] == "consistent"


def _archive(pacs: Orthanc) -> TreatingProvider:
    node = DimseNode(pacs.aet, pacs.host, pacs.dimse_port)
    return TreatingProvider("hospital", "Hospital", dimse=node, issuers=ISSUERS)


def _confirmed_and_pulled(bridge: Bridge, case_id: str) -> Sequence[Instance]:
    bridge.confirm_patient(LOCAL, case_id, "hospital", "GH-0447109")
    job.pull(bridge, case_id)
    return bridge.store.images.of_case(case_id)


def _came_by(bridge: Bridge, instances: Sequence[Instance]) -> set[str]:
    """The first words of the requests that brought the images."""
    rows = [bridge.store.originals.get(one.original) for one in instances]
    return {row.request.partition(" ")[0] for row in rows if row}


def test_a_pushed_study_lands_in_the_case_of_its_patient(
    bridge: Bridge, ehr: FhirServer, orthanc_pacs: Orthanc, drawn: Drawn
) -> None:
    _fill(orthanc_pacs, drawn.pushed, bridge)
    bridge.add_provider(_hospital(ehr, orthanc_pacs, "dimse"))
    case_id = job.open_case(bridge, CHART, "hospital")
    study = str(dcmread(drawn.pushed[0], stop_before_pixels=True).StudyInstanceUID)
    pushed = orthanc_pacs.push(study, "bridge")
    assert (pushed["InstancesCount"], pushed["FailedInstancesCount"]) == (len(drawn.pushed), 0)
    instances = bridge.store.images.of_case(case_id)
    assert all(one.pushed and one.source == "hospital" for one in instances)
    assert images.of_bridge(bridge, instances) == images.of_files(drawn.pushed)
    assert not bridge.store.images.unassigned()


def test_a_pushed_study_of_nobody_we_know_waits_unassigned(
    bridge: Bridge, ehr: FhirServer, orthanc_pacs: Orthanc
) -> None:
    stranger = Path(str(get_testdata_file("CT_small.dcm")))
    _fill(orthanc_pacs, [stranger], bridge)
    bridge.add_provider(_hospital(ehr, orthanc_pacs, "dimse"))
    case_id = job.open_case(bridge, CHART, "hospital")
    told = dcmread(stranger, stop_before_pixels=True)
    orthanc_pacs.push(str(told.StudyInstanceUID), "bridge")
    (waiting,) = bridge.store.images.unassigned()
    assert waiting.sop_uid == str(told.SOPInstanceUID)
    assert not bridge.store.images.of_case(case_id)
