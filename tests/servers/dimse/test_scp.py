"""The DIMSE door, knocked at by pynetdicom's own SCU: what arrives is what was sent."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time

import pytest
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)
from pynetdicom import AE, _config, build_context

from fhir_bridge.errors import NotAllowed, PortTaken, StorageFull
from fhir_bridge.servers.dimse.scp import ScpSettings, StorageScp
from fhir_bridge.standards.dicom.part10 import read_meta

PRIVATE_CLASS = "1.3.46.670589.11.0.0.12.1"


@pytest.fixture
def listen():
    started = []

    def start(receiver, **settings):
        scp = StorageScp(receiver, ScpSettings(port=0, **settings))
        scp.start()
        started.append(scp)
        return scp

    yield start
    for scp in started:
        scp.stop(drain_seconds=1)


@pytest.fixture
def scp(listen, receiver):
    return listen(receiver)


def associate(scp, contexts, *, calling="MODALITY", called="FHIRBRIDGE"):
    entity = AE(ae_title=calling)
    for sop_class, syntaxes in contexts:
        entity.add_requested_context(sop_class, syntaxes)
    entity.acse_timeout = entity.dimse_timeout = 10
    return entity.associate("127.0.0.1", scp.port, ae_title=called)


def send(association, path):
    """Send the data set bytes of a file as they are; the status word."""
    try:
        return association.send_c_store(path).Status
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = False


@pytest.fixture
def push(scp, tmp_path, monkeypatch, stand):
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)

    def pushed(made, syntax=ExplicitVRLittleEndian, *, offered=None, to=scp):
        path = tmp_path / f"{made.SOPInstanceUID}.dcm"
        path.write_bytes(stand.part10(made, syntax))
        association = associate(to, [(made.SOPClassUID, offered or [syntax])])
        assert association.is_established
        raw = association.dul.socket.socket
        try:
            return association.send_c_store(path).Status
        finally:
            association.release()
            raw.close()  # pynetdicom leaves it open when the peer went first

    return pushed


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGLSLossless])
def test_a_pushed_ct_is_kept_byte_for_byte(stand, shelf, push, syntax):
    made = stand.dataset()
    assert push(made, syntax) == 0x0000
    [row] = shelf.rows()
    kept = shelf.body(row["sha256"])
    meta = read_meta(kept)
    assert meta.transfer_syntax == syntax
    assert kept[meta.length :] == stand.bare(stand.part10(stand.dataset(), syntax))


def test_the_sender_s_preferred_transfer_syntax_wins(scp):
    offered = [JPEGLSLossless, ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    for order in (offered, offered[::-1]):
        association = associate(scp, [(CTImageStorage, order)])
        assert association.accepted_contexts[0].transfer_syntax == [order[0]]
        association.release()


def test_two_contexts_of_a_class_each_keep_their_own_preference(scp):
    orders = [[ImplicitVRLittleEndian], [ExplicitVRLittleEndian, ImplicitVRLittleEndian]]
    contexts = [build_context(CTImageStorage, order) for order in orders]
    entity = AE(ae_title="MODALITY")
    association = entity.associate("127.0.0.1", scp.port, contexts, ae_title="FHIRBRIDGE")
    chosen = [c.transfer_syntax[0] for c in association.accepted_contexts]
    association.release()
    assert chosen == [ImplicitVRLittleEndian, ExplicitVRLittleEndian]


def test_an_echo_is_answered(scp):
    association = associate(scp, [("1.2.840.10008.1.1", [ImplicitVRLittleEndian])])
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_a_private_class_is_kept_as_evidence(stand, shelf, push):
    assert push(stand.dataset(SOPClassUID=PRIVATE_CLASS)) == 0x0000
    assert len(shelf.rows()) == 1


def test_query_and_retrieve_are_not_offered(scp):
    models = ["1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"]
    contexts = [(m, [ImplicitVRLittleEndian]) for m in models]
    contexts.append(("1.2.840.10008.1.1", [ImplicitVRLittleEndian]))
    association = associate(scp, contexts)
    assert [c.abstract_syntax for c in association.accepted_contexts] == ["1.2.840.10008.1.1"]
    association.release()


def test_an_image_that_names_itself_differently_is_answered_a900(stand, shelf, scp, tmp_path):
    association = associate(scp, [(CTImageStorage, [ExplicitVRLittleEndian])])
    made = stand.dataset()
    stand.part10(made)
    # The command takes its UID from the File Meta, the data set keeps its own.
    path = tmp_path / "other.dcm"
    body = stand.part10(stand.dataset())
    old = f"{stand.ROOT}.3.1".encode()
    head = 144 + int.from_bytes(body[140:144], "little")
    path.write_bytes(body[:head].replace(old, old[:-1] + b"8") + body[head:])
    _config.STORE_SEND_CHUNKED_DATASET = True
    assert send(association, path) == 0xA900
    association.release()
    assert "announced" in shelf.rows()[0]["reason"]


def test_a_cut_off_image_is_answered_c000_and_kept(stand, shelf, scp, tmp_path):
    association = associate(scp, [(CTImageStorage, [ExplicitVRLittleEndian])])
    path = tmp_path / "cut.dcm"
    path.write_bytes(stand.part10(stand.dataset())[:-100])
    _config.STORE_SEND_CHUNKED_DATASET = True
    assert send(association, path) == 0xC000
    association.release()
    assert "cut off" in shelf.rows()[0]["reason"]


class Refusing:
    def __init__(self, error):
        self.error = error

    def accept(self, arrival):
        for _ in arrival.chunks:
            pass
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [(StorageFull("ENOSPC"), 0xA700), (NotAllowed(), 0x0124), (RuntimeError("a bug"), 0xA700)],
)
def test_each_refusal_has_its_own_word(stand, listen, push, error, status):
    assert push(stand.dataset(), to=listen(Refusing(error))) == status


def test_an_unknown_sender_is_rejected_and_the_operator_reads_its_exact_title(
    listen, receiver, capsys
):
    closed = listen(receiver, senders=frozenset({"PACS1"}))
    association = associate(closed, [(CTImageStorage, [ImplicitVRLittleEndian])], calling="pacs1")
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
    time.sleep(0.1)
    said = capsys.readouterr()
    assert "pacs1" in said.out + said.err
    assert "FHIR_BRIDGE_DIMSE_SENDERS" in said.out + said.err
    known = associate(closed, [(CTImageStorage, [ImplicitVRLittleEndian])], calling="PACS1")
    assert known.is_established
    known.release()


def test_a_call_for_somebody_else_is_rejected(scp):
    association = associate(scp, [(CTImageStorage, [ImplicitVRLittleEndian])], called="OTHER")
    assert association.is_rejected
    assert association.acceptor.primitive.diagnostic == 7


def test_a_taken_port_is_named(scp, receiver):
    with pytest.raises(PortTaken):
        StorageScp(receiver, ScpSettings(port=scp.port)).start()


def test_nothing_about_the_patient_is_logged(stand, push, capsys, caplog):
    with caplog.at_level(logging.DEBUG):
        push(stand.dataset())
        push(stand.dataset(2, PatientName="Okafor^Ben"))
    said = capsys.readouterr()
    for word in ("Hartmann", "Okafor", "MRN-1", "19610304"):
        assert word not in said.out + said.err + caplog.text


def closed_within(peer: socket.socket, seconds: float) -> bool:
    peer.settimeout(seconds)
    try:
        while peer.recv(1024):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_pdu_of_four_gigabytes_is_cut_before_it_is_read(scp):
    with socket.create_connection(("127.0.0.1", scp.port)) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(100))
        assert closed_within(peer, 3)


def test_half_a_pdu_and_silence_does_not_hold_an_association(listen, receiver):
    quick = listen(receiver, pdu_seconds=0.5, connect_seconds=1)
    with socket.create_connection(("127.0.0.1", quick.port)) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 500) + bytes(20))
        assert closed_within(peer, 4)


def test_a_dripping_peer_is_cut_at_the_deadline_of_its_pdu(listen, receiver):
    quick = listen(receiver, pdu_seconds=0.6, connect_seconds=2)
    with socket.create_connection(("127.0.0.1", quick.port)) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 500))
        started, dripped = time.monotonic(), 0
        try:
            while time.monotonic() - started < 4:
                peer.sendall(b"\x00")
                dripped += 1
                time.sleep(0.1)
        except OSError:
            pass
        assert dripped < 30


def test_an_instance_beyond_the_cap_loses_its_association(stand, listen, receiver, push, shelf):
    small = listen(receiver, max_instance_bytes=1000)
    with pytest.raises((RuntimeError, AttributeError)):
        push(stand.dataset(), to=small)
    assert shelf.rows() == []


def test_stopping_answers_what_is_in_flight(stand, shelf, receiver, listen, push):
    entered = threading.Event()

    class Slow:
        def accept(self, arrival):
            entered.set()
            time.sleep(0.4)
            return receiver.accept(arrival)

    slow = listen(Slow())
    answers = []
    sender = threading.Thread(target=lambda: answers.append(push(stand.dataset(), to=slow)))
    sender.start()
    assert entered.wait(5)
    slow.stop()
    sender.join(10)
    assert answers == [0x0000]
    assert len(shelf.rows()) == 1


def test_one_association_too_many_is_rejected_for_now_and_the_others_go_on(listen, receiver):
    full = listen(receiver, max_associations=2)
    context = [("1.2.840.10008.1.1", [ImplicitVRLittleEndian])]
    held = [associate(full, context) for _ in range(2)]
    third = associate(full, context)
    assert third.is_rejected
    answer = third.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
    for association in held:
        assert association.send_c_echo().Status == 0x0000
        association.release()


def test_an_idle_association_is_cut(listen, receiver):
    short = listen(receiver, idle_seconds=0.5)
    association = associate(short, [("1.2.840.10008.1.1", [ImplicitVRLittleEndian])])
    raw = association.dul.socket.socket
    deadline = time.monotonic() + 5
    while association.is_established and time.monotonic() < deadline:
        time.sleep(0.05)
    assert association.is_aborted
    raw.close()
