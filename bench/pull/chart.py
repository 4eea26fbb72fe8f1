"""The charts of the race: every answer of the hospital, rendered before the clock starts."""

from __future__ import annotations

import json  # noqa: TID251 (the hospital and its rivals, not our wire)
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

PAGE = 50
MRN = "urn:oid:2.16.840.1.113883.19.5"
# How the resources of one chart are shared out; they add up to one.
SHARES = {
    "DocumentReference": 0.20,
    "DiagnosticReport": 0.10,
    "Observation": 0.50,
    "Encounter": 0.08,
    "Condition": 0.08,
    "MedicationRequest": 0.04,
}
TYPES = tuple(SHARES)
_KNOWN = ("patient", "_summary")
_TEXT = "Seen in the outpatient clinic; course and findings as in the letter of the same day. " * 4
Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """
    So many patients with so many resources each. `files` of each patient are of `smallest` to
    `largest` bytes, in even steps of their logarithm.
    """

    name: str
    patients: int
    resources: int
    files: int = 0
    smallest: int = 10_000
    largest: int = 5_000_000

    def sizes(self) -> list[int]:
        """Bytes of each file of one patient."""
        steps = max(self.files - 1, 1)
        growth = (self.largest / self.smallest) ** (1 / steps)
        return [round(self.smallest * growth**step) for step in range(self.files)]


ONE = Workload("1 patient", 1, 500, 50)
HUNDRED = Workload("100 patients", 100, 50, 5, 10_000, 100_000)
BIG = Workload("131,000 resources", 1, 131_000)
HEAVY = Workload("one attachment of 300 MB", 1, 10, 1, 300_000_000, 300_000_000)
WORKLOADS = {w.name: w for w in (ONE, HUNDRED, BIG, HEAVY)}


class Chart:
    """All answers of one hospital by path and query, as bytes; bodies of files by their size."""

    def __init__(self, workload: Workload, base: str) -> None:
        self._base, self.workload = base, workload
        self.pages: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self._noise = random.Random(7).randbytes(1_000_003)
        self._put("/fhir/metadata", _statement())
        for number in range(workload.patients):
            self._render(number)

    def _put(self, target: str, body: Resource) -> None:
        self.pages[target] = json.dumps(body, separators=(",", ":")).encode()

    def page(self, target: str) -> bytes | None:
        """
        The answer to a path and query. Whatever else is asked for, a chart is filtered by patient
        and has PAGE entries a page; so a question in other words is another name of a known one.
        """
        if target not in self.pages:
            path, _, query = target.partition("?")
            asked = dict(parse_qsl(query))
            known = {name: asked[name] for name in _KNOWN if name in asked}
            known["patient"] = known.get("patient", "").removeprefix("Patient/")
            if "_summary" not in asked:
                known["_count"] = str(PAGE)
            same = self.pages.get(f"{path}?{urlencode(known)}")
            if same is None:
                return None
            self.pages[target] = same
        return self.pages[target]

    def _render(self, number: int) -> None:
        who = patient(number)
        self._put(f"/fhir/Patient/{who['id']}", who)
        found = self._bundle([who], f"Patient?identifier={MRN}|{mrn(number)}", total=1)
        asked = {"identifier": f"{MRN}|{mrn(number)}"}
        for query in (f"_id={who['id']}", urlencode(asked)):
            self._put(f"/fhir/Patient?{query}", found)
        for kind, share in SHARES.items():
            self._list(number, kind, round(self.workload.resources * share))
        for place, size in enumerate(self.workload.sizes()):
            self.files[f"/fhir/Binary/{_file(number, place)}"] = self._file(number, place, size)

    def _list(self, number: int, kind: str, total: int) -> None:
        """The page chain of one type, and its count."""
        first = urlencode({"patient": f"p{number}", "_count": PAGE})
        for start in range(0, max(total, 1), PAGE):
            query = first if not start else urlencode({"chain": f"{number}.{kind}.{start}"})
            stop = min(start + PAGE, total)
            resources = [self._resource(number, kind, place) for place in range(start, stop)]
            following = urlencode({"chain": f"{number}.{kind}.{stop}"}) if stop < total else ""
            page = self._bundle(resources, f"{kind}?{query}", total, kind, following)
            self._put(f"/fhir/{kind}?{query}", page)
        count = urlencode({"patient": f"p{number}", "_summary": "count"})
        self._put(f"/fhir/{kind}?{count}", self._bundle([], f"{kind}?{count}", total))

    def _bundle(
        self, resources: list[Resource], own: str, total: int, kind: str = "", following: str = ""
    ) -> Resource:
        links = [{"relation": "self", "url": f"{self._base}/{own}"}]
        if following:
            links.append({"relation": "next", "url": f"{self._base}/{kind}?{following}"})
        entries = [
            {
                "fullUrl": f"{self._base}/{one['resourceType']}/{one['id']}",
                "resource": one,
                "search": {"mode": "match"},
            }
            for one in resources
        ]
        body = {"resourceType": "Bundle", "type": "searchset", "total": total, "link": links}
        return {**body, "entry": entries} if entries else body

    def _resource(self, number: int, kind: str, place: int) -> Resource:
        body: Resource = {
            "resourceType": kind,
            "id": f"{kind.lower()}-{number}-{place}",
            "meta": {"versionId": "1", "lastUpdated": "2026-02-03T08:15:00Z"},
            "status": "current" if kind == "DocumentReference" else "final",
            "subject": {"reference": f"Patient/p{number}"},
            "text": {"status": "generated", "div": f"<div>{_TEXT}</div>"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}], "text": kind},
        }
        if kind == "Observation":
            body["valueQuantity"] = {"value": place / 8, "unit": "g/dL"}
        if kind == "DocumentReference" and place < self.workload.files:
            url = f"Binary/{_file(number, place)}"
            attachment = {"contentType": "application/pdf", "url": url}
            body["content"] = [{"attachment": attachment}]
        return body

    def _file(self, number: int, place: int, size: int) -> bytes:
        head = b"%PDF-1.7 " + f"{number}.{place} ".encode()
        return (head + self._noise * (size // len(self._noise) + 1))[:size]


def _file(number: int, place: int) -> str:
    return f"file-{number}-{place}"


def mrn(number: int) -> str:
    """The hospital's number of a patient."""
    return f"{number:05}"


def patient(number: int) -> Resource:
    """A Patient of the race."""
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "meta": {"versionId": "1"},
        "identifier": [{"system": MRN, "value": mrn(number)}],
        "name": [{"family": "Doe", "given": ["Jane"]}],
        "birthDate": "1961-03-14",
        "gender": "female",
    }


def _statement() -> Resource:
    kinds = ("Patient", *TYPES)
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": list(_declared(kinds))}],
    }


def _declared(kinds: tuple[str, ...]) -> Iterator[Resource]:
    for kind in kinds:
        interactions = [{"code": "read"}, {"code": "search-type"}]
        yield {"type": kind, "interaction": interactions}
