"""The facts of a stored instance that the case record needs, read by pydicom up to the pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fhir_bridge import tables
from fhir_bridge.errors import Hostile, Unreadable
from fhir_bridge.standards.dicom import scan
from fhir_bridge.standards.dicom.part10 import (
    Encoding,
    Meta,
    is_deflated,
    read_meta,
    real_encoding,
)

_HEAD = 80 * 1024
_PIXELS = 0x7FE00000
_MAX_VALUES = 64


@dataclass(frozen=True, slots=True)
class Code:
    """One item of a code sequence (PS3.3 8.8): value, scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Values by keyword, as text with the digits they came with; absent and empty are the same."""

    texts: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, tuple[Code, ...]]

    def text(self, keyword: str) -> str:
        """The first value, or nothing."""
        return next(iter(self.texts.get(keyword, ())), "")


def read_facts(part10: BinaryIO, keywords: Iterable[str] | None = None) -> Facts:
    """
    The facts of one instance; `keywords` defaults to those of dicom/imaging-study.csv.

    Reads up to the pixel data. Raises Unreadable when pydicom cannot make sense of the bytes and
    Hostile when a deflated one inflates beyond its cap.
    """
    wanted = tuple(keywords) if keywords is not None else table_keywords()
    dataset = read(part10, wanted)
    texts: dict[str, tuple[str, ...]] = {}
    codes: dict[str, tuple[Code, ...]] = {}
    try:
        for keyword in wanted:
            if keyword not in dataset:
                continue
            element = dataset[keyword]
            if element.VR == "SQ":
                codes[keyword] = tuple(_code(item) for item in element.value)
            else:
                texts[keyword] = _texts(element.value)
    except Exception as error:  # noqa: BLE001 (pydicom's parsers raise anything, quoting values)
        raise Unreadable(f"header not readable ({type(error).__name__})") from None
    return Facts(texts, codes)


def read(part10: BinaryIO, keywords: Iterable[str]) -> Dataset:
    """
    A data set with only `keywords`, read by its real encoding; stops before pixel data.

    Raises as `read_facts` does. Never print or log what it returns: it is a patient's.
    """
    meta = _meta(part10)
    first = part10.read(8)
    source: BinaryIO = part10
    encoding = real_encoding(first, meta.transfer_syntax)
    part10.seek(meta.length)
    if is_deflated(first, meta.transfer_syntax):
        source, encoding = BytesIO(_inflated(part10)), Encoding.EXPLICIT_LE
    tags = [tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None]
    try:
        return read_dataset(
            source,
            encoding is Encoding.IMPLICIT_LE,
            encoding is not Encoding.EXPLICIT_BE,
            stop_when=lambda tag, _vr, _length: tag >= _PIXELS,
            specific_tags=[0x00080005, *tags],
        )
    except Exception as error:  # noqa: BLE001 (likewise)
        raise Unreadable(f"data set not readable ({type(error).__name__})") from None


@cache
def table_keywords() -> tuple[str, ...]:
    """The keywords of dicom/imaging-study.csv."""
    rows = tables.rows("dicom", "imaging-study.csv")
    return tuple(dict.fromkeys(row["keyword"] for row in rows))


def _meta(part10: BinaryIO) -> Meta:
    head = part10.read(_HEAD)
    try:
        meta = read_meta(head) or Meta()
    except (Unreadable, Hostile):
        meta = Meta()
    part10.seek(meta.length)
    return meta


def _inflated(deflated: BinaryIO) -> bytes:
    inflater = scan.Inflater()
    pieces: list[bytes] = []
    try:
        while chunk := deflated.read(1024 * 1024):
            pieces += inflater.feed(chunk)
    except scan.InflatesTooFar:
        raise Hostile("a deflated data set inflates beyond its cap") from None
    return b"".join(pieces)


def _texts(value: object) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    many = value if isinstance(value, list) or _is_multi(value) else [value]
    found = (str(item).replace("\x00", "").strip() for item in list(many)[:_MAX_VALUES])  # type: ignore[call-overload]  # a list or a MultiValue
    return tuple(text for text in found if text)


def _is_multi(value: object) -> bool:
    return type(value).__name__ == "MultiValue"


def _code(item: Dataset) -> Code:
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return Code(
        str(value).strip(),
        str(item.get("CodingSchemeDesignator") or "").strip(),
        str(item.get("CodeMeaning") or "").strip(),
    )
