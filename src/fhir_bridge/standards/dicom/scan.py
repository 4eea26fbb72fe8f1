"""The header of a data set, read on the way in for matching only: Header and its Person."""

from __future__ import annotations

import logging
import re
import warnings
import zlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pydicom import config
from pydicom.charset import decode_bytes, python_encoding

from fhir_bridge.case.identity import Identifier, Person
from fhir_bridge.standards.dicom.part10 import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    Encoding,
    is_deflated,
)
from fhir_bridge.standards.dicom.walk import PIXEL_DATA, UNDEFINED, Finding, Walker
from fhir_bridge.standards.dicom.words import is_legal_uid, sop_classes

# pydicom's warnings quote values, and a value is a patient's name: reading says nothing.
config.settings.reading_validation_mode = config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")

MAX_INFLATED = 256 * 1024 * 1024
MAX_RATIO = 100
_RATIO_FROM = 1024 * 1024
_CHARSET = 0x00080005
_DEFAULT_CODEC = "iso8859"
# ISO-IR 100 and ISO IR 100 are seen in the field.
_TERM = re.compile(r"^ISO[ -]IR[ _-]?")
_TEXTS = MappingProxyType(
    {
        "sop_class": 0x00080016,
        "sop_uid": 0x00080018,
        "study_date": 0x00080020,
        "study_time": 0x00080030,
        "accession": 0x00080050,
        "modality": 0x00080060,
        "offset": 0x00080201,
        "study_description": 0x00081030,
        "patient_name": 0x00100010,
        "patient_id": 0x00100020,
        "issuer": 0x00100021,
        "birth_date": 0x00100030,
        "sex": 0x00100040,
        "study_uid": 0x0020000D,
        "series_uid": 0x0020000E,
    }
)
_PHOTOMETRIC, _FRAMES = 0x00280004, 0x00280008
_SAMPLES, _ROWS, _COLUMNS, _BITS = 0x00280002, 0x00280010, 0x00280011, 0x00280100
# Pixels, as integers, floats, doubles, or at an address.
_PIXELS = frozenset((PIXEL_DATA, 0x7FE00008, 0x7FE00009, 0x00287FE0))
WANTED = _PIXELS.union(
    _TEXTS.values(), (_CHARSET, _PHOTOMETRIC, _FRAMES, _SAMPLES, _ROWS, _COLUMNS, _BITS)
)
HOSTILE = frozenset((Finding.TOO_DEEP, Finding.TOO_MANY, Finding.BOMB))
# Not whole or not to be understood: the sender is told so.
REFUSED = HOSTILE | {Finding.TRUNCATED, Finding.BROKEN, Finding.PIXELS_SHORT}
# Taken in, and set aside until a person decides.
SET_ASIDE = REFUSED | {Finding.NO_PIXELS, Finding.ILLEGAL_UID}


@dataclass(frozen=True, slots=True)
class Header:
    """
    What a data set says of itself. Texts are decoded for matching; the bytes are kept elsewhere.

    A byte that its character set does not explain (undeclared non-ASCII, or wrong declaration)
    stays as U+FFFD, which no identity decision uses. `encoding` is the real one.
    """

    encoding: Encoding | None = None
    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    sop_class: str = ""
    patient_id: str = ""
    issuer: str = ""
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession: str = ""
    modality: str = ""
    study_date: str = ""
    study_time: str = ""
    offset: str = ""
    study_description: str = ""
    elements: int = 0
    findings: tuple[Finding, ...] = ()


class Scanner:
    """Reads the Header of a data set while its chunks stream by; see Walker for what is checked."""

    def __init__(self, *, transfer_syntax: str) -> None:
        self._syntax = transfer_syntax
        self._walker = Walker(WANTED, transfer_syntax=transfer_syntax)
        self._inflater: Inflater | None = None
        self._first = b""
        self._bomb = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the data set in order."""
        if self._syntax != DEFLATED_LE or self._bomb:
            self._walker.feed(chunk)
            return
        try:
            for inflated in self._inflate(chunk):
                self._walker.feed(inflated)
        except InflatesTooFar:
            self._bomb = True

    def finish(self) -> Header:
        """The header, with everything that was found wrong."""
        self._walker.finish()
        walker = self._walker
        findings = _findings(walker, self._syntax, bomb=self._bomb)
        encodings = _encodings(walker.values.get(_CHARSET, b""))
        texts = {
            name: _text(walker.values.get(tag, b""), encodings) for name, tag in _TEXTS.items()
        }
        uids = [texts[name] for name in ("study_uid", "series_uid", "sop_uid", "sop_class")]
        if any(uid and not is_legal_uid(uid) for uid in uids):
            findings.append(Finding.ILLEGAL_UID)
        return Header(
            encoding=walker.encoding,
            elements=walker.elements,
            findings=tuple(findings),
            **texts,
        )

    def _inflate(self, chunk: bytes) -> list[bytes]:
        if self._inflater is None:
            self._first += chunk
            if len(self._first) < 8:
                return []
            self._inflater, chunk = Inflater(), self._first
            if not is_deflated(chunk[:8], self._syntax):
                self._syntax = EXPLICIT_LE
                return [chunk]
        return list(self._inflater.feed(chunk))


class InflatesTooFar(Exception):
    """A deflated data set grows beyond 256 MiB or a hundredfold."""


class Inflater:
    """Inflates a data set with caps on size and ratio (PS3.5 A.5)."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        self._taken = self._given = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Inflated pieces of at most 1 MiB; raises InflatesTooFar beyond the caps."""
        found: list[bytes] = []
        self._taken += len(chunk)
        while chunk:
            try:
                piece = self._zlib.decompress(chunk, _RATIO_FROM)
            except zlib.error:
                return found  # what follows is missing, and the walk says so
            chunk = self._zlib.unconsumed_tail
            self._given += len(piece)
            limit = min(MAX_INFLATED, max(_RATIO_FROM, MAX_RATIO * self._taken))
            if self._given > limit:
                raise InflatesTooFar
            found.append(piece)
        return found


def scan(dataset: bytes, *, transfer_syntax: str) -> Header:
    """The header of a whole data set that is already in memory."""
    scanner = Scanner(transfer_syntax=transfer_syntax)
    scanner.feed(dataset)
    return scanner.finish()


def person(header: Header) -> Person:
    """
    The patient as the header describes them: the issuer is the identifier's system.

    >>> person(Header(patient_name="DOE^JANE", birth_date="19610304", sex="F")).birth_date
    '1961-03-04'
    """
    family, given = _name(header.patient_name)
    known = Identifier(header.issuer, header.patient_id)
    return Person(
        identifiers=(known,) if header.patient_id else (),
        family=family,
        given=given,
        birth_date=_date(header.birth_date),
        sex={"M": "male", "F": "female", "O": "other"}.get(header.sex, ""),
    )


def _name(name: str) -> tuple[str, str]:
    # PS3.5 6.2.1: alphabetic=ideographic=phonetic, each family^given^middle^prefix^suffix.
    groups = (group for group in name.split("=") if group.strip("^ "))
    parts = [part.strip() for part in next(groups, "").split("^")]
    return parts[0], parts[1] if len(parts) > 1 else ""


def _date(date: str) -> str:
    # ACR-NEMA wrote 1961.03.04; anything else stays the literal that it is.
    digits = date.replace(".", "")
    if len(digits) != 8 or not digits.isdigit():
        return date
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def _encodings(charset: bytes) -> list[str]:
    """Python's codecs for (0008,0005); ASCII alone when nothing known is declared."""
    terms = [_TERM.sub("ISO_IR ", part.strip()) for part in _ascii(charset).split("\\")]
    known = [python_encoding.get(term) for term in terms]
    if not any(terms) or None in known:
        return ["ascii"]
    return [codec for codec in known if codec is not None]


def _text(value: bytes, encodings: list[str]) -> str:
    raw = value.rstrip(b"\x00 ")
    if raw.isascii() and b"\x1b" not in raw:
        return _ascii(raw)
    if len(encodings) == 1:
        # PS3.3 C.12.1.1.2: the default repertoire is ASCII, whatever pydicom calls it.
        codec = "ascii" if encodings[0] == _DEFAULT_CODEC else encodings[0]
        return raw.decode(codec, "replace").strip()
    try:
        return decode_bytes(raw, encodings, {0x5E, 0x3D, 0x5C}).strip()
    except (LookupError, ValueError, UserWarning):
        return _ascii(raw)


def _ascii(raw: bytes) -> str:
    return raw.decode("ascii", "replace").strip("\x00 ")


def _findings(walker: Walker, declared: str, *, bomb: bool) -> list[Finding]:
    found: list[Finding] = []
    if bomb:
        found.append(Finding.BOMB)
    elif walker.finding is not None:
        found.append(walker.finding)
    else:
        found += _pixel_findings(walker)
    if walker.trailing:
        found.append(Finding.TRAILING)
    if declared and walker.encoding not in (None, promised_encoding(declared)):
        found.append(Finding.OTHER_ENCODING)
    return found


def promised_encoding(syntax: str) -> Encoding:
    """The encoding that a transfer syntax promises (PS3.5 Annex A)."""
    known = {IMPLICIT_LE: Encoding.IMPLICIT_LE, EXPLICIT_BE: Encoding.EXPLICIT_BE}
    return known.get(syntax, Encoding.EXPLICIT_LE)


def _pixel_findings(walker: Walker) -> list[Finding]:
    if not walker.lengths.keys() & _PIXELS:
        # A cut between two elements looks whole: an image without pixels gives it away.
        sop_class = _text(walker.values.get(_TEXTS["sop_class"], b""), ["ascii"])
        return [Finding.NO_PIXELS] if _is_image(sop_class) else []
    length = walker.lengths.get(PIXEL_DATA, UNDEFINED)
    return [Finding.PIXELS_SHORT] if length < _pixel_bytes(walker) else []


def _pixel_bytes(walker: Walker) -> int:
    """What Rows, Columns, Samples, Bits Allocated and frames promise, 0 when they do not say."""
    order: Literal["big", "little"] = "big" if walker.encoding is Encoding.EXPLICIT_BE else "little"
    values = walker.values
    bits = 1
    for tag in (_ROWS, _COLUMNS, _BITS, _SAMPLES):
        bits *= int.from_bytes(values.get(tag, b"")[:2], order)
    frames = values.get(_FRAMES, b"").strip(b"\x00 ")
    bits *= int(frames) if frames.isdigit() else 1
    if values.get(_PHOTOMETRIC, b"").strip(b"\x00 ") == b"YBR_FULL_422":
        bits = bits * 2 // 3  # PS3.3 C.7.6.3.1.2: two colour samples serve two pixels
    return (bits + 7) // 8


def _is_image(sop_class: str) -> bool:
    known = sop_classes().get(sop_class)
    return known is not None and "Image Storage" in known.name
