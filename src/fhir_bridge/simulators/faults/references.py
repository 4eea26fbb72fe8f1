"""What the records say about each other and themselves: references and states of all sorts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.born import Born
from fhir_bridge.simulators.faults.fault import Fault, with_rules
from fhir_bridge.simulators.wire import Resource

AUTHOR = "fault-author"
NUMBER = {"system": "https://hospital.example/staff", "value": "S-1"}
META = {"versionId": "1", "lastUpdated": "2024-01-01T00:00:00Z"}
PRACTITIONER: Resource = {
    "resourceType": "Practitioner", "id": AUTHOR, "meta": META, "identifier": [NUMBER],
    "name": [{"text": "Dr. Author"}],
}  # fmt: skip
SUCCESSOR = "merged-into"


def _written_by(name: str, shows: str, author: Callable[[Born], dict[str, Any]], *,
                foreign: bool = False) -> Fault:  # fmt: skip
    """The first document has this author; a Practitioner stands in the chart."""

    def born(born: Born) -> Born:
        changed = born.first_document(lambda one: one | {"author": [author(born)]})
        return changed.plus(PRACTITIONER)

    return Fault(name, shows, "chart", born=born, foreign=foreign)


def _contained(born: Born) -> Born:
    inner = {"resourceType": "Practitioner", "id": "c1", "name": [{"text": "Dr. Inside"}]}
    more = {"contained": [inner], "author": [{"reference": "#c1"}]}
    return born.first_document(lambda one: one | more)


def _in_error(born: Born) -> Born:
    return born.first_document(lambda one: one | {"status": "entered-in-error"})


def _strange_status(born: Born) -> Born:
    return born.first_document(lambda one: one | {"status": "archived"})


def merged(born: Born) -> Born:
    """The patient's number was given up; another one took its records over."""
    patient = born.first_of("Patient")
    if patient is None:
        return born
    link = {"other": {"reference": f"Patient/{SUCCESSOR}"}, "type": "replaced-by"}
    closed = patient | {"active": False, "link": [link]}
    heir = patient | {"id": SUCCESSOR, "active": True}
    about = {"reference": f"Patient/{patient['id']}"}
    moved = {"subject": {"reference": f"Patient/{SUCCESSOR}"}}
    changed = born.changed(lambda one: one.get("subject") == about, lambda one: one | moved)
    return changed.changed(lambda one: one is patient, lambda _: closed).plus(heir)


ROWS = (
    Fault("two-candidates", "a second patient has the same name, birth date and number", "chart",
          with_rules(shows_decoy=True)),
    Fault("patient-merged", "the patient is inactive, replaced by another, who has the records",
          "chart", born=merged),
    _written_by("reference-missing", "one document's author is not there: 404",
                lambda _: {"reference": "Practitioner/never-was"}),
    Fault("reference-forbidden", "one document's author is 403", "chart",
          born=lambda born: born.plus(PRACTITIONER).first_document(
              lambda one: one | {"author": [{"reference": f"Practitioner/{AUTHOR}"}]}),
          reach=edges.at(f"/fhir/Practitioner/{AUTHOR}"),
          edge=lambda: edges.refuses(403, "forbidden", "the client may not see this record")),
    Fault("reference-contained", "one document's author stands within the document", "chart",
          born=_contained),
    _written_by("reference-urn", "one document's author is a urn:uuid that nothing has",
                lambda _: {"reference": "urn:uuid:00000000-0000-4000-8000-000000000000"}),
    _written_by("reference-identifier", "one document's author is only a number",
                lambda _: {"identifier": NUMBER}),
    _written_by("reference-conditional", "one document's author is a search",
                lambda _: {"reference": "Practitioner?identifier="
                           f"{NUMBER['system']}|{NUMBER['value']}"}),
    _written_by("reference-versioned", "one document's author is one version of a record",
                lambda _: {"reference": f"Practitioner/{AUTHOR}/_history/1"}),
    _written_by("reference-absolute", "one document's author is an absolute address of this base",
                lambda born: {"reference": f"{born.base}/Practitioner/{AUTHOR}"}),
    _written_by("reference-foreign", "one document's author is kept by somebody else's server",
                lambda born: {"reference": f"{born.foreign}/fhir/Practitioner/1"}, foreign=True),
    Fault("entered-in-error", "one document is entered in error", "chart", born=_in_error),
    Fault("status-unknown", "one document has a status that R4 does not have", "chart",
          born=_strange_status),
)  # fmt: skip
