"""One walk over a resource: every reference and attachment with its path; how to replace them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]
Path = tuple[str | int, ...]

REFERENCE_KEYS = frozenset({"reference", "type", "identifier", "display", "id", "extension"})
ATTACHMENT_KEYS = frozenset(
    {"contentType", "language", "data", "url", "size", "hash", "title", "creation"}
    | {"id", "extension"}
)
# Every R4 element of type Attachment, by name; `content` is one only in Media and Library.
ATTACHMENT_NAMES = frozenset(
    {"attachment", "presentedForm", "content", "photo", "image", "form", "sourceAttachment"}
    | {"contentAttachment", "valueAttachment", "legallyBindingAttachment", "sequenceAttachment"}
    | {"defaultValueAttachment"}
)


@dataclass(slots=True)
class Found:
    """What one walk met, in document order: (path, node) pairs that belong to the resource."""

    references: list[tuple[Path, Node]] = field(default_factory=list)
    attachments: list[tuple[Path, Node]] = field(default_factory=list)


def walk(resource: Mapping[str, Any]) -> Found:
    """
    Every Reference and Attachment of a resource, contained resources included.

    Recognised by shape, so that elements of profiles and later versions are met as well. A
    Reference has a literal, or an identifier and nothing that a Reference has not (R4 2.3).
    """
    found = Found()
    _walk(resource if isinstance(resource, dict) else dict(resource), (), "", found)
    return found


def _walk(node: Node, path: Path, name: str, found: Found) -> None:
    if path and is_reference(node):
        found.references.append((path, node))
    elif name in ATTACHMENT_NAMES and is_attachment(node):
        found.attachments.append((path, node))
    for key, value in node.items():
        if isinstance(value, dict):
            _walk(value, (*path, key), key, found)
        elif isinstance(value, list):
            _walk_list(value, (*path, key), key, found)


def _walk_list(values: list[Any], path: Path, name: str, found: Found) -> None:
    for index, value in enumerate(values):
        if isinstance(value, dict):
            _walk(value, (*path, index), name, found)
        elif isinstance(value, list):
            _walk_list(value, (*path, index), name, found)


def is_reference(node: Mapping[str, Any]) -> bool:
    """Whether an object is a Reference: by literal, or by identifier alone."""
    if isinstance(node.get("reference"), str):
        return _only(node, REFERENCE_KEYS)
    return isinstance(node.get("identifier"), dict) and _only(node, REFERENCE_KEYS)


def is_attachment(node: Mapping[str, Any]) -> bool:
    """Whether an object has the elements of an Attachment and no others."""
    return _only(node, ATTACHMENT_KEYS)


def _only(node: Mapping[str, Any], keys: frozenset[str]) -> bool:
    return all(key.removeprefix("_") in keys for key in node)


def path_text(path: Path) -> str:
    """
    A path as people and FHIRPath write it.

    >>> path_text(("content", 0, "attachment"))
    'content[0].attachment'
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def replaced(resource: Mapping[str, Any], changes: Iterable[tuple[Path, Node]]) -> Node:
    """
    The resource with some nodes replaced; whatever did not change is shared, nothing is edited.

    An outer change is applied before one inside it; one whose place is gone is left out.
    """
    result = dict(resource)
    own = {id(result)}
    for path, node in changes:
        _put(result, path, node, own)
    return result


def _put(root: Node, path: Path, node: Node, own: set[int]) -> None:
    place: Any = root
    for step in path[:-1]:
        if not _has(place, step):
            return
        below = place[step]
        if id(below) not in own:
            below = list(below) if isinstance(below, list) else dict(below)
            own.add(id(below))
            place[step] = below
        place = below
    if _has(place, path[-1]):
        place[path[-1]] = node


def _has(place: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(place, list) and step < len(place)
    return isinstance(place, dict) and step in place
