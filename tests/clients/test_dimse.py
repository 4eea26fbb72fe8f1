"""The DIMSE client against a PACS in this process, well-behaved and not."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
from dataclasses import dataclass, field, replace

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MRImageStorage,
)
from pynetdicom import AE, evt

from fhir_bridge.case.case import DimseNode
from fhir_bridge.case.imaging import InstanceClaim, StudyClaim
from fhir_bridge.clients import dimse
from fhir_bridge.clients.dimse import DimseClient, Patience
from fhir_bridge.errors import AssociationRejected, DicomError, ProviderUnreachable, StorageFull

from .images import PATIENT_ID, SERIES, STUDY, image

QUICK = Patience(connect=2, acse=2, dimse=2, retrieve=3)


@dataclass
class Pacs:
    """A query/retrieve SCP over a list of images."""

    images: list[Dataset]
    status: int = 0x0000
    destination: tuple[str, int] | None = None
    queries: list[Dataset] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    moved_to: list[str] = field(default_factory=list)
    send: object = None

    def matching(self, query: Dataset) -> list[Dataset]:
        keys = ("PatientID", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID",
                "SOPInstanceUID")  # fmt: skip

        def fits(one: Dataset, key: str) -> bool:
            wanted = query.get(key)
            if not wanted:
                return True
            return one.get(key) in ([wanted] if isinstance(wanted, str) else wanted)

        return [one for one in self.images if all(fits(one, key) for key in keys)]

    def find(self, event):
        query = event.identifier
        self.queries.append(query)
        if self.status:
            yield self.status, None
            return
        unique = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID",
                  "IMAGE": "SOPInstanceUID"}[query.QueryRetrieveLevel]  # fmt: skip
        for one in {one.get(unique): one for one in self.matching(query)}.values():
            row = Dataset()
            for element in query:
                if element.keyword in one:
                    row[element.keyword] = one[element.keyword]
            if query.QueryRetrieveLevel == "STUDY":
                row.ModalitiesInStudy, row.NumberOfStudyRelatedInstances = ["CT", "OT"], 3
            yield 0xFF00, row

    def get(self, event):
        self.queries.append(event.identifier)
        found = self.matching(event.identifier)
        if self.status:
            yield 1
            yield self.status, None
            return
        yield len(found)
        for one in found:
            yield 0xFF00, one

    def move(self, event):
        self.moved_to.append(event.move_destination)
        yield self.destination or (None, None)
        found = self.matching(event.identifier)
        yield len(found)
        for one in found:
            yield 0xFF00, one


@pytest.fixture
def serve():
    servers = []

    def start(
        pacs: Pacs,
        *,
        title="PACS",
        classes=(CTImageStorage, EncapsulatedPDFStorage),
        services=(dimse.Verification, dimse.FIND, dimse.GET, dimse.MOVE),
    ):
        entity = AE(ae_title=title)
        entity.require_called_aet = True
        entity.network_timeout = 10
        for model in services:
            entity.add_supported_context(model)
        for sop_class in classes:
            entity.add_supported_context(
                sop_class, [ExplicitVRLittleEndian, JPEGBaseline8Bit], scu_role=True, scp_role=True
            )
            entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
        server = entity.start_server(
            ("127.0.0.1", 0), block=False,
            evt_handlers=[(evt.EVT_C_FIND, pacs.find), (evt.EVT_C_GET, pacs.get),
                          (evt.EVT_C_MOVE, pacs.move)],
        )  # fmt: skip
        servers.append(server)
        node = DimseNode("PACS", "127.0.0.1", server.socket.getsockname()[1])
        return DimseClient(node, "BRIDGE", 11112, source="general", patience=QUICK)

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture
def pacs():
    return Pacs([
        image(1), image(2), image(1, sop_class=EncapsulatedPDFStorage, series=f"{STUDY}.2")
    ])  # fmt: skip


@pytest.fixture
def inbox():
    return []


@pytest.fixture
def deliver(inbox):
    return lambda arrival: inbox.append((arrival, b"".join(arrival.chunks)))


def test_echo(serve, pacs):
    assert serve(pacs).echo().startswith("PYNETDICOM")


def test_a_wrong_title_is_told_with_the_reason(serve, pacs):
    client = serve(pacs, title="OTHER")
    with pytest.raises(AssociationRejected, match="Called AE title not recognised"):
        client.echo()


# The library drops its socket without closing it when nobody listens.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_listening_is_unreachable():
    client = DimseClient(DimseNode("PACS", "127.0.0.1", 1), "BRIDGE", 11112, patience=QUICK)
    with pytest.raises(ProviderUnreachable):
        client.echo()
    gc.collect()


def test_a_pacs_without_the_service_is_told(serve, pacs):
    client = serve(pacs)
    with (
        pytest.raises(AssociationRejected, match="no presentation context"),
        client._association([dimse.build_context("1.2.3")]),
    ):
        pass


def test_an_archive_that_takes_the_images_but_not_the_service_is_told(serve, pacs, deliver):
    client = serve(pacs, services=(dimse.Verification, dimse.FIND))
    with pytest.raises(AssociationRejected, match="does not offer this service"):
        client.get(STUDY, (), deliver)


def test_a_peer_that_says_nothing_is_left_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node = DimseNode("PACS", *silent.getsockname())
        begun = time.monotonic()
        with pytest.raises(AssociationRejected):
            DimseClient(node, "BRIDGE", 11112, patience=QUICK).echo()
        assert time.monotonic() - begun < 5


def test_a_peer_that_stops_in_the_middle_of_a_message_is_left_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as half:

        def answer_half():
            connection, _ = half.accept()
            connection.recv(4096)
            connection.sendall(b"\x02\x00\x00\x00\x00\xff\x00\x01")
            time.sleep(6)
            connection.close()

        threading.Thread(target=answer_half, daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(AssociationRejected):
            DimseClient(DimseNode("PACS", *half.getsockname()), "BRIDGE", 1, patience=QUICK).echo()
        assert time.monotonic() - begun < 5


def test_the_studies_of_a_patient_are_claims(serve, pacs):
    claim = StudyClaim(STUDY, "A1", "CT head", "20240102", ("CT", "OT"), 3)
    client = serve(pacs)
    assert client.list_studies(PATIENT_ID) == (claim,)
    assert client.find_study(STUDY) == client.find_study(accession="A1") == (claim,)
    assert client.list_studies("nobody") == ()


def test_rows_about_another_patient_are_not_believed(serve, pacs):
    client = serve(pacs)
    pacs.matching = lambda query: pacs.images
    assert client.list_studies("P2") == ()


def test_the_instances_are_listed_through_their_series(serve, pacs):
    claims = serve(pacs).list_instances(STUDY)
    assert [(c.series_uid, c.sop_uid, c.sop_class) for c in claims] == [
        (one.SeriesInstanceUID, one.SOPInstanceUID, one.SOPClassUID) for one in pacs.images
    ]
    assert [q.QueryRetrieveLevel for q in pacs.queries] == ["SERIES", "IMAGE", "IMAGE"]


def test_a_failed_query_is_told_in_words(serve, pacs):
    client = serve(replace(pacs, status=0xA700))
    with pytest.raises(DicomError, match="C-FIND A700"):
        client.list_studies(PATIENT_ID)


def test_a_study_comes_by_get_with_the_bytes_as_sent(serve, pacs, deliver, inbox):
    report = serve(pacs).for_case("case-1").get(STUDY, (), deliver)
    assert (report.status, report.completed, report.failed) == ("0000", 3, 0)
    assert [a.sop_uid for a, _ in inbox] == [one.SOPInstanceUID for one in pacs.images]
    arrival, body = inbox[0]
    assert not arrival.part10
    assert arrival.transfer_syntax == ExplicitVRLittleEndian
    assert (arrival.source, arrival.case_id, arrival.how) == ("general", "case-1", "C-STORE")
    assert arrival.sop_class == CTImageStorage
    read = read_dataset(DicomBytesIO(body), is_implicit_VR=False, is_little_endian=True)
    assert read == pacs.images[0]


def test_only_the_wanted_instances_are_asked_for(serve, pacs, deliver, inbox):
    wanted = InstanceClaim(STUDY, SERIES, f"{SERIES}.2", CTImageStorage)
    assert serve(pacs).get(STUDY, [wanted], deliver).completed == 1
    assert [a.sop_uid for a, _ in inbox] == [f"{SERIES}.2"]
    assert pacs.queries[-1].QueryRetrieveLevel == "IMAGE"


def test_an_archive_that_hides_sop_classes_is_asked_for_all_of_the_table(
    serve, pacs, deliver, inbox
):
    wanted = [InstanceClaim(STUDY, SERIES, f"{SERIES}.{n}") for n in (1, 2)]
    serve(pacs).get(STUDY, wanted, deliver)
    assert {a.sop_uid for a, _ in inbox} == {f"{SERIES}.1", f"{SERIES}.2"}


def test_many_sop_classes_are_asked_for_in_several_associations(serve, pacs, deliver, inbox,
                                                               monkeypatch):  # fmt: skip
    monkeypatch.setattr(dimse, "MOST_CONTEXTS", 2)
    report = serve(pacs).get(STUDY, (), deliver)
    assert report.completed == 3
    assert {a.sop_class for a, _ in inbox} == {CTImageStorage, EncapsulatedPDFStorage}


def test_a_class_that_the_pacs_does_not_send_is_in_its_counters(serve, pacs, deliver, inbox):
    pacs.images.append(image(1, sop_class=MRImageStorage, series=f"{STUDY}.3"))
    report = serve(pacs).get(STUDY, (), deliver)
    assert len(inbox) == 3
    assert (report.status, report.failed) == ("B000", 1)
    assert report.failed_uids == (f"{STUDY}.3.1",)


def test_an_instance_is_acknowledged_only_after_its_delivery(serve, pacs):
    def slow(arrival):
        time.sleep(0.2)
        delivered.append(time.monotonic())

    delivered = []
    serve(pacs).get(STUDY, (), slow)
    assert len(delivered) == 3


def test_a_full_store_is_answered_so_and_raised(serve, pacs, inbox):
    def full(arrival):
        inbox.append(arrival)
        raise StorageFull("ENOSPC")

    with pytest.raises(StorageFull):
        serve(pacs).get(STUDY, (), full)
    assert len(inbox) == 1


def test_a_move_goes_to_ourselves_and_its_counters_are_reported(serve, pacs):
    received = []
    entity = AE(ae_title="BRIDGE")
    entity.add_supported_context(CTImageStorage)
    entity.add_supported_context(EncapsulatedPDFStorage)
    entity.network_timeout = 10

    def store(event):
        received.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    ours = entity.start_server(("127.0.0.1", 0), block=False,
                               evt_handlers=[(evt.EVT_C_STORE, store)])  # fmt: skip
    try:
        pacs.destination = ours.socket.getsockname()
        report = serve(pacs).move(STUDY, ())
    finally:
        ours.shutdown()
    assert pacs.moved_to == ["BRIDGE"]
    assert (report.status, report.completed) == ("0000", 3)
    assert len(received) == 3


def test_an_unknown_destination_is_told_in_words(serve, pacs):
    report = serve(pacs).move(STUDY, ())
    assert report.status == "A801"
    assert "AE title" in report.words


def test_a_peer_that_falls_silent_in_a_retrieve_is_left(serve, pacs):
    def hang(query):
        time.sleep(5)
        return []

    client = serve(pacs)
    wanted = [InstanceClaim(STUDY, SERIES, f"{SERIES}.1", CTImageStorage)]
    pacs.matching = hang
    begun = time.monotonic()
    with pytest.raises(AssociationRejected, match="lost"):
        client.get(STUDY, wanted, lambda arrival: None)
    assert time.monotonic() - begun < 5


def test_no_identifier_is_logged(serve, pacs, deliver, caplog):
    caplog.set_level(logging.DEBUG)
    client = serve(pacs)
    client.list_studies(PATIENT_ID)
    client.get(STUDY, (), deliver)
    assert "DOE" not in caplog.text
    assert PATIENT_ID not in caplog.text
