"""The case record as the specialist reads it, the opinion page, and the way to the chart."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fhir_bridge.case.case import CaseState
from fhir_bridge.errors import NotReady, UsageError
from fhir_bridge.security.access import Purpose
from fhir_bridge.servers.console import papers, pictures, words
from fhir_bridge.servers.console.casepage import Frame, frame
from fhir_bridge.servers.console.chart import Charts
from fhir_bridge.servers.console.room import Room, actor, checked_form, to
from fhir_bridge.servers.problems import FHIR_JSON

_PDF_POLICY = (
    "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class Opinions:
    """What the specialist reads and writes."""

    def __init__(self, room: Room, charts: Charts) -> None:
        self._room, self._charts = room, charts

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["console"])
        base, checked = "/cases/{case_id}", [Depends(checked_form)]
        router.get(f"{base}/record", summary="The case record, readable")(self.record)
        router.get(f"{base}/record.json", summary="The case record, exact bytes")(self.exact)
        router.get(f"{base}/opinion", summary="The opinion and its delivery")(self.opinion)
        router.get(f"{base}/opinion/{{opinion_id}}.pdf", summary="The signed PDF")(self.pdf)
        router.post(f"{base}/opinion", summary="Finish and deliver", dependencies=checked)(
            self.finish
        )
        router.post(
            f"{base}/opinion/preview", summary="The PDF before it is signed", dependencies=checked
        )(self.preview)
        return router

    def record(self, request: Request, case_id: str) -> Response:
        """Question first, what is missing second, then the sections in reading order."""
        found = frame(self._room, request, case_id, Purpose.REVIEW)
        store = self._room.store
        try:
            stored = store.records.get(case_id)
        except NotReady:
            return self._room.render(request, "record.html", frame=found, chart=None)
        chart = self._charts.of(store, stored)
        doubts = [
            (source, part)
            for source in found.sources
            for part in source.parts
            if part.saying.state is not words.State.DONE
        ]
        return self._room.render(
            request,
            "record.html",
            frame=found,
            chart=chart,
            stored=stored,
            doubts=doubts,
            studies=pictures.studies(store, case_id),
        )

    def exact(self, request: Request, case_id: str) -> Response:
        """The FHIR document, byte for byte."""
        case = self._room.open_case(request, case_id, Purpose.REVIEW)
        stored = self._room.store.records.get(case.id)
        headers = {
            "ETag": f'"{stored.sha256}"',
            "Content-Disposition": f'attachment; filename="case-record-v{stored.version}.json"',
        }
        document = self._room.store.records.document(stored)
        return Response(document, media_type=FHIR_JSON, headers=headers)

    def opinion(self, request: Request, case_id: str) -> Response:
        """The prepared text to finish, or what was signed and where it is."""
        found = frame(self._room, request, case_id, Purpose.OPINION)
        draft = found.case.state is CaseState.RELEASED and self._room.desk.draft(case_id)
        return self._page(request, found, draft or "")

    def _page(
        self, request: Request, found: Frame, text: str, *, problem: str = "", status: int = 200
    ) -> Response:
        store, may_write = self._room.store, found.case.state is CaseState.RELEASED
        listed = papers.papers(store, found.case.id) if may_write else ()
        return self._room.render(
            request,
            "opinion.html",
            status,
            frame=found,
            may_write=may_write,
            text=text,
            problem=problem,
            opinions=store.opinions.of_case(found.case.id),
            form="page-form" if may_write else "",
            papers=[paper for paper in listed if paper.shown],
            delivery_words=words.DELIVERY,
            ladder=words.ladder,
            read_back=words.READ_BACK,
        )

    def finish(self, request: Request, case_id: str, text: Annotated[str, Form()] = "") -> Response:
        """
        Sign and deliver; pressed twice it is still one opinion. A text that cannot be signed comes
        back as it was typed, with what is wrong and where.
        """
        found = frame(self._room, request, case_id, Purpose.OPINION)
        text = text.replace("\r\n", "\n")
        try:
            self._room.desk.finish_opinion(actor(request), case_id, text)
        except UsageError as error:
            problem = f"Not signed yet. {words.sentence(error.detail)}"
            return self._page(request, found, text, problem=problem, status=422)
        return to(f"/cases/{case_id}/opinion")

    def preview(
        self, request: Request, case_id: str, text: Annotated[str, Form()] = ""
    ) -> Response:
        """The PDF as the hospital will see it; nothing is signed."""
        self._room.open_case(request, case_id, Purpose.OPINION)
        text = text.replace("\r\n", "\n")
        return _pdf(self._room.desk.preview_pdf(actor(request), case_id, text), "preview.pdf")

    def pdf(self, request: Request, case_id: str, opinion_id: str) -> Response:
        """The PDF that was signed."""
        case = self._room.open_case(request, case_id, Purpose.OPINION)
        signed = self._room.store.opinions.of_case(case.id)
        found = next((one for one in signed if one.opinion.id == opinion_id), None)
        if found is None:
            raise HTTPException(404)
        name = f"opinion-v{found.opinion.version}.pdf"
        return _pdf(self._room.store.opinions.read(found.pdf), name)


def _pdf(body: bytes, name: str) -> Response:
    headers = {
        "Content-Disposition": f'inline; filename="{name}"',
        "Content-Security-Policy": _PDF_POLICY,
    }
    return Response(body, media_type="application/pdf", headers=headers)
