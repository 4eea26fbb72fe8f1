"""STOW-RS through a real server: every part has its own answer, every error is a proper one."""

from __future__ import annotations

import http.client
import socket
import threading
import time

import pytest
import simplejson
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from pydicom.uid import JPEGLSLossless

from fhir_bridge.errors import StorageFull
from fhir_bridge.servers.dicomweb.stow import router

STORED, FAILED = "00081199", "00081198"


def sender(authorization: str = Header("")) -> str:
    if authorization != "Bearer good":
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return "general"


class Door:
    """Speaks plain HTTP/1.1 to the server, so that broken requests can be sent as well."""

    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, body: bytes, *, path="/dicom-web/studies", token="good", kind=None):
        kind = kind or 'multipart/related; type="application/dicom"; boundary=XX'
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Content-Type": kind, "Authorization": f"Bearer {token}"}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kind = answer.headers.get("content-type", "")
        return answer.status, kind, simplejson.loads(content) if content else None


def multipart(*bodies: bytes, kind="application/dicom", boundary="XX") -> bytes:
    parts = [
        f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + body + b"\r\n" for body in bodies
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


@pytest.fixture
def serve():
    running = []

    def started(receiver, **options) -> Door:
        app = FastAPI()
        app.include_router(router(receiver, sender=sender, **options))
        config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread, listener))
        while not server.started:
            time.sleep(0.01)
        return Door(port)

    yield started
    for server, thread, listener in running:
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture
def door(serve, receiver):
    return serve(receiver)


def uids(answer, which):
    return [
        item["00081155"].get("Value", [""])[0] for item in answer.get(which, {}).get("Value", [])
    ]


def test_good_instances_are_stored_byte_for_byte_and_answered_200(stand, shelf, door):
    bodies = [stand.part10(stand.dataset(n)) for n in (1, 2)]
    bodies.append(stand.part10(stand.dataset(3), JPEGLSLossless))
    status, kind, answer = door.post(multipart(*bodies))
    assert (status, kind) == (200, "application/dicom+json")
    assert uids(answer, STORED) == [f"{stand.ROOT}.3.{n}" for n in (1, 2, 3)]
    assert FAILED not in answer
    assert [shelf.body(row["sha256"]) for row in shelf.rows()] == bodies


def test_one_bad_instance_of_three_is_answered_202_and_the_good_ones_are_stored(stand, shelf, door):
    good = [stand.part10(stand.dataset(n)) for n in (1, 3)]
    cut = stand.part10(stand.dataset(2))[:-50]
    status, _, answer = door.post(multipart(good[0], cut, good[1]))
    assert status == 202
    assert uids(answer, STORED) == [f"{stand.ROOT}.3.{n}" for n in (1, 3)]
    [failed] = answer[FAILED]["Value"]
    assert failed["00081155"]["Value"] == [f"{stand.ROOT}.3.2"]
    assert failed["00081197"] == {"vr": "US", "Value": [0xC000]}


def test_only_bad_instances_are_answered_409(door):
    status, _, answer = door.post(multipart(b"no image at all" * 30))
    assert status == 409
    assert answer[FAILED]["Value"][0]["00081197"]["Value"] == [0xC000]


def test_a_part_of_another_study_fails_alone(stand, door):
    mine = stand.part10(stand.dataset(1))
    other = stand.part10(stand.dataset(2, StudyInstanceUID=f"{stand.ROOT}.77"))
    path = f"/dicom-web/studies/{stand.ROOT}.1"
    status, _, answer = door.post(multipart(mine, other), path=path)
    assert status == 202
    assert uids(answer, FAILED) == [f"{stand.ROOT}.3.2"]
    assert answer[FAILED]["Value"][0]["00081197"]["Value"] == [0xA900]


def test_a_part_that_is_no_dicom_by_its_own_word_is_not_read(shelf, door):
    status, _, _ = door.post(multipart(b"{}", kind="application/json"))
    assert (status, shelf.blobs()) == (409, set())


def test_a_body_that_ends_inside_a_part_keeps_only_the_whole_parts(stand, shelf, door):
    body = multipart(stand.part10(stand.dataset(1)), stand.part10(stand.dataset(2)))
    status, _, answer = door.post(body[: len(body) - 600])
    assert status == 202
    assert uids(answer, STORED) == [f"{stand.ROOT}.3.1"]
    assert len(shelf.rows()) == 1


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", None, 400),
        (b"rubbish", None, 400),
        (b"--YY\r\n\r\n", None, 400),
        (b"--XX--\r\n", None, 400),
        (b"{}", "application/json", 415),
        (b"x", 'multipart/related; type="application/dicom"', 400),
        (b"x", 'multipart/related; type="application/dicom+json"; boundary=XX', 415),
        (b"x", "multipart/related; boundary=" + "b" * 5000, 400),
    ],
)
def test_every_broken_request_gets_a_proper_answer(shelf, door, body, kind, status):
    answered, type_, problem = door.post(body, kind=kind)
    assert (answered, type_) == (status, "application/problem+json")
    assert problem["code"].startswith("FB-")
    assert shelf.blobs() == set()


def test_an_address_without_a_study_uid_is_refused(stand, door):
    body = multipart(stand.part10(stand.dataset()))
    assert door.post(body, path="/dicom-web/studies/not-a-uid")[0] == 400


def test_nobody_without_a_login_gets_in(stand, shelf, door):
    status, _, _ = door.post(multipart(stand.part10(stand.dataset())), token="bad")
    assert (status, shelf.blobs()) == (401, set())


def test_a_request_beyond_the_cap_is_answered_413(stand, serve, receiver):
    small = serve(receiver, max_request_bytes=1000)
    assert small.post(multipart(stand.part10(stand.dataset())))[0] == 413


def test_a_full_storage_tells_the_sender_to_try_again(stand, serve):
    class Full:
        def accept(self, arrival):
            raise StorageFull("ENOSPC")

    status, _, answer = serve(Full()).post(multipart(stand.part10(stand.dataset())))
    assert status == 409
    assert answer[FAILED]["Value"][0]["00081197"]["Value"] == [0xA700]


def test_a_sender_that_goes_away_leaves_nothing_half(stand, shelf, door):
    body = multipart(stand.part10(stand.dataset(1)), stand.part10(stand.dataset(2)))
    head = (
        "POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
        'Content-Type: multipart/related; type="application/dicom"; boundary=XX\r\n'
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", door.port)) as peer:
        peer.sendall(head.encode() + body[:-900])
        time.sleep(0.3)
    time.sleep(0.3)
    assert [row["sop"] for row in shelf.rows()] == [f"{stand.ROOT}.3.1"]
    assert list((shelf.folder / "incoming").iterdir()) == []


def test_many_instances_arrive_in_one_request(stand, shelf, door):
    bodies = [stand.part10(stand.dataset(n)) for n in range(1, 61)]
    status, _, answer = door.post(multipart(*bodies))
    assert (status, len(uids(answer, STORED)), len(shelf.rows())) == (200, 60, 60)
