"""The rules of a FHIR document, checked by ourselves: bdl-*, cmp-*, and that references resolve."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fhir_bridge.standards.fhir.lenient import first, objects
from fhir_bridge.standards.fhir.moments import is_instant
from fhir_bridge.standards.fhir.references import Form, literal
from fhir_bridge.standards.fhir.walking import Node, path_text, walk

_URN = re.compile(r"^urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_COMPOSITION = ("status", "type", "date", "author", "title")


def problems(bundle: Mapping[str, Any], listed: Collection[tuple[str, str]] = ()) -> list[str]:
    """
    Why a Bundle is no good document (R4 3.3); empty when it is one.

    `listed` are the (fullUrl, path) of references that may lead out of it, because the record says
    so. Each sentence names the rule and the entry, never a value of the record.
    """
    found = bundle.get("entry")
    entries = [first(entry) for entry in found] if isinstance(found, list) else []
    return [
        *_of_bundle(bundle),
        *_of_entries(entries),
        *_of_composition(entries),
        *_of_references(entries, listed),
    ]


def _of_bundle(bundle: Mapping[str, Any]) -> Iterator[str]:
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "document":
        yield "this is no Bundle of type document"
    if "total" in bundle:
        yield "bdl-1: a document has no total"
    identifier = bundle.get("identifier")
    if not isinstance(identifier, Mapping) or not (
        identifier.get("system") and identifier.get("value")
    ):
        yield "bdl-9: a document has an identifier with system and value"
    if not is_instant(bundle.get("timestamp")):
        yield "bdl-10: a document has a timestamp that is an instant"


def _of_entries(entries: list[Node]) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(entries):
        resource = entry.get("resource")
        if not isinstance(resource, dict):
            yield f"bdl-5: entry {index} has no resource"
            continue
        for rule, element in (("bdl-2", "search"), ("bdl-3", "request"), ("bdl-4", "response")):
            if element in entry:
                yield f"{rule}: entry {index} of a document has no {element}"
        full_url = str(entry.get("fullUrl", ""))
        if "/_history/" in full_url:
            yield f"bdl-8: the fullUrl of entry {index} names a version"
        if not _URN.match(full_url):
            yield f"the fullUrl of entry {index} is no urn:uuid"
        elif resource.get("id") != full_url.removeprefix("urn:uuid:"):
            yield f"entry {index} has another id than its fullUrl"
        key = (full_url, str(first(resource.get("meta")).get("versionId", "")))
        if key in seen:
            yield f"bdl-7: entry {index} repeats a fullUrl"
        seen.add(key)


def _of_composition(entries: list[Node]) -> Iterator[str]:
    composition = first(entries[0].get("resource")) if entries else {}
    if composition.get("resourceType") != "Composition":
        yield "bdl-11: the first entry of a document is its Composition"
        return
    for element in _COMPOSITION:
        if not composition.get(element):
            yield f"the Composition has no {element}"
    yield from _of_sections(objects(composition.get("section")), "section")


def _of_sections(sections: Collection[Node], path: str) -> Iterator[str]:
    for index, section in enumerate(sections):
        here = f"{path}[{index}]"
        if not (section.get("text") or section.get("entry") or section.get("section")):
            yield f"cmp-1: {here} has neither text nor entries nor sections"
        if section.get("emptyReason") and section.get("entry"):
            yield f"cmp-2: {here} says why it is empty and is not"
        yield from _of_sections(objects(section.get("section")), f"{here}.section")


def _of_references(entries: list[Node], listed: Collection[tuple[str, str]]) -> Iterator[str]:
    present, allowed = {str(e.get("fullUrl", "")) for e in entries}, frozenset(listed)
    for index, entry in enumerate(entries):
        resource = entry.get("resource")
        if not isinstance(resource, dict):
            continue
        full_url = str(entry.get("fullUrl", ""))
        found = walk(resource)
        for path, node in found.references:
            if not _resolves(node, resource, present) and (
                (full_url, path_text(path)) not in allowed
            ):
                yield f"{path_text(path)} of entry {index} leads out of the document, unlisted"
        for path, node in found.attachments:
            url = node.get("url")
            stays = isinstance(url, str) and url in present
            if url and not stays and (full_url, path_text(path)) not in allowed:
                yield f"{path_text(path)} of entry {index} leads out of the document, unlisted"


def _resolves(reference: Node, resource: Node, present: Collection[str]) -> bool:
    target = literal(reference)
    if target.form is Form.IDENTIFIER:
        return True  # it claims no address
    if target.form is Form.CONTAINED:
        inside = objects(resource.get("contained"))
        return not target.id or any(one.get("id") == target.id for one in inside)
    return reference["reference"] in present
