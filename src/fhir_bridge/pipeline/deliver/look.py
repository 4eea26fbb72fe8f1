"""Looking for an opinion in a chart: each document that could be it, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from fhir_bridge.case.delivery import Delivery
from fhir_bridge.errors import (
    BridgeError,
    ForeignAddress,
    ProviderRefused,
    RecordError,
    TooLarge,
)
from fhir_bridge.pipeline.deliver import words
from fhir_bridge.pipeline.deliver.chart import Way
from fhir_bridge.pipeline.deliver.compare import names
from fhir_bridge.pipeline.deliver.document_reference import (
    CONSULT_NOTE,
    LOINC,
    URI,
    Node,
    Signed,
    contents,
    sha1,
)
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.attachments import decode, sniff
from fhir_bridge.standards.fhir.bundle import read_searchset
from fhir_bridge.standards.fhir.moments import sort_key

PAGE_SIZE = 50
MAX_OPENED = 20
_TYPE = f"{LOINC}|{CONSULT_NOTE}"
_NOT_OPENED = (RecordError, ProviderRefused, ForeignAddress, TooLarge)
Question = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What a chart shows of one opinion: `DocumentReference/id` of each that is it.

    `listed` are those that a search without our identifier finds, as a physician's list does.
    `certain` is False when more may exist than was looked at: then none found proves nothing.
    """

    matches: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    certain: bool = True


@dataclass(frozen=True, slots=True)
class _List:
    """The DocumentReferences that one question found, by `DocumentReference/id`."""

    found: dict[str, Node]
    whole: bool


def look(delivery: Delivery, way: Way) -> Seen:
    """
    Search by identifier, by patient and date, and by patient and type; open what may be it.

    A server that ignores a parameter, drops our identifiers or our type is met by one of the
    three. Raises what the chart raises when no question at all is answered.
    """
    by_identifier, *lists = _answered(delivery, way)
    found = {reference: node for each in lists for reference, node in each.found.items()}
    everything = by_identifier.found | found
    ours = {ref for ref, node in everything.items() if _says_so(node, delivery, way.signed)}
    ours |= {delivery.location} & everything.keys()
    doubtful = [
        (reference, node)
        for reference, node in everything.items()
        if reference not in ours and _recent(node, way.signed)
    ]
    opened, sure = _opened(doubtful, way)
    matches = frozenset(ours | opened)
    whole = bool(lists) and all(each.whole for each in (by_identifier, *lists))
    return Seen(matches, matches & found.keys(), certain=sure and whole)


def _answered(delivery: Delivery, way: Way) -> list[_List]:
    """First the answer by identifier, then the lists that a physician could see."""
    patient = ("patient", way.site.patient_id)
    since = _since(way.signed)
    by_identifier: Question = (patient, ("identifier", f"{URI}|{delivery.identifier}"))
    answers = [_asked(by_identifier, way) or _List({}, whole=True)]
    for question in ((patient, ("date", f"ge{since}")), (patient, ("type", _TYPE))):
        answer = _asked(question, way)
        if answer:
            answers.append(answer)
    if len(answers) == 1:  # neither date nor type is known there
        answers.append(_pages((patient,), way))
    return answers


def _asked(question: Question, way: Way) -> _List | None:
    """None when the server refuses this question; it may know another one."""
    try:
        return _pages(question, way)
    except ProviderRefused:
        return None


def _pages(question: Question, way: Way) -> _List:
    found: dict[str, Node] = {}
    params = (*question, ("_count", str(PAGE_SIZE)))
    answer = way.chart.search("DocumentReference", params, fresh=True)
    visited: set[str] = set()
    for _ in range(way.site.max_pages):
        page = read_searchset(json.load_object(answer.body or b""), "")
        for entry in page.matches:
            if entry.resource["resourceType"] == "DocumentReference":
                found[f"DocumentReference/{entry.resource.get('id', '')}"] = entry.resource
        if page.unreadable or any(issue.failed for issue in page.issues):
            return _List(found, whole=False)
        if not page.next_link:
            return _List(found, whole=True)
        if page.next_link in visited:
            break
        visited.add(page.next_link)
        answer = way.chart.follow(page.next_link, previous=answer.original.id)
    return _List(found, whole=False)  # more pages than we turn, or a chain that repeats itself


def _since(signed: Signed) -> str:
    # A day earlier: the chart may count days in another zone. A later date is always found.
    return (date.fromisoformat(signed.opinion.date) - timedelta(days=1)).isoformat()


def _recent(resource: Node, signed: Signed) -> bool:
    when = sort_key(resource.get("date"))
    return when[0] < 0 or when[0] >= sort_key(_since(signed))[0]


def _says_so(resource: Node, delivery: Delivery, signed: Signed) -> bool:
    if names(resource, delivery.identifier) or names(resource, signed.identifier):
        return True
    hashes = {sha1(body) for _, body in contents(signed)}
    return any(attachment.get("hash") in hashes for attachment in attachments(resource))


def attachments(resource: Node) -> Iterator[Node]:
    """`content[].attachment` in order, whatever is missing."""
    listed = resource.get("content")
    for content in listed if isinstance(listed, list) else ():
        attachment = content.get("attachment") if isinstance(content, dict) else None
        yield attachment if isinstance(attachment, dict) else {}


def part(attachment: Node, way: Way) -> bytes:
    """
    An attachment's bytes, inline or fetched; empty when it has neither.

    Raises what the chart raises, and Unreadable for base64 that is none.
    """
    if attachment.get("data"):
        return decode(attachment["data"])
    url, declared = attachment.get("url"), str(attachment.get("contentType") or "")
    if not url:
        return b""
    answer = way.chart.fetch(str(url), content_type=declared)
    return way.bodies.read(answer.original.sha256)


def _opened(doubtful: Sequence[tuple[str, Node]], way: Way) -> tuple[set[str], bool]:
    """Which of them hold our content, by their bytes or by the identifier printed in them."""
    newest = sorted(doubtful, key=lambda one: sort_key(one[1].get("date")), reverse=True)
    sure = len(newest) <= MAX_OPENED
    found = set()
    for reference, node in newest[:MAX_OPENED]:
        try:
            if any(_is_ours(part(attachment, way), way.signed) for attachment in attachments(node)):
                found.add(reference)
        except _NOT_OPENED:
            sure = False
    return found, sure


def _is_ours(body: bytes, signed: Signed) -> bool:
    if body in (signed.pdf, signed.document):
        return True
    content_type = sniff(body)
    if content_type == "application/fhir+json":
        return _bundle_identifier(body) == signed.identifier
    text = words.shown_text(content_type, body)
    return text is not None and signed.identifier in text


def _bundle_identifier(body: bytes) -> object:
    try:
        identifier = json.load_object(body).get("identifier")
    except BridgeError:
        return None
    return identifier.get("value") if isinstance(identifier, dict) else None
