"""A hospital in memory that can go wrong in every way that was met, over the real store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fhir_bridge.case.case import Case, Pin, PinState, TreatingProvider
from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.case.imaging import Arrival, Instance, InstanceClaim, StudyClaim
from fhir_bridge.case.original import Answer, How, Original
from fhir_bridge.errors import (
    AttachmentMissing,
    BridgeError,
    ForeignAddress,
    ProviderFailed,
    ProviderRefused,
    StudyIncomplete,
)
from fhir_bridge.pipeline.pull import attachments, pages, plan, references, studies, witness
from fhir_bridge.pipeline.pull.certify import certificate
from fhir_bridge.pipeline.pull.source import TYPES, Source
from fhir_bridge.standards.fhir import json
from fhir_bridge.store.shelves import Store

BASE = "https://ehr.example/r4"
NARROWING = frozenset({"date", "date:missing", "status", "category", "_id", "_lastUpdated"})
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MRN = "urn:oid:2.16.840.1.113883.19.5"
JANE = Person((Identifier(MRN, "00123"),), "Doe", "Jane", "1961-03-14", "female")
Resource = dict[str, Any]
_ids = itertools.count()


def patient(id_: str = "p1", **more: Any) -> Resource:
    """A Patient that is JANE, or what `more` makes of it."""
    return {
        "resourceType": "Patient",
        "id": id_,
        "identifier": [{"system": MRN, "value": "00123"}],
        "name": [{"family": "Doe", "given": ["Jane"]}],
        "birthDate": "1961-03-14",
        "gender": "female",
    } | more


def document(id_: str, version: str = "1", **more: Any) -> Resource:
    """A DocumentReference of Patient/p1."""
    return {
        "resourceType": "DocumentReference",
        "id": id_,
        "meta": {"versionId": version},
        "status": "current",
        "subject": {"reference": "Patient/p1"},
    } | more


@dataclass(slots=True)
class FakeEhr:
    """
    Satisfies pipeline.pull.source.Ehr over a real store. `resources` is what the server has.

    `faults` maps a page number (from 0) of a search to what goes wrong there, each time it is
    asked; `once` does so a single time. `totals` is what pages say: honest, none, page, or a
    number. `counts` is what `_summary=count` gives: honest, none, ignored, refused, or a number.
    `filters` says whether date, status, category, _id and _lastUpdated are obeyed.
    """

    store: Store
    case_id: str
    resources: list[Resource]
    page: int = 20
    faults: dict[int, str] = field(default_factory=dict)
    once: dict[int, str] = field(default_factory=dict)
    totals: str | int = "honest"
    counts: str | int = "honest"
    refused: set[str] = field(default_factory=set)
    interactions: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: dict.fromkeys(TYPES, frozenset({"search-type", "read"}))
    )
    operations: Mapping[str, frozenset[str]] = field(default_factory=dict)
    search_params: Mapping[str, frozenset[str]] = field(default_factory=dict)
    fhir_version: str = "4.0.1"
    software: str = ""
    publisher: str = ""
    url: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    base: str = BASE
    filters: bool = True
    narrowed: str = ""

    def capability(self) -> FakeEhr:
        return self

    def search(
        self, type_: str, params: Sequence[tuple[str, str]], *, post: bool = False
    ) -> Answer:
        self.asked.append(f"search {type_} {dict(params)}")
        if type_ in self.refused:
            raise ProviderRefused("HTTP 403")
        self.narrowed = urlencode([pair for pair in params if pair[0] in NARROWING])
        if ("_summary", "count") in params and self.counts != "ignored":
            return self._counted(type_)
        faulty = ("_summary", "count") not in params
        return self._window(type_, 0, 0, faulty=faulty)

    def follow(self, url: str, *, previous: str) -> Answer:
        assert self.store.originals.get(previous) is not None, "the page that named it is not kept"
        self.asked.append(f"follow {url}")
        if not url.startswith(self.base):
            raise ForeignAddress("a next link leads to another origin")
        query = dict(parse_qsl(urlsplit(url).query))
        self.narrowed = urlencode(
            [pair for pair in parse_qsl(urlsplit(url).query) if pair[0] in NARROWING]
        )
        return self._window(query["type"], int(query["page"]), int(query["start"]))

    def _counted(self, type_: str) -> Answer:
        if self.counts == "refused":
            raise ProviderRefused("HTTP 400")
        total = len(self._of(type_)) if self.counts == "honest" else self.counts
        return self._answer({**_bundle([]), **({} if total == "none" else {"total": total})})

    def _window(self, type_: str, number: int, start: int, *, faulty: bool = True) -> Answer:
        found = self._of(type_)
        fault = (self.once.pop(number, "") or self.faults.get(number, "")) if faulty else ""
        if fault == "500":
            raise ProviderFailed("HTTP 500")
        if fault == "410":
            raise ProviderRefused("HTTP 410")
        if fault == "repeat-2":  # the window shifts while we turn: two again, two never
            start = max(start - 2, 0)
        if fault.startswith("skip-"):
            start += int(fault.removeprefix("skip-"))
        chosen = found[start : start + self.page]
        after = start + self.page
        body = _bundle(chosen)
        if after < len(found) and fault != "drop-next":
            body["link"] = [self._next(type_, number, after, fault)]
        body |= self._total(found, chosen)
        return self._spoilt(body, fault)

    def _next(self, type_: str, number: int, start: int, fault: str) -> Resource:
        number, start = (1, self.page) if fault == "loop" else (number + 1, start)
        base = "https://elsewhere.example/r4" if fault == "foreign-next" else self.base
        query = f"type={type_}&page={number}&start={start}&{self.narrowed}".rstrip("&")
        return {"relation": "next", "url": f"{base}?{query}"}

    def _total(self, found: Sequence[Resource], chosen: Sequence[Resource]) -> Resource:
        said = {"honest": len(found), "page": len(chosen)}.get(str(self.totals), self.totals)
        return {} if said == "none" else {"total": said}

    def _spoilt(self, body: Resource, fault: str) -> Answer:
        match fault:
            case "outcome":
                return self._answer(_outcome("error", "exception", "try later"))
            case "html":
                return self._answer(b"<html>Please log in</html>")
            case "truncated":
                return self._answer(json.dumps(body)[:-40])
            case "suppressed":
                body["entry"][-1:] = [_entry(_outcome("warning", "suppressed", "10 results"))]
            case "empty-entry":
                body["entry"][-1:] = [{"fullUrl": f"{self.base}/DocumentReference/x"}]
            case "forbidden":
                body["entry"] = [_entry(_outcome("error", "forbidden", ""))]
                body.pop("link", None)
        return self._answer(body)

    def read(self, reference: str, *, previous: str = "") -> Answer:
        self.asked.append(f"read {reference}")
        for resource in self.resources:
            if reference == f"{resource['resourceType']}/{resource['id']}":
                return self._answer(resource)
        raise ProviderRefused("HTTP 404")

    def fetch(self, url: str, *, content_type: str) -> Answer:
        self.asked.append(f"fetch {url}")
        if url not in self.bodies:
            raise AttachmentMissing("HTTP 404")
        return replace(self._answer(self.bodies[url]), body=None)

    def _of(self, type_: str) -> list[Resource]:
        asked = parse_qsl(self.narrowed) if self.filters else []
        found = [r for r in self.resources if r["resourceType"] == type_]
        return [r for r in found if all(_answers(r, *pair) for pair in asked)]

    def _answer(self, body: Resource | bytes) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body)
        blob = self.store.originals.put(content)
        original = Original(
            id=f"original-{next(_ids)}",
            source="st-anne",
            how=How.GET,
            request="GET",
            sha256=blob.sha256,
            size=blob.size,
            received_at=NOW,
            case_id=self.case_id,
            status=200,
        )
        return Answer(self.store.originals.keep(original), f"{self.base}?{original.id}", content)


def _answers(resource: Resource, name: str, value: str) -> bool:
    if name == "_id":
        return resource["id"] in value.split(",")
    if name == "_lastUpdated":
        return resource.get("meta", {}).get("lastUpdated", "") >= value[2:]
    if name == "date:missing":
        return ("date" not in resource) is (value == "true")
    if name != "date":
        return resource.get(name) == value
    found = resource.get("date", "")[:10]
    return bool(found) and (found < value[2:] if value.startswith("lt") else found >= value[2:])


def _bundle(resources: Sequence[Resource]) -> Resource:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [_entry(r) for r in resources]}


def _entry(resource: Resource) -> Resource:
    return {"resource": resource}


def _outcome(severity: str, code: str, words: str) -> Resource:
    issue = {"severity": severity, "code": code, "diagnostics": words}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


@dataclass(slots=True)
class FakeArchive:
    """A PACS in memory: `has` what it holds, `lists` what it says that it holds."""

    has: list[InstanceClaim]
    lists: list[InstanceClaim] | None = None
    stated: int | None = None
    witness: str = "QIDO instances"
    gives: int = 10_000
    retrieved: list[int] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    broken: BridgeError | None = None

    def _listed(self) -> list[InstanceClaim]:
        return self.has if self.lists is None else self.lists

    def list_studies(self, patient_id: str) -> Sequence[StudyClaim]:
        self.numbers.append(patient_id)
        if self.broken is not None:
            raise self.broken
        uids = dict.fromkeys(claim.study_uid for claim in self._listed())
        return [StudyClaim(uid, instances=self.stated) for uid in uids]

    def list_instances(self, study_uid: str) -> Sequence[InstanceClaim]:
        return [claim for claim in self._listed() if claim.study_uid == study_uid]

    def retrieve(
        self,
        study_uid: str,
        only: Collection[InstanceClaim],
        deliver: Callable[[Arrival], object],
    ) -> object:
        self.retrieved.append(len(only))
        ours = [c for c in self.has if c.study_uid == study_uid and (not only or c in only)]
        for claim in ours[: self.gives]:
            deliver(Arrival("st-anne", How.GET, [claim.series_uid.encode()], part10=True,
                            sop_uid=claim.sop_uid, facts={"study": study_uid}))  # fmt: skip
        if len(ours) > self.gives:
            raise StudyIncomplete("it broke off")
        return None


def open_case(store: Store, case_id: str) -> Case:
    """A case of JANE at St. Anne, whose patient there is settled."""
    store.providers.add(TreatingProvider("st-anne", "St. Anne", BASE), at=NOW)
    case = Case(case_id, patient("ours"), JANE, "neurology", "?", ("st-anne",), NOW)
    store.cases.open(case)
    store.cases.pin(Pin(case_id, "st-anne", PinState.ACCEPTED, "p1", "test"))
    return case


def source_of(
    store: Store, case: Case, ehr: FakeEhr | None, *archives: FakeArchive, shelf: Any = None
) -> Source:
    """The source as steps.pulling makes it; `shelf` may stand before the ledger."""
    ledgers = shelf or store.ledgers

    def deliver(arrival: Arrival) -> Instance:
        instance = Instance(
            "st-anne", arrival.facts["study"], "1.2.3", arrival.sop_uid, "1.2.840", "1.2", "a", "b",
            3, f"{case.id}-{arrival.sop_uid}", case_id=case.id,
        )  # fmt: skip
        original = Original(instance.original, "st-anne", How.GET, "GET", "a", 3, NOW, case.id)
        store.images.store_instance(original, instance, at=NOW)
        return instance

    return Source(
        id="st-anne",
        name="St. Anne",
        case=case,
        ehr=ehr,
        archives=archives,
        shelf=ledgers,
        files=ledgers,
        bodies=store.originals,
        claims=ledgers,
        pins=store.cases,
        deliver=deliver,
        held=lambda: store.images.held(case.id, "st-anne"),
        now=lambda: NOW,
    )


def fill(source: Source, ehr: FakeEhr) -> int:
    """What records refer to and attach, one after the other; how many there were."""
    wanted = source.shelf.unread(source.case.id, source.id)
    for kind, id_ in wanted:
        references.read(source, ehr, kind, id_)
    files = sorted(source.files.unsettled(source.case.id, source.id), key=lambda a: a.key)
    for _, group in itertools.groupby(files, key=lambda a: a.key):
        attachments.settle(source, ehr, list(group))
    return len(wanted) + len(files)


def pull(source: Source, ehr: FakeEhr, *, run: int = 1) -> dict[str, Any]:
    """The whole order of a pull, as workflows.pull_source has it; the line of each type."""
    for type_ in plan.begin(source, ehr, run):
        while pages.turn(source, ehr, type_):
            pass
    while fill(source, ehr):
        pass
    studies.list_studies(source, run)
    while studies.fetch_next(source):
        pass
    for type_ in TYPES:
        while witness.check(source, ehr, type_):
            pass
        pages.recount(source, ehr, type_)
    studies.close(source, ehr)
    return lines(source)


def lines(source: Source) -> dict[str, Any]:
    """The certificate by type."""
    ledgers, case_id = source.shelf, source.case.id
    found = certificate(ledgers.slices(case_id), ledgers.attachments(case_id))
    return {line.type: line for line in found}
