"""The worklist: every case by what needs a person today; search; a new case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from fhir_bridge.case.case import SPECIALTIES, Case, TreatingProvider
from fhir_bridge.errors import BridgeError, Unreadable, UsageError
from fhir_bridge.servers.console import show, steps
from fhir_bridge.servers.console.room import Room, actor, checked_form, to
from fhir_bridge.servers.console.sources import SourceLine, source_lines
from fhir_bridge.servers.console.steps import NextStep
from fhir_bridge.standards.fhir import json

GROUPS = ("Needs you today", "Under way", "Finished")


@dataclass(frozen=True, slots=True)
class Row:
    """One case of the list."""

    case: Case
    born: str
    sources: Sequence[SourceLine]
    next: NextStep
    due: date
    urgency: int
    late: bool


class Worklist:
    """The first page."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["console"])
        router.get("/", summary="Cases by what needs a person today")(self.page)
        router.get("/fragment/worklist", include_in_schema=False)(self.fragment)
        router.get("/cases.csv", summary="The worklist as CSV")(self.csv)
        router.get("/cases/new", summary="Form for a new case")(self.form)
        checked = [Depends(checked_form)]
        router.post("/search", summary="Find a case", dependencies=checked)(self.search)
        router.post("/cases", summary="Open a case", dependencies=checked)(self.create)
        return router

    def page(self, request: Request) -> Response:
        """All cases."""
        return self._list(request, "worklist.html")

    def fragment(self, request: Request) -> Response:
        """The list alone, for live pages."""
        return self._list(request, "fragments/worklist.html")

    def search(self, request: Request, q: Annotated[str, Form()] = "") -> Response:
        """By name, number or question; by POST, so that no name stands in an address."""
        return self._list(request, "worklist.html", q.strip()[:100])

    def _list(self, request: Request, template: str, q: str = "") -> Response:
        found = [row for row in self._rows() if not q or _matches(row, q)]
        groups = [(title, [r for r in found if r.urgency == n]) for n, title in enumerate(GROUPS)]
        newest = self._room.store.events.newest()
        return self._room.render(
            request, template, groups=groups, q=q, total=len(found), newest=newest
        )

    def csv(self) -> Response:
        """The same list for a spreadsheet."""
        headers = ("case", "patient", "born", "specialty", "question", "state", "next", "due")
        rows = [
            (
                r.case.id,
                show.name(r.case.person),
                r.born,
                r.case.specialty,
                r.case.question,
                r.next.saying.label,
                r.next.label or r.next.saying.text,
                r.due.isoformat(),
            )
            for r in self._rows()
        ]
        return show.spreadsheet("cases.csv", headers, rows)

    def _rows(self) -> Sequence[Row]:
        store, providers = self._room.store, self._room.providers()
        rows = [self._row(case, providers) for case in store.cases.all()]
        return sorted(rows, key=lambda row: (row.urgency, row.due))

    def _row(self, case: Case, providers: Mapping[str, TreatingProvider]) -> Row:
        store, now = self._room.store, self._room.now()
        today, sources = now.date(), source_lines(store, case, providers, now)
        step = steps.next_step(case, sources, store.opinions.deliveries(case.id))
        urgency, due = steps.urgency(step, case, today), steps.due(case)
        late = due < today and urgency < 2
        return Row(case, case.person.birth_date, sources, step, due, urgency, late)

    def form(self, request: Request) -> Response:
        """Who is the patient, what is the question, who treats."""
        return self._form(request, {}, "")

    def _form(self, request: Request, given: Mapping[str, str], problem: str) -> Response:
        return self._room.render(
            request,
            "new.html",
            422 if problem else 200,
            specialties=SPECIALTIES,
            providers=self._room.store.providers.all(),
            given=given,
            problem=problem,
        )

    def create(
        self,
        request: Request,
        family: Annotated[str, Form()] = "",
        given: Annotated[str, Form()] = "",
        birth_date: Annotated[str, Form()] = "",
        sex: Annotated[str, Form()] = "",
        number: Annotated[str, Form()] = "",
        system: Annotated[str, Form()] = "",
        patient: Annotated[str, Form()] = "",
        specialty: Annotated[str, Form()] = "",
        question: Annotated[str, Form()] = "",
        provider: Annotated[list[str] | None, Form()] = None,
    ) -> Response:
        """Open the case, or show the form again with what is missing and what was typed."""
        typed = {
            "family": family,
            "given": given,
            "birth_date": birth_date,
            "sex": sex,
            "number": number,
            "system": system,
            "patient": patient,
            "specialty": specialty,
            "question": question,
        }
        try:
            resource = _pasted(patient) if patient.strip() else _patient(typed)
            problem = _missing(resource, specialty, question, provider or ())
            if problem:
                return self._form(request, typed, problem)
            case_id = self._room.actions.new_case(
                actor(request), resource, specialty, question.strip(), provider or ()
            )
        except Unreadable:
            return self._form(request, typed, "The pasted patient is no FHIR Patient in JSON.")
        except UsageError as error:
            return self._form(request, typed, _advice(error))
        return _opened(case_id)


def _opened(case_id: str) -> RedirectResponse:
    return to(f"/cases/{case_id}")


def _advice(error: BridgeError) -> str:
    return error.advice


def _pasted(text: str) -> Mapping[str, object]:
    resource = json.load_object(text.encode(), max_bytes=256 * 1024)
    if resource.get("resourceType") != "Patient":
        raise Unreadable("no Patient")
    return resource


def _patient(typed: Mapping[str, str]) -> Mapping[str, object]:
    """An R4 Patient from the form's fields."""
    resource: dict[str, object] = {"resourceType": "Patient"}
    if typed["number"].strip():
        identifier = {"system": typed["system"].strip(), "value": typed["number"].strip()}
        resource["identifier"] = [{k: v for k, v in identifier.items() if v}]
    resource["name"] = [
        {"use": "official", "family": typed["family"].strip(), "given": typed["given"].split()}
    ]
    if typed["sex"] in ("female", "male", "other", "unknown"):
        resource["gender"] = typed["sex"]
    if typed["birth_date"].strip():
        resource["birthDate"] = typed["birth_date"].strip()
    return resource


def _missing(
    patient: Mapping[str, object], specialty: str, question: str, providers: Sequence[str]
) -> str:
    if not patient.get("name") or not patient.get("birthDate"):
        return "The patient needs a family name and a birth date."
    if patient["name"] == [{"use": "official", "family": "", "given": []}]:
        return "The patient needs a family name and a birth date."
    if specialty not in SPECIALTIES:
        return "Choose the specialty that is asked."
    if not question.strip():
        return "Write the question in one sentence: the specialist reads it first."
    return "" if providers else "Choose at least one hospital that treats the patient."


def _matches(row: Row, q: str) -> bool:
    person = row.case.person
    numbers = " ".join(identifier.value for identifier in person.identifiers)
    hay = f"{person.family} {person.given} {person.birth_date} {numbers} {row.case.question}"
    return all(word in hay.casefold() for word in q.casefold().replace(",", " ").split())
