"""The words of an opinion, and the words of whatever a chart made of it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fhir_bridge.errors import RecordError
from fhir_bridge.standards.fhir import json

MAX_TEXT_BYTES = 8 * 1024 * 1024
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)?[^<>]*>")
_WITHIN_WORDS = frozenset(
    {"a", "b", "code", "em", "font", "i", "span", "strong", "sub", "sup", "u"}
)
_HIDDEN = frozenset({"head", "script", "style"})
_RTF = re.compile(
    r"\\'(?P<hex>[0-9a-fA-F]{2})|\\u(?P<unicode>-?\d{1,6})[ ]?\??|\\(?P<escaped>[\\{}])"
    r"|\\(?P<space>par|line|tab|cell|row)\b[ ]?|\\[a-zA-Z]+-?\d*[ ]?|\\[^a-zA-Z]|[{}]"
)
# Punctuation around a word; the typographic marks are written by their numbers.
_EDGES = ".,;:!?()[]{}<>\"'-*|/ \u201c\u201d\u2018\u2019\u2026\u2013\u2014\u2022"


def words(text: str) -> Counter[str]:
    """
    Words and figures with how often each stands there; a figure keeps its inner points.

    >>> words("CEA 68.40 ng/mL. No CEA!") == {"cea": 2, "68.40": 1, "ng/ml": 1, "no": 1}
    True
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u00ad", "")
    found = (word.strip(_EDGES) for word in plain.split())
    return Counter(word for word in found if word)


def of_document(document: bytes) -> Counter[str]:
    """
    Every word that a reader of the FHIR document must find: titles, sections, author, evidence.

    Of a section with entries the displays count, because the table around them is for machines.
    """
    return words(" ".join(_spoken(json.load_object(document))))


def _spoken(bundle: Mapping[str, Any]) -> Iterator[str]:
    composition = bundle["entry"][0]["resource"]
    yield str(composition.get("title", ""))
    for author in composition.get("author", ()):
        yield str(author.get("display", ""))
    for section in composition.get("section", ()):
        yield str(section.get("title", ""))
        cited = section.get("entry")
        if cited:
            yield from (str(entry.get("display", "")) for entry in cited)
        else:
            yield of_markup(str(section.get("text", {}).get("div", "")))


def of_markup(text: str) -> str:
    """The letters of HTML or XHTML; elements that break a line separate words."""
    shown: list[str] = []
    position, hidden = 0, ""
    for tag in _TAG.finditer(text):
        if not hidden:
            shown.append(text[position : tag.start()])
        position = tag.end()
        name = (tag[2] or "").lower()
        if name in _HIDDEN and hidden in ("", name):
            hidden = "" if tag[1] else name
        if name not in _WITHIN_WORDS:
            shown.append(" ")
    return html.unescape("".join(shown) + ("" if hidden else text[position:]))


def of_rtf(text: str) -> str:
    """The letters of RTF, enough to look for words in them."""
    return _RTF.sub(_rtf_letter, text)


def _rtf_letter(match: re.Match[str]) -> str:
    if match["hex"]:
        return bytes.fromhex(match["hex"]).decode("cp1252", "replace")
    if match["unicode"]:
        return chr(int(match["unicode"]) % 0x10000)
    return match["escaped"] or (" " if match["space"] else "")


def shown_text(content_type: str, body: bytes) -> str | None:
    """
    What a person can read in a rendition made by a chart; None for a form that we cannot read.

    `content_type` is what the bytes are, sniffed.
    """
    if len(body) > MAX_TEXT_BYTES:
        return None
    text = body.decode("utf-8", "replace")
    if content_type == "text/plain":
        return text
    if content_type == "application/rtf":
        return of_rtf(text)
    if content_type in {"text/html", "application/xhtml+xml", "application/xml"}:
        return of_markup(text)
    if content_type == "application/fhir+json":
        return _of_fhir(body)
    return None


def _of_fhir(body: bytes) -> str | None:
    try:
        bundle = json.load_object(body)
        identifier = str(bundle.get("identifier", {}).get("value", ""))
        return " ".join([identifier, *_spoken(bundle)])
    except (RecordError, LookupError, TypeError, AttributeError):
        return None
