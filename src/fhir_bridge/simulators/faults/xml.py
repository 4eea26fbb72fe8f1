"""FHIR JSON as FHIR XML, for a hospital that cannot say anything else (R4 xml.html)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import quoteattr

from fhir_bridge.simulators.wire import Resource


def as_xml(resource: Resource) -> bytes:
    """A resource as XML; a narrative is left out."""
    return "".join(_resource(resource, ' xmlns="http://hl7.org/fhir"')).encode()


def _resource(resource: Resource, namespace: str = "") -> Iterator[str]:
    kind = resource["resourceType"]
    rest = {key: value for key, value in resource.items() if key not in ("resourceType", "text")}
    yield f"<{kind}{namespace}>"
    yield from _children(rest)
    yield f"</{kind}>"


def _children(node: dict[str, Any]) -> Iterator[str]:
    for name, value in node.items():
        for one in value if isinstance(value, list) else [value]:
            yield from _element(name, one)


def _element(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield f"<{name} value={quoteattr(text)}/>"
    elif name.startswith("_"):
        return
    else:
        yield f"<{name}>"
        yield from _resource(value) if "resourceType" in value else _children(value)
        yield f"</{name}>"
