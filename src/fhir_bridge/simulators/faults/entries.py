"""What stands on a search page and should not, or stands there in a strange shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.born import Born
from fhir_bridge.simulators.edges import Ask, Edge
from fhir_bridge.simulators.faults.fault import Fault, every_page, small_pages, with_rules
from fhir_bridge.simulators.faults.xml import as_xml
from fhir_bridge.simulators.wire import Resource, outcome, read_json

STRANGERS = 3
HUGE_PAGE = 1600
DEEP = 4000
BOM = b"\xef\xbb\xbf"


def other_patient() -> Edge:
    """The first page of documents holds one more, and it is about somebody else."""

    def change(ask: Ask, bundle: Resource) -> Resource:
        changed = bundle | {"total": bundle["total"] + 1}
        if ask.page or not bundle.get("entry"):
            return changed if bundle["total"] else bundle
        return changed | {"entry": [*bundle["entry"], _about_another(bundle["entry"][0])]}

    return edges.rewrites(change)


def _about_another(entry: Resource) -> Resource:
    resource = entry["resource"]
    another = {"reference": "Patient/somebody-else", "display": "ELSE, Somebody"}
    moved = resource | {"id": f"{resource['id']}-other", "subject": another}
    moved.pop("masterIdentifier", None)
    moved["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.25.404"}]
    return entry | {"fullUrl": f"{entry['fullUrl']}-other", "resource": moved}


def strangers(born: Born) -> Born:
    """Documents and reports about somebody else."""
    other = {"subject": {"reference": "Patient/stranger", "display": "STRANGER, Somebody"}}
    named = {"name": [{"family": "Stranger"}], "birthDate": "1950-05-05"}
    made: list[Resource] = [_resource("Patient", "stranger", named)]
    for kind in ("DocumentReference", "DiagnosticReport"):
        pattern = born.first_of(kind)
        if pattern is not None:
            kept = {k: v for k, v in pattern.items() if not k.lower().endswith("identifier")}
            numbers = range(STRANGERS)
            made += [kept | {"id": f"stranger-{kind[:2].lower()}-{n}"} | other for n in numbers]
    return born.plus(*made)


def _resource(kind: str, identity: str, rest: dict[str, Any]) -> Resource:
    meta = {"versionId": "1", "lastUpdated": "2024-01-01T00:00:00Z"}
    return {"resourceType": kind, "id": identity, "meta": meta, **rest}


def many_conditions(born: Born) -> Born:
    """As many conditions as a long illness leaves behind."""
    patient = (born.first_of("Patient") or {"id": "nobody"})["id"]
    about = {"subject": {"reference": f"Patient/{patient}"}, "code": {"text": "Condition"}}
    made = (_resource("Condition", f"many-{n}", about) for n in range(HUGE_PAGE))
    return born.plus(*made)


def _last_entry(change: Callable[[dict[str, Any]], Any]) -> Callable[[], Edge]:
    """The last entry of every page is another."""

    def rewrite(_ask: Ask, bundle: Resource) -> Resource:
        entries = bundle.get("entry", [])
        return bundle | {"entry": [*entries[:-1], change(entries[-1])]} if entries else bundle

    return lambda: edges.rewrites(rewrite)


def _one_more(entry: dict[str, Any]) -> Callable[[], Edge]:
    """Every page with entries has one more entry."""

    def rewrite(_ask: Ask, bundle: Resource) -> Resource:
        entries = bundle.get("entry", [])
        return bundle | {"entry": [*entries, entry]} if entries else bundle

    return lambda: edges.rewrites(rewrite)


def _unwrapped(_ask: Ask, bundle: Resource) -> Resource:
    bare = [entry["resource"] for entry in bundle.get("entry", ())]
    return bundle | {"entry": bare} if bare else bundle


def _issue(severity: str, code: str, epic: str, words: str) -> dict[str, Any]:
    coding = {"system": "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369", "code": epic}
    details = {"details": {"coding": [coding]}}
    return {**outcome(severity, code, words)["issue"][0], **details}


def _said(*issues: dict[str, Any]) -> dict[str, Any]:
    body = {"resourceType": "OperationOutcome", "issue": list(issues)}
    return {"resource": body, "search": {"mode": "outcome"}}


def _only_outcome(_ask: Ask, bundle: Resource) -> Resource:
    words = "the practice parameter is missing"
    entry = _said(outcome("error", "required", words)["issue"][0])
    return {"resourceType": "Bundle", "type": "searchset", "link": bundle["link"],
            "entry": [entry]}  # fmt: skip


def more_exists() -> Edge:
    """The chain ends with page 1, and an outcome says that more data may exist."""

    def change(_ask: Ask, bundle: Resource) -> Resource:
        if not edges.next_of(bundle):
            return bundle
        warned = _said(_issue("warning", "incomplete", "4119", "more data may exist"))
        return edges.with_next(bundle, "") | {"entry": [*bundle["entry"], warned]}

    return edges.rewrites(change)


_WITHHELD = _said(_issue("warning", "suppressed", "59204", "some sub-resources are not shown"))


def _bytes(name: str, shows: str, change: Callable[[bytes], bytes]) -> Fault:
    return Fault(name, shows, "bodies", small_pages, edges.record_searches,
                 lambda: edges.rewrites_bytes(change))  # fmt: skip


def _nested(body: bytes) -> bytes:
    deep = b'{"extension":[' * DEEP + b"]}" * DEEP
    return body[:-1] + b',"contained":' + deep + b"}"


def _said_as_xml(_ask: Ask, answer: edges.Answer) -> edges.Answer:
    body = as_xml(read_json(answer.body))
    return edges.said(answer.status, "application/fhir+xml; charset=utf-8", body)


SHAPES = (
    _last_entry(lambda entry: {"fullUrl": entry["fullUrl"], "search": entry.get("search", {})}),
    _last_entry(lambda _entry: "no entry at all"),
)

ROWS = (
    Fault("other-patient-in-page", "one document about somebody else is among ours", "entries",
          reach=edges.document_searches, edge=other_patient),
    Fault("patient-filter-ignored", "the patient parameter is left out: others' records come too",
          "entries", with_rules(small=True, deaf_to=frozenset({"patient", "subject"})),
          born=strangers),
    Fault("patient-filter-ignored-echoed", "the same, and the self link claims it was heeded",
          "entries", with_rules(small=True, deaf_to=frozenset({"patient", "subject"}),
          parrots=True), born=strangers),
    Fault("category-filter-ignored", "the category parameter is left out without a word", "entries",
          with_rules(small=True, deaf_to=frozenset({"category"}))),
    Fault("date-filter-ignored", "the date parameter is left out without a word", "entries",
          with_rules(small=True, deaf_to=frozenset({"date", "started", "_lastUpdated"}))),
    Fault("one-huge-page", f"_count is ignored: everything on one page, {HUGE_PAGE} conditions too",
          "entries", with_rules(page_default=100_000, page_max=100_000, heeds_count=False),
          born=many_conditions),
    every_page("outcome-only", "searches are 200 with a searchset that holds only an error",
               lambda: edges.rewrites(_only_outcome)),
    every_page("sub-resources-withheld", "an outcome on every page: Epic's 59204, parts withheld",
               _one_more(_WITHHELD)),
    every_page("more-data-may-exist", "page 1 is the last, with Epic's 4119: more data may exist",
               more_exists),
    every_page("entry-without-resource", "the last entry of a page has no resource", SHAPES[0]),
    every_page("entry-no-object", "the last entry of a page is a string", SHAPES[1]),
    every_page("entry-bare", "entries are resources, without `resource` around them",
               lambda: edges.rewrites(_unwrapped)),
    every_page("entry-unknown-type", "one more entry is of a type that R4 does not have",
               _one_more({"resource": {"resourceType": "Horoscope", "id": "h-1"}})),
    every_page("entry-without-id", "one more entry has no id",
               _one_more({"resource": {"resourceType": "DocumentReference", "status": "current"}})),
    Fault("xml-answers", "search pages are XML, whatever was asked for", "bodies", small_pages,
          edges.record_searches, lambda: edges.changes(_said_as_xml)),
    _bytes("page-bom", "search pages begin with a UTF-8 byte order mark", lambda body: BOM + body),
    _bytes("page-duplicate-keys", "search pages say `total` twice, first 0",
           lambda body: body.replace(b'"type":', b'"total":0,"type":', 1)),
    _bytes("page-nan", "search pages hold the number NaN",
           lambda body: body.replace(b'"type":', b'"score":NaN,"type":', 1)),
    _bytes("page-deep", f"search pages are nested {2 * DEEP} deep", _nested),
    _bytes("page-latin-1", "search pages hold bytes that are no UTF-8",
           lambda body: body.replace(b'"type":', b'"title":"Befund \xfcber","type":', 1)),
)  # fmt: skip
