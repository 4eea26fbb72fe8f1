"""A structured report as plain text: headings, codes, numbers with their units, nothing lost."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import Dataset

from fhir_bridge.errors import Hostile, Unreadable
from fhir_bridge.standards.dicom.header import read

MAX_DEPTH = 32
MAX_LINES = 20_000
_KEYWORDS = (
    "ValueType",
    "ConceptNameCodeSequence",
    "ContentSequence",
    "CompletionFlag",
    "VerificationFlag",
)
_PLAIN = (
    ("TEXT", "TextValue"),
    ("PNAME", "PersonName"),
    ("DATE", "Date"),
    ("TIME", "Time"),
    ("DATETIME", "DateTime"),
    ("UIDREF", "UID"),
)


@dataclass(frozen=True, slots=True)
class Report:
    """
    The text of an SR (PS3.3 C.17.3), one content item a line, indented two blanks a level.

    `completion` and `verification` are the flags as sent (COMPLETE, UNVERIFIED, ...): an
    unverified report is preliminary.
    """

    title: str
    text: str
    completion: str
    verification: str


def read_report(part10: BinaryIO) -> Report:
    """
    The report in a Part 10 file.

    Raises Unreadable when it is no report or not readable, and Hostile when its tree is deeper
    than 32 levels or longer than 20 000 lines.
    """
    try:
        root = read(part10, _KEYWORDS)
        if "ContentSequence" not in root and "ValueType" not in root:
            raise Unreadable("no content tree")
        title = _name(root)
        text = "\n".join(_lines(root))
        return Report(
            title,
            text,
            str(root.get("CompletionFlag") or ""),
            str(root.get("VerificationFlag") or ""),
        )
    except RecursionError:
        raise Hostile("a content tree too deep to read") from None
    except (AttributeError, TypeError, ValueError, LookupError, OSError) as error:
        raise Unreadable(f"content tree not readable ({type(error).__name__})") from None


def narrative(report: Report) -> str:
    """The report as XHTML for a FHIR narrative; markup inside the text is shown, never run."""
    title = html.escape(report.title)
    text = html.escape(report.text)
    return f'<div xmlns="http://www.w3.org/1999/xhtml"><h3>{title}</h3><pre>{text}</pre></div>'


def _lines(root: Dataset) -> Iterator[str]:
    # Iterative: the depth of the tree is the sender's choice, the depth of our stack is not.
    waiting = [(item, 0) for item in reversed(root.get("ContentSequence") or [])]
    count = 0
    while waiting:
        item, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_LINES:
            raise Hostile("a content tree beyond 32 levels or 20 000 lines")
        yield "  " * depth + _line(item)
        waiting += [(child, depth + 1) for child in reversed(item.get("ContentSequence") or [])]


def _line(item: Dataset) -> str:
    name, value = _name(item), _value(item)
    if item.get("ValueType") == "CONTAINER":
        return _clean(name or "Section")
    return _clean(f"{name}: {value}" if name and value else name or value)


def _value(item: Dataset) -> str:
    kind = str(item.get("ValueType") or "")
    if kind == "NUM":
        return _number(item)
    if kind == "CODE":
        return _meaning(item.get("ConceptCodeSequence"))
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        referenced = item.get("ReferencedSOPSequence") or []
        return ", ".join(str(one.get("ReferencedSOPInstanceUID") or "") for one in referenced)
    keyword = next((word for type_, word in _PLAIN if type_ == kind), "")
    return str(item.get(keyword) or "") if keyword else kind


def _number(item: Dataset) -> str:
    measured = item.get("MeasuredValueSequence") or []
    if not measured:
        # PS3.3 C.18.1: no value, and the qualifier says why.
        return _meaning(item.get("NumericValueQualifierCodeSequence")) or "no value"
    value = measured[0].get("NumericValue")
    units = measured[0].get("MeasurementUnitsCodeSequence") or []
    unit = str(units[0].get("CodeValue") or "") if units else ""
    # UCUM 1 is "no unit"; anything else stands beside its number exactly as sent.
    return f"{value} {unit}".strip() if unit != "1" else str(value)


def _name(item: Dataset) -> str:
    return _meaning(item.get("ConceptNameCodeSequence"))


def _meaning(codes: object) -> str:
    for code in codes or ():  # type: ignore[attr-defined]  # a pydicom Sequence or nothing
        return str(code.get("CodeMeaning") or code.get("CodeValue") or "")
    return ""


def _clean(line: str) -> str:
    # XML 1.0 has no form for control characters; line breaks inside a value keep their place.
    kept = "".join(c for c in line.replace("\r\n", "\n") if c >= " " or c in "\n\t")
    return kept.replace("\n", "\n    ")
