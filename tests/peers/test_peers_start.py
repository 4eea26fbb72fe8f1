"""Each foreign peer by itself, without the bridge: it starts, and does what we will rely on."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psycopg
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from .dcmtk import iod_errors
from .fhir_server import request
from .keys import ASSERTION_TYPE
from .orthanc import Modality

if TYPE_CHECKING:
    from collections.abc import Callable

    from .chromium import OpenPage
    from .dcmtk import Dcmtk, Receiver
    from .fhir_server import Answer, FhirServer
    from .keys import ClientKeys
    from .oidc_provider import TokenServer
    from .orthanc import Orthanc
    from .postgres import Postgres
    from .validator import Judges

FHIR_SERVERS = ["sekmet_open", "medplum_open"]
TOKEN = {"Content-Type": "application/x-www-form-urlencoded"}


def _chart(patient: str, documents: int) -> list[dict[str, Any]]:
    subject = {"reference": f"Patient/{patient}"}
    chart: list[dict[str, Any]] = [{"resourceType": "Patient", "id": patient, "gender": "other"}]
    for number in range(documents):
        name = f"{patient}-{number}"
        letter = base64.b64encode(f"letter {number}".encode()).decode()
        chart.append(
            {"resourceType": "Binary", "id": name, "contentType": "text/plain", "data": letter}
        )
        chart.append(
            {
                "resourceType": "DocumentReference",
                "id": name,
                "status": "current",
                "subject": subject,
                "content": [{"attachment": {"contentType": "text/plain", "url": f"Binary/{name}"}}],
            }
        )
    return chart


def _all_pages(server: FhirServer, query: str) -> list[str]:
    found, path = [], query
    while path:
        page = server.read(path)
        found += [one["resource"]["id"] for one in page.get("entry", [])]
        links = {link["relation"]: link["url"] for link in page.get("link", [])}
        path = links.get("next", "").removeprefix(server.base)
    return found


def _ask_token(
    token_url: str, keys: ClientKeys, alg: str, scope: str, assertion: str | None = None
) -> Answer:
    form = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion or keys.assertion(alg, token_url),
    }
    return request("POST", token_url, urlencode(form).encode(), TOKEN)


def _discover(server: FhirServer) -> str:
    found = request("GET", f"{server.base}/.well-known/smart-configuration").json()
    return str(found["token_endpoint"])


@pytest.mark.parametrize("name", FHIR_SERVERS)
def test_a_fhir_server_creates_reads_and_updates_with_versions(
    name: str, request: pytest.FixtureRequest
) -> None:
    server: FhirServer = request.getfixturevalue(name)
    made = server.ask("POST", "/Patient", b'{"resourceType":"Patient","gender":"female"}')
    patient = made.json()
    path = f"/Patient/{patient['id']}"
    body = b'{"resourceType":"Patient","id":"%s","gender":"other"}' % patient["id"].encode()
    changed = server.ask("PUT", path, body, {"If-Match": made.headers["etag"]})
    late = server.ask("PUT", path, body, {"If-Match": made.headers["etag"]})
    assert (made.status, changed.status, late.status) == (201, 200, 412)
    assert server.read(path)["gender"] == "other"


@pytest.mark.parametrize("name", FHIR_SERVERS)
def test_a_loaded_chart_is_found_page_by_page(name: str, request: pytest.FixtureRequest) -> None:
    server: FhirServer = request.getfixturevalue(name)
    server.load(_chart("paged", 25))
    found = _all_pages(server, "/DocumentReference?patient=paged&_count=10")
    assert sorted(found) == sorted(f"paged-{number}" for number in range(25))


def test_sekmet_answers_a_binary_as_json(sekmet_open: FhirServer) -> None:
    sekmet_open.load(_chart("json-binary", 1))
    stored = sekmet_open.read("/Binary/json-binary-0")
    assert base64.b64decode(stored["data"]) == b"letter 0"


def test_medplum_takes_and_gives_a_binary_as_raw_bytes(medplum_open: FhirServer) -> None:
    pdf = b"%PDF-1.7 \x00\xff"
    raw = {"Content-Type": "application/pdf", "Accept": "application/pdf"}
    made = medplum_open.ask("POST", "/Binary", pdf, raw)
    got = medplum_open.ask("GET", f"/Binary/{made.json()['id']}", headers=raw)
    assert (made.status, got.headers["content-type"], got.body) == (201, "application/pdf", pdf)


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_the_token_server_gives_a_token_once_for_an_assertion(
    alg: str, token_server: TokenServer, client_keys: ClientKeys
) -> None:
    url = token_server.token_url
    assertion = client_keys.assertion(alg, url)
    first = _ask_token(url, client_keys, alg, "system/Patient.rs", assertion)
    again = _ask_token(url, client_keys, alg, "system/Patient.rs", assertion)
    assert (first.status, first.json()["scope"]) == (200, "system/Patient.rs")
    assert (again.status, again.json()["error"]) == (401, "invalid_client")
    assert token_server.refusals()[-1] == "client assertion tokens must only be used once"


@pytest.mark.parametrize("wrong", [{"aud": "http://127.0.0.1:1/token"}, {"exp": 1}, {"iss": "x"}])
def test_the_token_server_refuses_a_wrong_assertion(
    wrong: dict[str, Any], token_server: TokenServer, client_keys: ClientKeys
) -> None:
    url = token_server.token_url
    assertion = client_keys.assertion("RS384", url, **wrong)
    assert _ask_token(url, client_keys, "RS384", "system/*.rs", assertion).status == 401


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
@pytest.mark.parametrize("name", ["sekmet_smart", "medplum_smart"])
def test_a_guarded_fhir_server_opens_to_a_token_and_only_as_far_as_its_scope(
    name: str, alg: str, client_keys: ClientKeys, request: pytest.FixtureRequest
) -> None:
    server: FhirServer = request.getfixturevalue(name)
    server.load(_chart(f"guarded-{alg.lower()}", 1))
    granted = _ask_token(_discover(server), client_keys, alg, "system/Patient.rs").json()
    with_token = {"Authorization": f"Bearer {granted['access_token']}"}
    without_token = {"Authorization": ""}
    patient = f"/Patient/guarded-{alg.lower()}"
    assert server.ask("GET", patient, headers=without_token).status == 401
    assert server.ask("GET", patient, headers=with_token).status == 200
    assert server.ask("GET", "/Observation?patient=x", headers=with_token).status == 403


def _ct() -> Path:
    return Path(str(get_testdata_file("CT_small.dcm")))


def test_orthanc_stores_finds_by_qido_and_answers_an_echo(
    orthanc_pacs: Orthanc, dcmtk_clients: Dcmtk
) -> None:
    stored = orthanc_pacs.store(_ct().read_bytes())
    studies = request("GET", f"{orthanc_pacs.dicomweb}/studies").json()
    assert stored["Status"] == "Success"
    assert studies[0]["0020000D"]["Value"] == [str(dcmread(_ct()).StudyInstanceUID)]
    assert dcmtk_clients.echo(orthanc_pacs.node).code == 0


def test_orthanc_pushes_a_study_to_a_node(orthanc_pacs: Orthanc, dcmtk_receiver: Receiver) -> None:
    orthanc_pacs.store(_ct().read_bytes())
    node = dcmtk_receiver.node
    orthanc_pacs.add_modality("bridge", Modality(node.aet, node.port))
    pushed = orthanc_pacs.push(str(dcmread(_ct()).StudyInstanceUID), "bridge")
    assert (pushed["InstancesCount"], pushed["FailedInstancesCount"]) == (1, 0)
    assert len(list(dcmtk_receiver.folder.iterdir())) == 1


def test_dcmtk_stores_finds_gets_and_moves_at_orthanc(
    orthanc_pacs: Orthanc, dcmtk_clients: Dcmtk, dcmtk_receiver: Receiver, tmp_path: Path
) -> None:
    study = f"StudyInstanceUID={dcmread(_ct()).StudyInstanceUID}"
    level = "QueryRetrieveLevel=STUDY"
    pacs, there = orthanc_pacs.node, dcmtk_receiver.node
    orthanc_pacs.add_modality("there", Modality(there.aet, there.port))
    got = tmp_path / "got"
    got.mkdir()
    assert dcmtk_clients.store(pacs, [_ct()]).code == 0
    assert str(dcmread(_ct()).StudyInstanceUID) in dcmtk_clients.find(pacs, level, study).output
    assert dcmtk_clients.get(pacs, got, level, study).code == 0
    assert dcmtk_clients.move(pacs, there.aet, level, study).code == 0
    assert [len(list(into.iterdir())) for into in (got, dcmtk_receiver.folder)] == [1, 1]


def test_dcmtk_sends_a_folder(
    dcmtk_clients: Dcmtk, dcmtk_receiver: Receiver, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "ct").write_bytes(_ct().read_bytes())
    assert dcmtk_clients.send(dcmtk_receiver.node, folder).code == 0
    assert len(list(dcmtk_receiver.folder.iterdir())) == 1


def test_dciodvfy_names_what_an_object_lacks(tmp_path: Path) -> None:
    lacking = dcmread(_ct())
    del lacking.PatientID
    lacking.save_as(tmp_path / "lacking.dcm")
    found = set(iod_errors(tmp_path / "lacking.dcm")) - set(iod_errors(_ct()))
    assert any("PatientID" in error for error in found)


def test_postgres_gives_each_test_a_database_that_is_durable(
    postgres_cluster: Postgres, postgres_url: str
) -> None:
    plain = postgres_url.replace("+psycopg", "")
    with psycopg.connect(plain) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    assert postgres_cluster.accepts()


def test_chromium_shows_a_page_and_tells_its_console_errors(open_page: OpenPage) -> None:
    open_page.page.goto("data:text/html,<h1>Case</h1><script>console.error('late');x.y</script>")
    assert open_page.page.inner_text("h1") == "Case"
    assert open_page.errors == ["late", "x is not defined"]


def test_chromium_reaches_no_other_host(open_page: OpenPage) -> None:
    open_page.page.goto("data:text/html,<img src='http://unreachable.example/x.png'>")
    open_page.page.wait_for_load_state("load")
    assert any("ERR_NAME_NOT_RESOLVED" in error for error in open_page.errors)


DOCUMENT: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "document",
    "identifier": {
        "system": "urn:ietf:rfc:3986",
        "value": "urn:uuid:0f4b7b9e-3a53-4a54-8a35-1f9f7ad7bb01",
    },
    "timestamp": "2026-01-02T03:04:05Z",
    "entry": [
        {
            "fullUrl": "urn:uuid:0f4b7b9e-3a53-4a54-8a35-1f9f7ad7bb02",
            "resource": {
                "resourceType": "Composition",
                "status": "final",
                "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
                "subject": {"reference": "urn:uuid:0f4b7b9e-3a53-4a54-8a35-1f9f7ad7bb03"},
                "date": "2026-01-02T03:04:05Z",
                "author": [{"display": "Specialist"}],
                "title": "Opinion",
                "section": [
                    {
                        "title": "Opinion",
                        "text": {
                            "status": "additional",
                            "div": '<div xmlns="http://www.w3.org/1999/xhtml">No change.</div>',
                        },
                    }
                ],
            },
        },
        {
            "fullUrl": "urn:uuid:0f4b7b9e-3a53-4a54-8a35-1f9f7ad7bb03",
            "resource": {
                "resourceType": "Patient",
                "extension": [{"url": "http://example.org/unknown", "valueString": "kept"}],
                "gender": "female",
            },
        },
    ],
}


def _without_timestamp(document: dict[str, Any]) -> None:
    del document["timestamp"]


def _composition_last(document: dict[str, Any]) -> None:
    document["entry"].reverse()


def _with_a_bad_code(document: dict[str, Any]) -> None:
    document["entry"][1]["resource"]["gender"] = "woman"


def _without_a_status(document: dict[str, Any]) -> None:
    del document["entry"][0]["resource"]["status"]


def _with_a_dangling_subject(document: dict[str, Any]) -> None:
    document["entry"][0]["resource"]["subject"]["reference"] = "urn:uuid:" + "0" * 8


MUTANTS = [
    _without_timestamp,
    _composition_last,
    _with_a_bad_code,
    _without_a_status,
    _with_a_dangling_subject,
]


def test_no_judge_finds_an_error_in_a_good_document(judges: Judges) -> None:
    assert judges.judge(DOCUMENT) == {"hapi": [], "medplum": [], "fhirkit": []}


@pytest.mark.parametrize("break_it", MUTANTS)
def test_the_hapi_judge_finds_each_broken_document(
    break_it: Callable[[dict[str, Any]], None], judges: Judges
) -> None:
    document = copy.deepcopy(DOCUMENT)
    break_it(document)
    assert judges.by_name["hapi"].validate(document)


def test_every_judge_asks_for_a_missing_status(judges: Judges) -> None:
    document = copy.deepcopy(DOCUMENT)
    _without_a_status(document)
    assert all(judges.judge(document).values())


def test_every_judge_refuses_what_is_no_json(judges: Judges) -> None:
    assert all(judges.judge(b"%PDF-1.7").values())
