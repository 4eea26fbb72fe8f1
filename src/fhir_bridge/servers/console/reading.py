"""Foreign text, HTML and C-CDA made harmless to read: plain elements, no scripts, no loads."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import nh3
from lxml import etree

from fhir_bridge.standards.fhir import narrative

_CDA = "urn:hl7-org:v3"
_TEXT = frozenset({"text/plain", "text/rtf+plain", "text/csv"})
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_XML = frozenset(
    {
        "application/xml",
        "text/xml",
        "application/cda+xml",
        "application/hl7-sda+xml",
        "application/hl7-v3+xml",
    }
)
# C-CDA narrative elements (CDA R2 4.3.5) and what they are in HTML; others keep their text.
_ELEMENTS = {
    "paragraph": "p",
    "list": "ul",
    "item": "li",
    "content": "span",
    "caption": "caption",
    "table": "table",
    "thead": "thead",
    "tbody": "tbody",
    "tr": "tr",
    "td": "td",
    "th": "th",
    "br": "br",
    "sub": "sub",
    "sup": "sup",
}
_MAX_DEPTH = 60


def can_read(kind: str) -> bool:
    """Whether `read` knows this content type."""
    return kind in _TEXT | _HTML | _XML


def read(body: bytes, kind: str) -> str:
    """The inside of an HTML body that shows the text of a foreign file."""
    if kind in _HTML:
        return narrative.shown(decoded(body))
    if kind in _XML:
        return _cda(body) or f"<pre>{escape(decoded(body))}</pre>"
    return f"<pre>{escape(decoded(body))}</pre>"


def decoded(body: bytes) -> str:
    """Text of unknown encoding: UTF-8 if it is, else Windows-1252."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", "replace")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _cda(body: bytes) -> str:
    """Title and sections of a ClinicalDocument; empty when it is none."""
    # Without DTD, entities and network: a C-CDA is read for its narrative blocks only.
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_pis=True,
        remove_comments=True,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return ""
    if root.tag != f"{{{_CDA}}}ClinicalDocument":
        return ""
    title = root.findtext(f"{{{_CDA}}}title") or "Clinical document"
    parts = "".join(_section(s) for s in root.iter(f"{{{_CDA}}}section"))
    return nh3.clean(f"<h1>{escape(title)}</h1>{parts}", attributes={}, link_rel=None)


def _section(section: etree._Element) -> str:
    title = section.findtext(f"{{{_CDA}}}title") or ""
    text = section.find(f"{{{_CDA}}}text")
    inner = "" if text is None else "".join(_narrative(text, 0))
    heading = f"<h2>{escape(title)}</h2>" if title else ""
    return heading + inner


def _narrative(element: etree._Element, depth: int) -> Iterator[str]:
    yield escape(element.text or "")
    for child in element:
        name = str(child.tag).rpartition("}")[2]  # an entity has a function as its tag
        inner = "".join(_narrative(child, depth + 1)) if name and depth < _MAX_DEPTH else ""
        tag = _ELEMENTS.get(name)
        yield "<br>" if tag == "br" else f"<{tag}>{inner}</{tag}>" if tag else inner
        yield escape(child.tail or "")
