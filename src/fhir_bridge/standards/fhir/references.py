"""References in all the forms they are met in: classify, resolve, rewrite, and back again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from fhir_bridge.standards.fhir.walking import Node, Path, path_text, replaced, walk


class Form(StrEnum):
    """The forms of a reference (R4 2.3.0.1), each with its own rule."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    URN = "urn"
    CONTAINED = "contained"
    CONDITIONAL = "conditional"
    IDENTIFIER = "identifier-only"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Literal:
    """
    A reference taken apart. `base` has no trailing slash and is empty for a relative one;
    `version` is set for a versioned one; `id` is the urn itself, the fragment of a contained one
    (empty for the container) or the query of a conditional one.
    """

    form: Form
    type: str = ""
    id: str = ""
    version: str = ""
    base: str = ""


_ID = r"[A-Za-z0-9\-.]{1,64}"
_TAIL = re.compile(rf"^(?:(.+)/)?([A-Z][A-Za-z]{{1,63}})/({_ID})(?:/_history/({_ID}))?$")
_CONDITIONAL = re.compile(r"^(?:.*/)?([A-Z][A-Za-z]{1,63})\?(.+)$")


@lru_cache(maxsize=8192)
def classify(literal: str) -> Literal:
    """
    Take a reference's literal apart.

    >>> classify("https://ehr.example/r4/Patient/p1/_history/3").version
    '3'
    >>> classify("Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|1").form
    <Form.CONDITIONAL: 'conditional'>
    """
    text = literal.strip()
    if text.startswith("#"):
        return Literal(Form.CONTAINED, id=text[1:])
    if text.startswith("urn:"):
        return Literal(Form.URN, id=text)
    tail = _TAIL.match(text)
    if tail:
        base, type_, id_, version = tail.groups(default="")
        absolute = base.startswith(("http://", "https://"))
        if absolute or not base:
            form = Form.ABSOLUTE if absolute else Form.RELATIVE
            return Literal(form, type_, id_, version, base.rstrip("/"))
    conditional = _CONDITIONAL.match(text)
    if conditional:
        return Literal(Form.CONDITIONAL, conditional[1], conditional[2])
    return Literal(Form.OTHER, id=text)


def references(resource: Mapping[str, Any]) -> Iterator[tuple[str, Node]]:
    """Every reference of a resource with its path: `("context.encounter[0]", {...})`."""
    return ((path_text(path), node) for path, node in walk(resource).references)


def literal(reference: Mapping[str, Any]) -> Literal:
    """A Reference taken apart; one without a literal is identifier-only."""
    text = reference.get("reference")
    return classify(text) if isinstance(text, str) else Literal(Form.IDENTIFIER)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A resource with other references, and what stood there before: enough to go back."""

    resource: Node
    before: tuple[tuple[Path, Node], ...]


def rewrite(resource: Mapping[str, Any], urns: Mapping[str, str]) -> Rewritten:
    """Point each literal that `urns` knows at its urn; nothing else changes."""
    hits = [
        (path, node) for path, node in walk(resource).references if node.get("reference") in urns
    ]
    changes = [(path, {**node, "reference": urns[node["reference"]]}) for path, node in hits]
    return Rewritten(replaced(resource, changes), tuple(hits))


def restore(rewritten: Rewritten) -> Node:
    """The resource as it was before `rewrite`."""
    return replaced(rewritten.resource, rewritten.before)
