"""The page of one case: what it needs on the left, what is here on the right, one next action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from fhir_bridge.case.case import Case, CaseState, TreatingProvider
from fhir_bridge.case.certificate import COMPLETE
from fhir_bridge.case.delivery import Delivery
from fhir_bridge.case.identity import Person, compare
from fhir_bridge.errors import UsageError
from fhir_bridge.security.access import Purpose
from fhir_bridge.servers.console import needs, papers, pictures, show, steps, words
from fhir_bridge.servers.console.chart import Charts
from fhir_bridge.servers.console.papers import Paper
from fhir_bridge.servers.console.pictures import Gallery, Study
from fhir_bridge.servers.console.room import Room, actor, checked_form, to
from fhir_bridge.servers.console.sources import SourceLine, source_lines
from fhir_bridge.servers.console.steps import NextStep
from fhir_bridge.servers.console.words import Saying

FRAGMENTS = ("head", "checklist", "sources", "timeline", "documents", "images", "opinion")
FIRST_DOCUMENTS, FIRST_MOMENTS, FIRST_MONTHS = 12, 8, 18


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around every page of a case: who, the question, the next step."""

    case: Case
    identity: Sequence[str]
    providers: Mapping[str, TreatingProvider]
    sources: Sequence[SourceLine]
    deliveries: Sequence[Delivery]
    next: NextStep
    newest: int

    @property
    def percent(self) -> int | None:
        """How far the pull is, over all sources that are at work."""
        known = [
            source.progress.percent
            for source in self.sources
            if source.working and source.progress and source.progress.percent is not None
        ]
        return sum(known) // len(known) if known else None


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of the timeline."""

    date: str
    title: str
    icon: str
    href: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One fact of a candidate beside the case's own."""

    title: str
    ours: str
    theirs: tuple[tuple[str, Saying], ...]


def frame(room: Room, request: Request, case_id: str, purpose: Purpose = Purpose.COLLECT) -> Frame:
    """Open the case and gather what every page of it shows."""
    # The number first: whatever happens while the page is made is replayed to it.
    newest = room.store.events.newest()
    case = room.open_case(request, case_id, purpose)
    providers = room.providers()
    sources = source_lines(room.store, case, providers, room.now())
    deliveries = room.store.opinions.deliveries(case_id)
    step = steps.next_step(case, sources, deliveries)
    identity = show.identity(case, providers)
    return Frame(case, identity, providers, sources, deliveries, step, newest)


class CasePage:
    """The case, its fragments, and the steps that a person takes on it."""

    def __init__(self, room: Room, charts: Charts, gallery: Gallery) -> None:
        self._room, self._charts, self._gallery = room, charts, gallery

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["console"])
        router.get("/cases/{case_id}", summary="One case")(self.page)
        router.get("/cases/{case_id}/fragment/{name}", include_in_schema=False)(self.fragment)
        router.get("/cases/{case_id}/series/{token}/preview.png", summary="A small picture")(
            self.preview
        )
        router.get("/cases/{case_id}/identity/{source}", summary="Which patient?")(self.identity)
        router.get("/cases/{case_id}/release", summary="Before the release")(self.release_page)
        checked = [Depends(checked_form)]
        router.post("/cases/{case_id}/pull", summary="Pull records", dependencies=checked)(
            self.pull
        )
        router.post(
            "/cases/{case_id}/pull/{order}",
            summary="Pause, resume or cancel the pull",
            dependencies=checked,
        )(self.order)
        router.post("/cases/{case_id}/identity/{source}", summary="This one", dependencies=checked)(
            self.confirm
        )
        router.post("/cases/{case_id}/release", summary="Release", dependencies=checked)(
            self.release
        )
        return router

    def page(self, request: Request, case_id: str) -> Response:
        """Everything at once; live parts are fetched again one by one."""
        found = frame(self._room, request, case_id)
        facts: dict[str, Any] = {}
        for name in FRAGMENTS:
            facts |= self._facts(found, name)
        return self._room.render(request, "case.html", frame=found, **facts)

    def fragment(self, request: Request, case_id: str, name: str, on: str = "") -> Response:
        """One live part of the page; `on` is the page where it stands."""
        if name not in FRAGMENTS:
            raise HTTPException(404)
        found = frame(self._room, request, case_id)
        facts = self._facts(found, name)
        template = f"fragments/{name}.html"
        writing = on.endswith("/opinion") and found.case.state is CaseState.RELEASED
        return self._room.render(
            request, template, frame=found, here=on, form="page-form" if writing else "", **facts
        )

    def _facts(self, found: Frame, name: str) -> dict[str, Any]:
        store, case = self._room.store, found.case
        if name == "checklist":
            chart = self._charts.newest(store, case.id)
            items = steps.checklist(case, found.sources, found.deliveries)
            return {"items": items, "needs": needs.needs(store, case, chart)}
        if name == "documents":
            found_all = papers.papers(store, case.id)
            listed = [paper for paper in found_all if paper.shown]
            left = len(found_all) - len(listed)
            return {"papers": listed, "first": FIRST_DOCUMENTS, "left": left}
        if name == "timeline":
            listed = [paper for paper in papers.papers(store, case.id) if paper.shown]
            moments = timeline(case.id, listed, pictures.studies(store, case.id))
            return {
                "moments": moments,
                "first_moments": FIRST_MOMENTS,
                "first_months": FIRST_MONTHS,
            }
        if name == "images":
            return {"studies": pictures.studies(store, case.id)}
        if name == "opinion":
            return {
                "opinions": store.opinions.of_case(case.id),
                "delivery_words": words.DELIVERY,
                "ladder": words.ladder,
                "read_back": words.READ_BACK,
            }
        return {}

    def preview(self, request: Request, case_id: str, token: str) -> Response:
        """A small picture of a series, drawn when it is first looked at. Not for diagnosis."""
        case = self._room.open_case(request, case_id, Purpose.REVIEW)
        for study in pictures.studies(self._room.store, case.id):
            for series in study.series:
                if series.token == token:
                    return self._gallery.picture(self._room, series)
        raise HTTPException(404)

    def pull(
        self, request: Request, case_id: str, source: Annotated[str, Form()] = ""
    ) -> RedirectResponse:
        """Pull from all sources, or again from one."""
        self._room.open_case(request, case_id)
        self._room.actions.start_pull(actor(request), case_id, source or None)
        return to(f"/cases/{case_id}")

    def order(
        self, request: Request, case_id: str, order: str, source: Annotated[str, Form()] = ""
    ) -> RedirectResponse:
        """Pause, resume or cancel the pull of all sources, or of one."""
        self._room.open_case(request, case_id)
        actions = self._room.actions
        orders = {
            "pause": actions.pause_pull,
            "resume": actions.resume_pull,
            "cancel": actions.cancel_pull,
        }
        if order not in orders:
            raise HTTPException(404)
        orders[order](actor(request), case_id, source or None)
        return to(f"/cases/{case_id}")

    def identity(self, request: Request, case_id: str, source: str) -> Response:
        """The candidates of a hospital beside the case's patient; nothing is fetched before."""
        found = frame(self._room, request, case_id)
        pin = next((s.pin for s in found.sources if s.id == source), None)
        if pin is None:
            raise UsageError("the case has no such provider")
        cells = side_by_side(found.case.person, pin.candidates)
        line = next(s for s in found.sources if s.id == source)
        return self._room.render(
            request, "identity.html", frame=found, pin=pin, cells=cells, line=line
        )

    def confirm(
        self,
        request: Request,
        case_id: str,
        source: str,
        patient_id: Annotated[str, Form()] = "",
    ) -> RedirectResponse:
        """`This one`, or with an empty id `Neither`."""
        self._room.open_case(request, case_id)
        self._room.actions.confirm_patient(actor(request), case_id, source, patient_id)
        return to(f"/cases/{case_id}")

    def release_page(self, request: Request, case_id: str) -> Response:
        """What is not confirmed, and the reason for releasing it nevertheless."""
        found = frame(self._room, request, case_id)
        return self._room.render(request, "release.html", frame=found, problem="", form="page-form")

    def release(
        self, request: Request, case_id: str, reason: Annotated[str, Form()] = ""
    ) -> Response:
        """Let the specialist open it; below *complete* the reason is asked for."""
        found = frame(self._room, request, case_id)
        complete = steps.grade(found.sources) in COMPLETE
        if not complete and not reason.strip():
            problem = "Write why the record may be read although it is not confirmed as complete."
            return self._room.render(
                request, "release.html", 422, frame=found, problem=problem, form="page-form"
            )
        self._room.actions.release(actor(request), case_id, reason.strip())
        return to(f"/cases/{case_id}")


def timeline(
    case_id: str, listed: Sequence[Paper], studies: Sequence[Study]
) -> Sequence[tuple[str, Sequence[Moment]]]:
    """Documents and studies by month, newest first; what has no date stands last."""
    base = f"/cases/{case_id}"
    moments = [
        Moment(p.date, p.title, _ICON[p.key.kind], f"{base}/documents/{p.ref}") for p in listed
    ]
    moments += [Moment(s.date, s.title, "images", f"{base}#study-{s.token}") for s in studies]
    moments.sort(key=lambda moment: moment.date, reverse=True)
    months = groupby(moments, key=lambda moment: show.literal(moment.date[:7]) or "No date")
    return [(month, list(own)) for month, own in months]


_ICON = {"DocumentReference": "document", "DiagnosticReport": "report", "Composition": "document"}


def side_by_side(ours: Person, candidates: Sequence[Person]) -> Sequence[Cell]:
    """Fact by fact: the case's patient and each candidate, with what agrees and what differs."""
    seen = [compare(ours, candidate) for candidate in candidates]
    facts = (
        ("Family name", "family", lambda p: p.family),
        ("Given names", "given", lambda p: p.given),
        ("Born", "birth_date", lambda p: show.dashed(p.birth_date)),
        ("Sex", "sex", lambda p: p.sex),
        ("Number", "identifier", lambda p: ", ".join(i.value for i in p.identifiers)),
    )
    return [
        Cell(
            title,
            read(ours) or "not given",
            tuple(
                (read(candidate) or "not given", words.MATCH[getattr(one, fact)])
                for candidate, one in zip(candidates, seen, strict=True)
            ),
        )
        for title, fact, read in facts
    ]
