"""Unassigned arrivals, the hospitals as sources, and the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from fhir_bridge.case.case import Case, CaseState, TreatingProvider
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.identity import Match, compare
from fhir_bridge.case.imaging import Instance
from fhir_bridge.case.profile import Profile
from fhir_bridge.servers.console import casepage, show, troubles, words
from fhir_bridge.servers.console.casepage import Cell
from fhir_bridge.servers.console.room import Room, actor, checked_form, to
from fhir_bridge.servers.console.words import Saying, State

EVENTS = 500


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A case that an unassigned study may belong to."""

    case: Case
    agreed: int
    differs: bool
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A study that arrived and belongs to no case."""

    study_uid: str
    source: str
    modalities: str
    images: int
    size: int
    header: Instance
    suggestions: Sequence[Suggestion]


@dataclass(frozen=True, slots=True)
class Hospital:
    """A treating provider with what is known of the last contact."""

    provider: TreatingProvider
    saying: Saying
    since: datetime | None
    cases: int
    error_code: str
    learned: Sequence[tuple[str, str]] = ()


class Office:
    """Pages beside the cases."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["console"])
        router.get("/unassigned", summary="Images that belong to no case yet")(self.unassigned)
        router.get("/unassigned.csv", summary="Unassigned studies as CSV")(self.unassigned_csv)
        router.post(
            "/unassigned", summary="Give a study to a case", dependencies=[Depends(checked_form)]
        )(self.assign)
        router.get("/sources", summary="The treating hospitals")(self.sources)
        router.get("/sources.csv", summary="The treating hospitals as CSV")(self.sources_csv)
        router.get("/audit", summary="What happened, and who did it")(self.audit)
        router.get("/audit.csv", summary="The audit trail as CSV")(self.audit_csv)
        return router

    def unassigned(self, request: Request) -> Response:
        """Studies in waiting, each with the cases that may be meant."""
        waiting = self._waiting()
        return self._room.render(
            request, "unassigned.html", waiting=waiting, names=self._room.providers()
        )

    def unassigned_csv(self) -> Response:
        """The same for a spreadsheet."""
        headers = ("source", "patient in the image", "born", "modality", "images", "bytes")
        rows = [
            (
                w.source,
                show.name(w.header.header),
                w.header.header.birth_date,
                w.modalities,
                w.images,
                w.size,
            )
            for w in self._waiting()
        ]
        return show.spreadsheet("unassigned.csv", headers, rows)

    def _waiting(self) -> Sequence[Waiting]:
        open_cases = [c for c in self._room.store.cases.all() if c.state is not CaseState.DELIVERED]
        instances = self._room.store.images.unassigned()
        return [
            _waiting(list(own), open_cases)
            for _, own in groupby(instances, key=lambda instance: instance.study_uid)
        ]

    def assign(
        self,
        request: Request,
        study_uid: Annotated[str, Form()] = "",
        case_id: Annotated[str, Form()] = "",
    ) -> Response:
        """Give a study to a case; the case's own page shows it at once."""
        case = self._room.open_case(request, case_id)
        self._room.actions.assign(actor(request), study_uid, case.id)
        return to(f"/cases/{case.id}")

    def sources(self, request: Request) -> Response:
        """Every hospital, its ways in, and when it last answered."""
        return self._room.render(request, "sources.html", hospitals=self._hospitals())

    def sources_csv(self) -> Response:
        """The same for a spreadsheet."""
        headers = ("id", "name", "fhir", "login", "dicom", "dicomweb", "state", "last contact")
        rows = [
            (
                h.provider.id,
                h.provider.name,
                h.provider.fhir,
                h.provider.auth.value,
                h.provider.dimse or "",
                h.provider.dicomweb,
                h.saying.label,
                h.since.isoformat() if h.since else "",
            )
            for h in self._hospitals()
        ]
        return show.spreadsheet("sources.csv", headers, rows)

    def _hospitals(self) -> Sequence[Hospital]:
        store = self._room.store
        contacts: dict[str, list[tuple[datetime | None, str]]] = {}
        for case in store.cases.all():
            for source, (_, error, since) in store.cases.steps(case.id).items():
                contacts.setdefault(source, []).append((since, error))
        return [
            replace(_hospital(p, contacts.get(p.id, [])), learned=self._learned(p.id))
            for p in store.providers.all()
        ]

    def _learned(self, provider: str) -> Sequence[tuple[str, str]]:
        """The endpoint's profile for the engineer; empty before anything is known of it."""
        standing = self._room.store.endpoints.standing(provider)
        return Profile.of(standing).words() if standing.updated_at else ()

    def audit(self, request: Request, what: str = "", reads: bool = False) -> Response:
        """The newest events; reading a case is an event as well, shown on request."""
        events = self._events(what, reads=reads)
        return self._room.render(
            request,
            "audit.html",
            events=events,
            what=what,
            reads=reads,
            happened=words.HAPPENED,
            names=list(Happened),
        )

    def audit_csv(self, what: str = "", reads: bool = True) -> Response:
        """The same for a spreadsheet."""
        headers = ("number", "time", "what", "case", "who", "facts")
        rows = [
            (e.number, e.at.isoformat(), e.name.value, e.case_id or "", e.actor, _facts(e))
            for e in self._events(what, reads=reads)
        ]
        return show.spreadsheet("audit.csv", headers, rows)

    def _events(self, what: str, *, reads: bool) -> Sequence[Event]:
        """Newest first: walk back over the numbers until enough are found."""
        store, found = self._room.store.events, list[Event]()
        top = store.newest()
        while top > 0 and len(found) < EVENTS:
            low = max(0, top - EVENTS)
            part = [e for e in store.after(low, limit=top - low) if e.number <= top]
            found += [e for e in reversed(part) if _wanted(e, what, reads=reads)]
            top = low
        return found[:EVENTS]


def _wanted(event: Event, what: str, *, reads: bool) -> bool:
    if what:
        return event.name.value == what
    return reads or event.name is not Happened.CASE_READ


def _facts(event: Event) -> str:
    return "; ".join(f"{name}={value}" for name, value in event.facts.items())


def _waiting(instances: Sequence[Instance], open_cases: Sequence[Case]) -> Waiting:
    first = instances[0]
    suggestions = sorted(
        (_suggestion(case, first) for case in open_cases),
        key=lambda suggestion: (suggestion.differs, -suggestion.agreed),
    )
    return Waiting(
        study_uid=first.study_uid,
        source=first.source,
        modalities="/".join(sorted({i.modality for i in instances if i.modality})) or "Images",
        images=len(instances),
        size=sum(instance.size for instance in instances),
        header=first,
        suggestions=suggestions,
    )


def _suggestion(case: Case, instance: Instance) -> Suggestion:
    seen = compare(case.person, instance.header)
    facts = (seen.identifier, seen.family, seen.given, seen.birth_date, seen.sex)
    return Suggestion(
        case=case,
        agreed=facts.count(Match.AGREE),
        differs=Match.DISAGREE in facts,
        cells=casepage.side_by_side(case.person, [instance.header]),
    )


def _hospital(
    provider: TreatingProvider, contacts: Sequence[tuple[datetime | None, str]]
) -> Hospital:
    dated = sorted((c for c in contacts if c[0] is not None), key=lambda c: c[0] or 0)
    since, error = dated[-1] if dated else (None, "")
    if error:
        saying = troubles.failure(error)
    elif since is None:
        saying = Saying(State.WAITING, "Not asked yet.")
    else:
        saying = Saying(State.DONE, "Answered at the last contact.")
    return Hospital(provider, saying, since, len(contacts), error)
