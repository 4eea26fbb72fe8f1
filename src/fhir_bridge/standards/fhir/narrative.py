"""XHTML of narratives: ours built from escaped text, foreign ones let in only when harmless."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

import nh3
from lxml import etree

XHTML = "http://www.w3.org/1999/xhtml"
# What a narrative may consist of (R4 2.4.1), without images: they would lead out of the record.
_BLOCKS = {"div", "p", "br", "hr", "pre", "blockquote", "address", "ins", "del", "span", "a"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_LISTS = {"ul", "ol", "li", "dl", "dt", "dd"}
_TABLES = {"table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td"}
_WORDS = {"b", "i", "u", "s", "em", "strong", "small", "big", "tt", "sub", "sup", "code", "q"}
_TERMS = {"cite", "dfn", "var", "samp", "kbd", "abbr", "acronym"}
_ELEMENTS = frozenset(_BLOCKS | _HEADINGS | _LISTS | _TABLES | _WORDS | _TERMS)
_ATTRIBUTES = frozenset(
    {"title", "class", "id", "lang", "dir", "colspan", "rowspan", "span", "abbr", "scope"}
    | {"headers", "align", "valign"}
)
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape(text: str) -> str:
    """
    Text as it may stand in XHTML; characters that XML cannot carry are left out.

    >>> escape('BP <120 & "fine"')
    'BP &lt;120 &amp; &quot;fine&quot;'
    """
    return html.escape(_NOT_XML.sub("", text))


def div(*parts: str) -> str:
    """A narrative's div around parts that are XHTML already."""
    return f'<div xmlns="{XHTML}">{"".join(parts)}</div>'


def paragraph(text: str) -> str:
    """A paragraph of escaped text."""
    return f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    """A small heading of escaped text."""
    return f"<p><b>{escape(text)}</b></p>"


def bullets(lines: Iterable[str]) -> str:
    """A list of escaped lines; empty for none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table of escaped cells, without styles, so that it survives any chart's viewer."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in headers)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def accepted(foreign: object) -> str | None:
    """
    A foreign narrative's div when it is plain XHTML, freed of links, styles and unknown attributes.

    None when it is not well-formed, not a div, has an element that FHIR does not allow or that
    could act (script, iframe, form, image), or says nothing (R4 txt-1, txt-2). The text inside is
    kept letter for letter.
    """
    root = _parsed(foreign)
    if (
        root is None
        or root.tag != f"{{{XHTML}}}div"
        or not any(map(str.strip, map(str, root.itertext())))
    ):
        return None
    for element in root.iter():
        if not isinstance(element.tag, str):
            return None  # a comment, a processing instruction or an entity
        if element.tag.removeprefix(f"{{{XHTML}}}") not in _ELEMENTS:
            return None
        for name in list(element.attrib):
            if name not in _ATTRIBUTES and name != _XML_LANG:
                del element.attrib[name]
    etree.cleanup_namespaces(root)
    return etree.tostring(root, encoding="unicode")


def _parsed(foreign: object) -> etree._Element | None:
    if not isinstance(foreign, str) or "<!" in foreign:
        return None
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )
    try:
        return etree.fromstring(_ENTITY.sub(_entity, foreign).encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _entity(match: re.Match[str]) -> str:
    # Named characters of HTML have no meaning in XML without its DTD.
    return match[0] if match[1] in _XML_ENTITIES else html.unescape(match[0])


def shown(foreign: str) -> str:
    """Foreign HTML made safe for a page of ours: no scripts, styles, images or links."""
    return nh3.clean(foreign, tags=set(_ELEMENTS - {"a"}), attributes={"td": {"colspan"}})
