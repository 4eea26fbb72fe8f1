"""A signed opinion and its way into a chart in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fhir_bridge.case.delivery import Delivery, DeliveryState
from fhir_bridge.case.opinion import Author, Cited, Opinion, Section
from fhir_bridge.pipeline.deliver.chart import Way
from fhir_bridge.pipeline.deliver.document_reference import Signed, delivery_identifier
from fhir_bridge.pipeline.deliver.plan import Site
from fhir_bridge.pipeline.deliver.steps import Advance, advance
from fhir_bridge.pipeline.opinion.document import document_identifier, opinion_document

from .fake_chart import Bodies, Chart, Clock, Declared, Killed, Killer, Ladder

PATIENT = {"resourceType": "Patient", "name": [{"family": "Example"}], "birthDate": "1960-02-29"}


def signed_opinion(version: int = 1, replaces: Delivery | None = None) -> Signed:
    """Short, with a figure whose digits matter and a sentence whose meaning one word turns."""
    sections = (
        Section("Opinion", "Do **not** operate. CEA 6.90 ng/mL & falling."),
        Section("Recommendations", "- MR in *three* months\n- Clinic"),
    )
    cited = (Cited("urn:uuid:6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41", "MR of the liver", "2", "ab"),)
    author = Author("Dr. A. Sample", "Surgeon", "Second Opinion Centre")
    opinion = Opinion(
        f"o{version}", "c1", version, "Second opinion: liver", author, "2025-07-18", sections, cited
    )
    former = document_identifier(replace(opinion, version=version - 1)) if replaces else None
    document = opinion_document(
        opinion, patient=PATIENT, organisation="Centre", question="Operate?", replaces=former
    )
    return Signed(opinion, document, b"%%PDF-1.7 letter %d" % version, "Centre", replaces)


SIGNED = signed_opinion()


def queued(signed: Signed = SIGNED, destination: str = "general") -> Delivery:
    """A delivery as signing leaves it."""
    opinion = signed.opinion
    identifier = delivery_identifier(opinion.id, opinion.version, destination)
    return Delivery(
        f"v{opinion.version}", opinion.case_id, opinion.id, opinion.version, destination, identifier
    )


@dataclass
class Trip:
    """One delivery and everything around it."""

    way: Way
    chart: Chart
    ladder: Ladder
    clock: Clock
    killer: Killer
    id: str

    @property
    def delivery(self) -> Delivery:
        return self.ladder.get(self.id)

    def step(self) -> Advance:
        return advance(self.id, self.way)

    def until(self, state: DeliveryState) -> None:
        for _ in range(50):
            if self.delivery.state is state:
                return
            self.clock.wait(self.step().wait_seconds)
        raise AssertionError(f"never {state}, but {self.ladder.states}")

    def run(self) -> Delivery:
        """As the durable engine does: again after a pause, again after a crash."""
        for _ in range(500):
            try:
                made = self.step()
            except Killed:
                self.clock.wait(1)
                continue
            if made.done:
                return self.delivery
            self.clock.wait(made.wait_seconds)
        raise AssertionError(f"no end: {self.ladder.states[-20:]}")


def trip(
    signed: Signed = SIGNED,
    *,
    site: Site | None = None,
    declares: Declared | None = None,
    kill_after: int = -1,
    point: Callable[[], None] | None = None,
    **chart: Any,
) -> Trip:
    clock, killer = Clock(), Killer(kill_after)
    bodies = Bodies()
    there = Chart(clock, point or killer, bodies, **chart)
    ladder = Ladder(clock, point or killer)
    way = Way(there, declares or Declared(), site or Site("p1"), ladder, bodies, signed, clock)
    delivery = queued(signed)
    ladder.add(delivery)
    return Trip(way, there, ladder, clock, killer, delivery.id)
