"""A whole console and FHIR interface over a real store, with cases in every state."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from fhir_bridge.case.case import Auth, Case, CaseState, DimseNode, Pin, PinState, TreatingProvider
from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.delivery import Delivery, DeliveryState, ReadBack
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.identity import Person
from fhir_bridge.case.ids import bridge_id, urn
from fhir_bridge.case.imaging import Instance, InstanceClaim
from fhir_bridge.case.ledger import ATTACHMENT, LedgerRow, RecordKey, RecordState
from fhir_bridge.case.opinion import Author, Cited, Opinion, Section
from fhir_bridge.case.original import How, Original
from fhir_bridge.case.record import CaseRecord, End, HeldAttachment
from fhir_bridge.case.slice import IMAGES, Page, Slice
from fhir_bridge.errors import Unreadable
from fhir_bridge.security.access import Access, Actor
from fhir_bridge.security.login import Door
from fhir_bridge.servers import console, fhir
from fhir_bridge.servers.console.room import Room
from fhir_bridge.servers.web import make_app
from fhir_bridge.settings import Settings
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.person import person
from fhir_bridge.store.opinions import StoredOpinion
from fhir_bridge.store.shelves import Store

NOW = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
GENERAL, ANNE = "general-hospital", "st-anne"
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]>>endobj
trailer<</Root 1 0 R>>
"""
OPINION = """## Question

Can the liver metastases be removed with a parenchyma-sparing operation?

## Opinion

1. The disease is technically resectable now, with intent to cure.
2. I advise against the planned right hepatectomy.

## Recommendations

- Operate within the next two to three weeks.
- Show the MR to the board and to the operating surgeon first.
"""


@dataclass
class Deeds:
    """Actions and desk that note what was asked of them."""

    done: list[tuple[Any, ...]] = field(default_factory=list)

    def new_case(
        self,
        actor: Actor,
        patient: Mapping[str, object],
        specialty: str,
        question: str,
        providers: Sequence[str],
    ) -> str:
        self.done.append(("new", actor.name, patient, specialty, question, tuple(providers)))
        return "case-new"

    def start_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        self.done.append(("pull", actor.name, case_id, source))

    def pause_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        self.done.append(("pause", actor.name, case_id, source))

    def resume_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        self.done.append(("resume", actor.name, case_id, source))

    def cancel_pull(self, actor: Actor, case_id: str, source: str | None) -> None:
        self.done.append(("cancel", actor.name, case_id, source))

    def confirm_patient(self, actor: Actor, case_id: str, source: str, patient_id: str) -> None:
        self.done.append(("confirm", actor.name, case_id, source, patient_id))

    def assign(self, actor: Actor, study_uid: str, case_id: str) -> None:
        self.done.append(("assign", actor.name, study_uid, case_id))

    def release(self, actor: Actor, case_id: str, reason: str) -> None:
        self.done.append(("release", actor.name, case_id, reason))

    def draft(self, case_id: str) -> str:
        return OPINION

    def preview_pdf(self, actor: Actor, case_id: str, text: str) -> bytes:
        self.done.append(("preview", case_id, text))
        return PDF

    def finish_opinion(self, actor: Actor, case_id: str, text: str) -> str:
        self.done.append(("finish", actor.name, case_id, text))
        return "opinion-1"


def preview(path: Path, *, size: int, deadline_seconds: float) -> bytes:
    """A round body with a few spots, drawn from the file's bytes; a marked file is refused."""
    body = path.read_bytes()
    if b"broken" in body:
        raise Unreadable("no pixels")
    seed = hashlib.sha256(body).digest()
    picture = Image.new("L", (size, size), 8)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((16, 40, size - 16, size - 40), fill=96, outline=150, width=4)
    draw.ellipse((48, 60, 150, 170), fill=128)
    draw.ellipse((size // 2 - 16, size - 96, size // 2 + 16, size - 60), fill=230)
    for n in range(4):
        x, y = 60 + seed[n] % 110, 80 + seed[n + 4] % 80
        draw.ellipse((x, y, x + 14, y + 14), fill=70 + seed[n + 8] % 100)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


class Seed:
    """Fills a store through its own interface."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def providers(self) -> None:
        general = TreatingProvider(
            GENERAL,
            "General Hospital",
            "https://ehr.general-hospital.example/R4",
            Auth.PRIVATE_KEY_JWT,
            "second-opinion",
            dimse=DimseNode("GENHOSP", "127.0.0.1", 11113),
        )
        anne = TreatingProvider(ANNE, "St. Anne Cancer Centre", "https://fhir.st-anne.example/r4")
        for provider in (general, anne):
            self.store.providers.add(provider, at=NOW)

    def case(
        self,
        id_: str,
        *,
        patient: Mapping[str, Any] | None = None,
        specialty: str = "oncology",
        question: str = "",
        providers: tuple[str, ...] = (GENERAL,),
        days_ago: int = 3,
    ) -> Case:
        patient = patient or JANE
        case = Case(
            id=id_,
            patient=patient,
            person=person(patient),
            specialty=specialty,
            question=question or QUESTION,
            providers=providers,
            opened_at=NOW - timedelta(days=days_ago),
        )
        facts = {"specialty": specialty}
        opened = Event(Happened.CASE_OPENED, id_, "local", case.opened_at, facts)
        self.store.cases.open(case, opened)
        return case

    def pinned(self, case_id: str, source: str = GENERAL) -> None:
        pin = Pin(case_id, source, PinState.ACCEPTED, "p1", "identifier+birth date+family name")
        self.store.cases.pin(pin, Event(Happened.PATIENT_PINNED, case_id, "bridge", NOW))

    def asked(self, case_id: str, source: str, *candidates: Person) -> None:
        pin = Pin(case_id, source, PinState.ASKED, candidates=candidates)
        self.store.cases.pin(pin, Event(Happened.PATIENT_ASKED, case_id, "bridge", NOW))
        self.store.cases.move(case_id, CaseState.COLLECTING)

    def original(
        self, case_id: str | None, body: bytes, name: str, source: str = GENERAL
    ) -> Original:
        blob = self.store.originals.put(body)
        return Original(
            id=f"{case_id}-{name}",
            source=source,
            how=How.GET,
            request="GET /",
            sha256=blob.sha256,
            size=blob.size,
            received_at=NOW,
            case_id=case_id,
            status=200,
        )

    def records(
        self,
        case_id: str,
        type_: str,
        resources: Sequence[Mapping[str, Any]],
        *,
        source: str = GENERAL,
        evidence: Evidence | None = None,
        ended: bool = True,
    ) -> None:
        """One page of a search that brought these resources."""
        body = json.dumps({"resourceType": "Bundle", "entry": [{"resource": r} for r in resources]})
        original = self.original(case_id, body, f"{source}-{type_}-{len(resources)}", source)
        self.store.originals.keep(original)
        rows = tuple(
            LedgerRow(
                RecordKey(source, r["resourceType"], r["id"], "1"),
                original=original.id,
                position=str(n),
            )
            for n, r in enumerate(resources)
        )
        slice_ = Slice(
            case_id,
            source,
            type_,
            question=(("patient", "p1"),),
            pages=1,
            ended=ended,
            evidence=evidence or Evidence(obtained=len(resources)),
        )
        facts = {"type": type_, "seen": len(rows)}
        seen = Event(Happened.RECORDS_SEEN, case_id, "bridge", NOW, facts)
        self.store.ledgers.turn(Page(slice_, rows, ("https://x/R4",) * len(rows)), seen)

    def file(
        self,
        case_id: str,
        parent: RecordKey,
        body: bytes | None,
        content_type: str,
        *,
        failure: str = "",
        reason: str = "",
        path: str = "content[0].attachment",
    ) -> str:
        """One attachment with its end; returns its hash."""
        key = RecordKey(parent.source, ATTACHMENT, f"{parent.id}/{path}")
        named = HeldAttachment(key, parent, path, declared=content_type)
        slice_ = self.store.ledgers.slice(case_id, parent.source, parent.kind)
        assert slice_ is not None
        self.store.ledgers.turn(Page(slice_, attachments=(named,)))
        sha256 = size = ""
        if body is not None:
            blob = self.store.originals.put(body)
            sha256, size = blob.sha256, blob.size
        held = replace(
            named,
            sha256=sha256,
            size=size or 0,
            content_type=content_type if body else "",
            failure=failure,
            reason=reason,
        )
        self.store.ledgers.settle(
            case_id, held, Event(Happened.ATTACHMENT_STORED, case_id, "bridge", NOW)
        )
        return sha256

    def images(
        self,
        case_id: str | None,
        study: str,
        series: str,
        count: int,
        *,
        modality: str = "CT",
        header: Person | None = None,
        claimed: int | None = None,
        marker: bytes = b"",
        sop_class: str = "1.2.840.10008.5.1.4.1.1.2",
    ) -> None:
        """Instances of one series, and optionally a longer list that the source gives."""
        uid, series_uid = f"2.25.{study}", f"2.25.{series}"
        for n in range(count):
            original = self.original(None, f"{series}-{n}".encode() + marker, f"{series}-{n}")
            original = replace(original, id=f"{case_id}-{series}-{n}", case_id=case_id)
            instance = Instance(
                source=GENERAL,
                study_uid=uid,
                series_uid=series_uid,
                sop_uid=f"2.25.3{series}{n}",
                sop_class=sop_class,
                transfer_syntax="1.2.840.10008.1.2.1",
                sha256=original.sha256,
                dataset_sha256=original.sha256,
                size=524_288,
                original=original.id,
                modality=modality,
                header=header or Person(family="Doe", given="Jane"),
                case_id=case_id,
                pushed=case_id is None,
            )
            self.store.images.store_instance(original, instance, at=NOW)
        if case_id and claimed is not None:
            claims = [InstanceClaim(uid, series_uid, f"2.25.3{series}{n}") for n in range(claimed)]
            self.store.ledgers.claim(case_id, GENERAL, "QIDO instances", claims)

    def step(self, case_id: str, source: str, step: str, error: str = "") -> None:
        self.store.cases.step(case_id, source, step, error=error, at=NOW - timedelta(minutes=4))

    def image_slice(self, case_id: str, evidence: Evidence, *, ended: bool = True) -> None:
        slice_ = Slice(case_id, GENERAL, IMAGES, ended=ended, evidence=evidence)
        self.store.ledgers.turn(Page(slice_))

    def record(self, case_id: str, document: Mapping[str, Any] | None = None) -> CaseRecord:
        """A case record in which every row of the ledger has its end."""
        rows = self.store.ledgers.rows(case_id)
        ends = {
            row.key: End(
                RecordState.KEPT,
                "normalize",
                entry=urn(bridge_id(row.key.source, row.key.kind, row.key.id)),
            )
            for row in rows
            if row.state is RecordState.PENDING
        }
        sighted = self.store.ledgers.sighted(case_id)
        made = document or chart([(s.key, s.resource) for s in sighted])
        body = json.dumps(made)
        entries = tuple(entry["fullUrl"] for entry in made["entry"])
        version = self.store.cases.get(case_id).record_version + 1
        record = CaseRecord(
            case_id, version, body, hashlib.sha256(body).hexdigest(), entries, frozenset(), ()
        )
        event = Event(Happened.RECORD_ASSEMBLED, case_id, "bridge", NOW, {"version": version})
        self.store.records.add(record, ends, (), event, at=NOW)
        return record

    def release(self, case_id: str, reason: str = "") -> None:
        event = Event(Happened.RECORD_RELEASED, case_id, "local", NOW)
        newest = self.store.records.get(case_id)
        self.store.records.release(newest, event, by="local", reason=reason)

    def opinion(self, case_id: str, *destinations: str) -> Opinion:
        opinion = Opinion(
            id=f"{case_id}-opinion",
            case_id=case_id,
            version=1,
            title="Second opinion: liver metastases of a sigmoid carcinoma",
            author=Author("Dr. Imani Specimena", "Consultant hepatobiliary oncologist"),
            date="2026-11-24",
            sections=(
                Section(
                    "Opinion",
                    "1. The disease is **resectable** now.\n2. I advise against a "
                    "right hepatectomy.",
                ),
                Section("Recommendations", "- Operate within three weeks.\n- Show the MR first."),
            ),
            cited=(Cited("urn:uuid:1", "MRI of the liver with gadoxetate"),),
        )
        blob = self.store.originals.put(PDF)
        document = self.store.originals.put(b'{"resourceType":"Bundle"}')
        signed = StoredOpinion(opinion, document.sha256, blob.sha256, "local", NOW)
        deliveries = [
            Delivery(f"{case_id}-{to}", case_id, opinion.id, 1, to, "urn:uuid:2")
            for to in destinations or (GENERAL,)
        ]
        self.store.opinions.sign(
            signed,
            deliveries,
            Event(Happened.OPINION_SIGNED, case_id, "local", NOW),
            outbox=lambda connection, delivery: None,
        )
        return opinion

    def climb(self, delivery_id: str, *states: DeliveryState) -> None:
        for state in states:
            changed: dict[str, Any] = {}
            if state is DeliveryState.ACCEPTED:
                changed = {"location": "DocumentReference/991"}
            if state is DeliveryState.READ_BACK:
                changed = {"read_back": ReadBack.EQUAL}
            self.store.opinions.move(delivery_id, state, at=NOW, **changed)


def counted(number: int, said: int | None = None) -> Evidence:
    """Evidence of a slice whose count, asked afterwards, says `said`."""
    count = Count("_summary=count", number if said is None else said, after=True)
    return Evidence(obtained=number, counts=(count,))


def report(id_: str, title: str, date: str, **more: Any) -> dict[str, Any]:
    """A small DiagnosticReport."""
    return {
        "resourceType": "DiagnosticReport",
        "id": id_,
        "status": "final",
        "code": {"text": title},
        "effectiveDateTime": date,
        **more,
    }


def document(id_: str, title: str, date: str, author: str = "", **more: Any) -> dict[str, Any]:
    """A small DocumentReference."""
    found = {
        "resourceType": "DocumentReference",
        "id": id_,
        "status": "current",
        "type": {"text": title},
        "date": date,
        **more,
    }
    return {**found, "author": [{"display": author}]} if author else found


def chart(found: Sequence[tuple[RecordKey, Mapping[str, Any]]]) -> dict[str, Any]:
    """A case record of two sections around these resources."""
    entries = [
        {"fullUrl": urn(bridge_id(k.source, k.kind, k.id)), "resource": dict(r)} for k, r in found
    ]
    sections = [
        {
            "title": "Question and what is new",
            "code": {"coding": [{"code": "42349-1"}]},
            "text": {"div": "<div><p>Is surgery possible?</p><script>x()</script></div>"},
        },
        {
            "title": "Pathology and molecular findings",
            "code": {"coding": [{"code": "11526-1"}]},
            "text": {"div": "<div><p>Adenocarcinoma, pT3 N1b.</p></div>"},
            "entry": [{"reference": e["fullUrl"]} for e in entries],
        },
        {
            "title": "Imaging",
            "code": {"coding": [{"code": "18748-4"}]},
            "text": {"div": "<div><p>See the images below.</p></div>"},
        },
    ]
    composition = {
        "resourceType": "Composition",
        "title": "Case record",
        "date": "2026-11-24T13:50:00+00:00",
        "section": sections,
    }
    first = {"fullUrl": "urn:uuid:00000000-0000-0000-0000-000000000001", "resource": composition}
    return {"resourceType": "Bundle", "type": "document", "entry": [first, *entries]}


JANE: Mapping[str, Any] = {
    "resourceType": "Patient",
    "name": [{"use": "official", "family": "Doe", "given": ["Jane"]}],
    "birthDate": "1961-03-14",
    "gender": "female",
    "identifier": [{"system": "https://general-hospital.example/mrn", "value": "4711"}],
}
QUESTION = (
    "After response to six cycles of FOLFOX and panitumumab, can the liver metastases be removed "
    "with a parenchyma-sparing operation instead of a right hepatectomy, and what should follow?"
)


@dataclass
class Bridge:
    """Everything a test of the web needs."""

    store: Store
    seed: Seed
    deeds: Deeds
    door: Door
    room: Room
    app: FastAPI
    settings: Settings

    def client(self, *, logged_in: bool = True) -> TestClient:
        """A browser of our own origin; with a session unless told otherwise."""
        client = TestClient(self.app, base_url="http://127.0.0.1:8400", follow_redirects=False)
        if logged_in:
            assert client.get("/login", params={"t": self.door.link()}).status_code == 303
        return client


def make_bridge(store: Store, **settings: Any) -> Bridge:
    """A bridge over a store, with the real application around it."""

    def now() -> datetime:
        return NOW

    loaded = Settings.load(**settings)
    deeds, seed = Deeds(), Seed(store)
    door = Door(store.logins, now, fixed_token=loaded.login_token.get_secret_value())
    access = Access(store.cases, store.events, now)
    room = Room(store, access, door, deeds, deeds, preview, now)
    app = make_app(
        routers=[console.make_router(room), fhir.make_router(store, access, now=now)],
        door=door,
        settings=loaded,
        jwks=lambda: {"keys": []},
        ready=lambda: {"database": True},
        error_page=console.error_page(room),
    )
    seed.providers()
    return Bridge(store, seed, deeds, door, room, app, loaded)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "store"
    opened = Store.open(f"sqlite:///{tmp_path / 'b.sqlite'}", folder, lease=timedelta(seconds=15))
    yield opened
    opened.close()


@pytest.fixture
def bridge(store: Store) -> Bridge:
    return make_bridge(store)


@pytest.fixture
def browser(bridge: Bridge) -> TestClient:
    """A logged-in browser."""
    return bridge.client()


@pytest.fixture
def full(bridge: Bridge) -> Bridge:
    """A bridge with one case that has documents, a failed file, images, a record and an opinion."""
    seed = bridge.seed
    seed.case("case-1")
    seed.pinned("case-1")
    seed.records(
        "case-1",
        "DocumentReference",
        [
            document("d1", "Referral", "2026-01-06", "Dr. Grace Fictitia"),
            document("d2", "Operative note", "2026-02-06T10:00:00-05:00"),
        ],
        evidence=counted(2),
    )
    seed.records(
        "case-1",
        "DiagnosticReport",
        [
            report("r1", "Surgical pathology", "2026-02-10", conclusion="Adenocarcinoma, pT3 N1b"),
        ],
        evidence=counted(1, 3),
    )
    parent = RecordKey(GENERAL, "DocumentReference", "d1", "1")
    seed.file("case-1", parent, PDF, "application/pdf")
    seed.file(
        "case-1",
        replace(parent, id="d2"),
        None,
        "application/pdf",
        failure="FB-4002",
        reason="the hospital does not hand over its content",
    )
    seed.images("case-1", "1", "1", 3, claimed=4)
    seed.images("case-1", "1", "2", 1, marker=b"broken")
    seed.image_slice("case-1", counted(4))
    seed.record("case-1")
    seed.release("case-1", "The two reports are not needed for this question.")
    seed.opinion("case-1")
    return bridge
