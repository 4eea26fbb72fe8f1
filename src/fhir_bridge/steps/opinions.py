"""The desk of the specialist: draft, preview, sign, and the rungs of each delivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Protocol

from fhir_bridge.case.case import Case, CaseState, TreatingProvider
from fhir_bridge.case.delivery import Delivery, DeliveryState
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.ids import bridge_id
from fhir_bridge.case.opinion import Opinion
from fhir_bridge.clients.capability import Capability
from fhir_bridge.clients.fhir import FhirClient
from fhir_bridge.errors import BridgeError, UsageError, WrongMoment
from fhir_bridge.pipeline.assemble import citable
from fhir_bridge.pipeline.deliver.chart import Way
from fhir_bridge.pipeline.deliver.document_reference import Signed, delivery_identifier
from fhir_bridge.pipeline.deliver.plan import TAKES_NOTHING, Site
from fhir_bridge.pipeline.deliver.steps import advance
from fhir_bridge.pipeline.opinion.document import document_identifier, opinion_document
from fhir_bridge.pipeline.opinion.evidence import CitableRecord
from fhir_bridge.pipeline.opinion.parse import parse_opinion
from fhir_bridge.pipeline.opinion.pdf import render_pdf
from fhir_bridge.security.access import Access, Actor, Purpose
from fhir_bridge.steps.assembling import accepted
from fhir_bridge.steps.hospitals import Hospitals
from fhir_bridge.store.opinions import StoredOpinion
from fhir_bridge.store.shelves import Store

TEMPLATE = """---
title: Second opinion
author:
qualification:
organisation:
date:
---

## Summary of the records

## Opinion

## Recommendations

## Evidence

"""
_MAY_SIGN = (CaseState.RELEASED, CaseState.OPINION_SIGNED, CaseState.DELIVERED)


class Queue(Protocol):
    """Where outgoing work is put, and waited for."""

    def deliver_in(self, connection: Any, delivery_id: str, again: str = "") -> None:
        """Enqueue a delivery on the caller's transaction; `again` tells a later try."""

    def result(self, workflow_id: str) -> Mapping[str, Any]:
        """Wait for its end."""


@dataclass(frozen=True, slots=True)
class OpinionDesk:
    """
    Opinions from draft to chart (servers.console.ports.Desk, and a half of workflows.CaseSteps).

    Signing is one transaction: opinion, deliveries and their queue entries. The same text again is
    the same opinion, so that a second click never makes a second one.
    """

    store: Store
    access: Access
    hospitals: Hospitals
    queue: Queue
    now: Callable[[], datetime]
    organisation: str
    alive: Callable[[], bool]

    def prepare(self, case_id: str, text: str) -> None:
        """Keep a prepared text for the specialist to edit."""
        case = self.store.cases.get(case_id)
        self.store.cases.move(case_id, case.state, facts={"draft": text})

    def draft(self, case_id: str) -> str:
        """The prepared text, or an empty template."""
        return self.store.cases.get(case_id).facts.get("draft") or TEMPLATE

    def preview_pdf(self, actor: Actor, case_id: str, text: str) -> bytes:
        """The letter as it would be delivered; signs nothing."""
        case = self.access.open_case(actor, case_id, Purpose.OPINION)
        opinion = self._parsed(case, text.encode(), "md", self._next_version(case_id))
        return self._rendered(case, opinion)[1]

    def finish_opinion(self, actor: Actor, case_id: str, text: str) -> str:
        """Sign a Markdown opinion and send it on its way."""
        return self.finish(actor, case_id, text.encode(), kind="md")

    def finish(
        self, actor: Actor, case_id: str, text: bytes, *, kind: Literal["md", "json"]
    ) -> str:
        """
        Sign an opinion and send it on its way; returns its id.

        Raises UsageError for a text that cannot be signed (it names the line) and WrongMoment
        when the case record is not released.
        """
        case = self.access.open_case(actor, case_id, Purpose.OPINION)
        if case.state not in _MAY_SIGN:
            raise WrongMoment("the case record is not released to the specialist yet")
        signed = self.store.opinions.of_case(case_id)
        version = signed[0].opinion.version if signed else 0
        if signed and _same(self._parsed(case, text, kind, version), signed[0].opinion):
            return signed[0].opinion.id
        opinion = self._parsed(case, text, kind, version + 1)
        self._sign(actor, case, opinion)
        return opinion.id

    def _parsed(
        self, case: Case, text: bytes, kind: Literal["md", "json"], version: int
    ) -> Opinion:
        record = self.store.records.get(case.id)
        entries = citable(self.store.records.document(record))
        return parse_opinion(
            text,
            kind=kind,
            opinion_id=bridge_id(case.id, "Opinion", str(version)),
            case_id=case.id,
            version=version,
            record=CitableRecord(record.sha256, entries),
        )

    def _next_version(self, case_id: str) -> int:
        signed = self.store.opinions.of_case(case_id)
        return signed[0].opinion.version + 1 if signed else 1

    def _rendered(self, case: Case, opinion: Opinion) -> tuple[bytes, bytes]:
        before = replace(opinion, version=opinion.version - 1)
        document = opinion_document(
            opinion,
            patient=case.patient,
            organisation=self.organisation,
            question=case.question,
            replaces=document_identifier(before) if before.version else None,
        )
        sha256 = self.store.originals.put(document).sha256
        letter = render_pdf(
            opinion,
            patient_line=patient_line(case),
            question=case.question,
            document_identifier=document_identifier(opinion),
            document_sha256=sha256,
            letterhead=self.organisation,
            document=document,
        )
        return document, letter.pdf

    def _sign(self, actor: Actor, case: Case, opinion: Opinion) -> None:
        document, pdf = self._rendered(case, opinion)
        put = self.store.originals.put
        stored = StoredOpinion(
            opinion, put(document).sha256, put(pdf).sha256, actor.name, self.now()
        )
        facts: dict[str, str | int] = {"opinion": opinion.id, "version": opinion.version}
        event = Event(Happened.OPINION_SIGNED, case.id, actor.name, self.now(), facts)
        new = self.store.opinions.sign(
            stored,
            [self._delivery(case, opinion, destination) for destination in case.providers],
            event,
            outbox=lambda connection, d: self.queue.deliver_in(connection, d.id),
        )
        if not new and self.store.opinions.opinion(opinion.id).opinion != opinion:
            raise WrongMoment("another opinion was signed at the same moment")

    def _delivery(self, case: Case, opinion: Opinion, destination: str) -> Delivery:
        identifier = delivery_identifier(opinion.id, opinion.version, destination)
        return Delivery(
            id=identifier.removeprefix("urn:uuid:"),
            case_id=case.id,
            opinion_id=opinion.id,
            version=opinion.version,
            destination=destination,
            identifier=identifier,
        )

    def under_way(self, case_id: str) -> Sequence[str]:
        """The workflows that carry the newest opinion to its charts."""
        deliveries = self.store.opinions.deliveries(case_id)
        newest = max((delivery.version for delivery in deliveries), default=0)
        return [f"deliver:{one.id}" for one in deliveries if one.version == newest]

    def resend(self, actor: Actor, case_id: str, destination: str) -> str:
        """
        Take up the newest opinion's delivery to one hospital again; returns the workflow.

        For a delivery that waits for a person, once its cause is mended, or whose work was given
        up. Two clicks are one try. Raises UsageError when nothing was signed for that hospital.
        """
        self.access.open_case(actor, case_id, Purpose.OPINION)
        found = [d for d in self.store.opinions.deliveries(case_id) if d.destination == destination]
        if not found:
            raise UsageError("no opinion was signed for this hospital")
        delivery = found[0]
        again = f"{self.store.opinions.moved_at(delivery.id):%Y%m%dT%H%M%S%f}"
        facts: dict[str, str | int] = {"delivery": delivery.id, "to": destination}
        self.store.opinions.resend(
            delivery.id,
            Event(Happened.DELIVERY_RESUMED, case_id, actor.name, self.now(), facts),
            at=self.now(),
            outbox=lambda connection, one: self.queue.deliver_in(connection, one.id, again),
        )
        return f"deliver:{delivery.id}:{again}"

    def wait(self, case_id: str) -> None:
        """Until every delivery of the newest opinion has ended or needs a person."""
        for workflow in self.under_way(case_id):
            self.queue.result(workflow)

    def advance(self, delivery_id: str) -> Mapping[str, Any]:
        """One rung of a delivery, as the durable engine wants to know it."""
        delivery = self.store.opinions.get(delivery_id)
        if not self.alive():
            # A worker that was silent for half its lease may have been replaced: it sends nothing.
            return {"done": False, "state": delivery.state.value, "wait": 1.0}
        provider = self.store.providers.get(delivery.destination)
        chart = self.hospitals.ehr(provider, delivery.case_id)
        if chart is None:
            return self._by_hand(delivery)
        try:
            way = self._way(delivery, provider, chart)
        except BridgeError as error:
            if error.retry_after_seconds is None:
                raise
            return {"done": False, "state": delivery.state.value, "wait": error.retry_after_seconds}
        found = advance(delivery_id, way)
        return {"done": found.done, "state": found.state.value, "wait": found.wait_seconds}

    def _by_hand(self, delivery: Delivery) -> Mapping[str, Any]:
        """A hospital without an electronic way in: a person's task from the start."""
        if delivery.state is DeliveryState.QUEUED:
            delivery = self.store.opinions.move(
                delivery.id, DeliveryState.MANUAL, at=self.now(), reason=TAKES_NOTHING
            )
        return {"done": True, "state": delivery.state.value, "wait": 0}

    def _way(self, delivery: Delivery, provider: TreatingProvider, chart: FhirClient) -> Way:
        patient = accepted(self.store, delivery.case_id).get(provider.id, "")
        return Way(
            chart=chart,
            declares=_declared(chart.capability()),
            site=Site(patient_id=patient),
            ladder=self.store.opinions,
            bodies=self.store.originals,
            signed=self._signed(delivery),
            now=self.now,
        )

    def _signed(self, delivery: Delivery) -> Signed:
        stored = self.store.opinions.opinion(delivery.opinion_id)
        former = [
            d
            for d in self.store.opinions.deliveries(delivery.case_id)
            if d.destination == delivery.destination and d.version == delivery.version - 1
        ]
        return Signed(
            opinion=stored.opinion,
            document=self.store.opinions.read(stored.document),
            pdf=self.store.opinions.read(stored.pdf),
            organisation=self.organisation,
            replaces=former[0] if former else None,
        )


def _same(one: Opinion, signed: Opinion) -> bool:
    """The same words on the same evidence are one opinion, whichever version of the record."""
    return replace(one, record_sha256=signed.record_sha256) == signed


def _declared(capability: Capability) -> Capability:
    """A statement that names no type says nothing: then a create is tried and its answer counts."""
    if capability.interactions:
        return capability
    usual = frozenset({"create", "read", "search-type"})
    return replace(capability, interactions={"DocumentReference": usual, "Binary": usual})


def patient_line(case: Case) -> str:
    """`DOE, Jane · born 1961-03-14 · female · MRN 4711`: the identity line of every page."""
    who = case.person
    numbers = [identifier.value for identifier in who.identifiers[:1]]
    parts = (
        f"{who.family.upper()}, {who.given}".rstrip(", "),
        f"born {who.birth_date}" if who.birth_date else "",
        who.sex,
        f"MRN {numbers[0]}" if numbers else "",
    )
    return " · ".join(part for part in parts if part)
