"""One record as it stands in the case record: our id, our references, nothing else changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_bridge.case.record import HeldAttachment, Unresolved
from fhir_bridge.pipeline.normalize.coding import typed
from fhir_bridge.pipeline.normalize.contents import Contents, rewritten
from fhir_bridge.pipeline.normalize.evidence import types
from fhir_bridge.pipeline.normalize.links import Links
from fhir_bridge.standards.fhir.attachments import without_server
from fhir_bridge.standards.fhir.lenient import objects
from fhir_bridge.standards.fhir.narrative import accepted
from fhir_bridge.standards.fhir.references import Form, literal
from fhir_bridge.standards.fhir.walking import Found, Node, Path, path_text, replaced, walk

# Profiles are claims about the source's own copy, which a rewritten one cannot keep; the version
# is the source's count of its own changes. Both stay readable in the original.
_KEPT_META = ("lastUpdated", "source", "security", "tag", "extension")

NOT_INSIDE = "is named as a part of this record and is not in it"


@dataclass(slots=True)
class Dressed:
    """A record's resource in the case record, what of it leads out, and what was changed."""

    resource: Node
    unresolved: list[Unresolved] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Dresser:
    """Dresses records of a case: knows where references lead and which contents are held."""

    links: Links
    contents: Contents

    def dress(
        self,
        resource: Mapping[str, Any],
        full_url: str,
        *,
        source: str,
        base: str,
        found: Found | None = None,
        held: Mapping[str, HeldAttachment] | None = None,
    ) -> Dressed:
        """A resource as it stands under `full_url`; `held` are its attachments by path."""
        bare, dropped = _without_addresses(resource)
        found = walk(bare) if found is None or dropped else found
        dressed = Dressed({})
        dropped |= _missing(found, objects(bare.get("contained")))
        changes = [
            *self._references(found, full_url, source, dropped, dressed),
            *self._attachments(found, full_url, base, held or {}, dressed),
        ]
        dressed.resource = replaced(bare, changes)
        dressed.resource["id"] = full_url.removeprefix("urn:uuid:")
        _with_our_meta(dressed, base)
        added, note = typed(dressed.resource)
        dressed.resource.update(added)
        dressed.notes += [note] if note else []
        return dressed

    def _references(
        self, found: Found, full_url: str, source: str, dropped: Mapping[str, str], into: Dressed
    ) -> Iterator[tuple[Path, Node]]:
        for path, node in found.references:
            reason = dropped.get(str(node.get("reference")))
            if reason:
                display = {"display": node.get("display") or "an address of the hospital's system"}
                into.unresolved.append(
                    Unresolved(full_url, path_text(path), str(node["reference"]), reason)
                )
                yield path, display
                continue
            landing = self.links.land(node, source)
            if landing.reason:
                into.unresolved.append(
                    Unresolved(full_url, path_text(path), landing.written, landing.reason)
                )
            if landing.node is not node:
                yield path, landing.node

    def _attachments(
        self,
        found: Found,
        full_url: str,
        base: str,
        held: Mapping[str, HeldAttachment],
        into: Dressed,
    ) -> Iterator[tuple[Path, Node]]:
        for path, node in found.attachments:
            where = path_text(path)
            changed, reason = rewritten(node, held.get(where), self.contents, base)
            if reason:
                title = str(node.get("title") or "content")
                into.unresolved.append(Unresolved(full_url, where, title, reason))
            if changed is not node:
                yield path, changed


def _without_addresses(resource: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """A resource without the contained ones that the table leaves out, and what named them."""
    inside = objects(resource.get("contained"))
    dropped = {
        f"#{one.get('id', '')}": types()[one["resourceType"]]["why"]
        for one in inside
        if types().get(str(one.get("resourceType")), {}).get("left_out")
    }
    if not dropped:
        return resource, {}
    kept = [one for one in inside if f"#{one.get('id', '')}" not in dropped]
    bare = {key: value for key, value in resource.items() if key != "contained"}
    return ({**bare, "contained": kept} if kept else bare), dropped


def _missing(found: Found, inside: Iterable[Node]) -> dict[str, str]:
    """What a record names inside itself (`#p1`) and does not hold, and why it leads nowhere."""
    held = {f"#{one.get('id', '')}" for one in inside} | {"#"}
    named = {
        str(node["reference"])
        for _, node in found.references
        if literal(node).form is Form.CONTAINED
    }
    return dict.fromkeys(named - held, NOT_INSIDE)


def _with_our_meta(dressed: Dressed, base: str) -> None:
    resource = dressed.resource
    meta = resource.pop("meta", None)
    kept = {key: meta[key] for key in _KEPT_META if key in meta} if isinstance(meta, dict) else {}
    if isinstance(kept.get("source"), str):
        kept["source"] = without_server(kept["source"], base) or kept["source"]
    if kept:
        resource["meta"] = kept
    narrative = resource.get("text")
    if not isinstance(narrative, dict):
        return
    div = accepted(narrative.get("div"))
    if div is None:
        del resource["text"]
        dressed.notes.append("its narrative is left out, as it is not plain XHTML")
    elif div != narrative.get("div"):
        resource["text"] = {**narrative, "div": div}
