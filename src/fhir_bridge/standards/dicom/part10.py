"""Part 10: our own File Meta for what came by DIMSE, and the cut between File Meta and data set."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from fhir_bridge.errors import Hostile, Unreadable

# PS3.5 B.2: a UID derived from a UUID, so that nobody else's implementation has it.
IMPLEMENTATION_CLASS_UID = "2.25.263070135046082654085396443602538391538"
IMPLEMENTATION_VERSION = "FHIR_BRIDGE_1"
IMPLICIT_LE, EXPLICIT_LE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED_LE, EXPLICIT_BE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

_PREAMBLE, _MAGIC = b"\x00" * 128, b"DICM"
_START = len(_PREAMBLE) + len(_MAGIC)
_MAX_META = 64 * 1024
LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)


class Encoding(StrEnum):
    """How a data set is really encoded, whatever was declared."""

    IMPLICIT_LE = "implicit-le"
    EXPLICIT_LE = "explicit-le"
    EXPLICIT_BE = "explicit-be"


@dataclass(frozen=True, slots=True)
class Meta:
    """What a File Meta says (PS3.10 7.1); `length` counts all bytes before the data set."""

    sop_class: str = ""
    sop_uid: str = ""
    transfer_syntax: str = ""
    length: int = 0


def file_meta(*, sop_class: str, sop_uid: str, transfer_syntax: str) -> bytes:
    """
    Preamble, prefix and group 0002 for a data set that came without them (PS3.10 7.1).

    The preamble is zeros: nothing that a sender chose may make the file look like a program. The
    sender's AE title is no part of it, so that the same data set always gives the same file.
    """
    elements = b"".join(
        (
            _element(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", sop_class.encode("ascii", "replace")),
            _element(0x0003, b"UI", sop_uid.encode("ascii", "replace")),
            _element(0x0010, b"UI", transfer_syntax.encode("ascii", "replace")),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode()),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION.encode()),
        )
    )
    length = _element(0x0000, b"UL", struct.pack("<L", len(elements)))
    return _PREAMBLE + _MAGIC + length + elements


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b" " if vr == b"SH" else b"\x00"
    if vr in LONG_VRS:
        return struct.pack("<HH2s2xL", 2, number, vr, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def read_meta(head: bytes) -> Meta | None:
    """
    The File Meta at the start of a file, or None when `head` is too short to hold all of it.

    Raises Unreadable when there is no DICM prefix or group 0002 breaks off, and Hostile when it
    is longer than 64 KiB. The group length (0002,0000) is not believed: the elements are walked.
    """
    if len(head) < _START:
        return None
    if head[128:_START] != _MAGIC:
        raise Unreadable("no DICM prefix")
    found: dict[int, str] = {}
    at = _START
    while at + 4 <= len(head) and head[at : at + 2] == b"\x02\x00":
        step = _meta_element(head, at)
        if step is None:
            break
        number, value, at = step
        found[number] = value.decode("ascii", "replace").rstrip("\x00 ")
    else:
        if at + 4 <= len(head):
            return Meta(found.get(2, ""), found.get(3, ""), found.get(0x10, ""), at)
    if len(head) > _MAX_META:
        raise Hostile("File Meta of more than 64 KiB")
    return None


def _meta_element(head: bytes, at: int) -> tuple[int, bytes, int] | None:
    if at + 12 > len(head):
        return None
    number, vr, length = struct.unpack_from("<H2sH", head, at + 2)
    start = at + 8
    if vr in LONG_VRS:
        length, start = struct.unpack_from("<L", head, at + 8)[0], at + 12
    if length > _MAX_META:
        raise Hostile("an element of the File Meta of more than 64 KiB")
    if start + length > len(head):
        return None
    return number, head[start : start + length], start + length


class Splitter:
    """
    Cuts a stream into File Meta and data set, without holding more than the File Meta.

    Feed chunks; each call returns the bytes of it that belong to the data set. A file without
    the DICM prefix, or with an unbelievable File Meta, is taken as a bare data set and `bare`
    says so.
    """

    def __init__(self) -> None:
        self.meta: Meta | None = None
        self.bare = False
        self._head = b""

    def feed(self, chunk: bytes) -> bytes:
        """The part of `chunk` that belongs to the data set; raises Hostile as read_meta does."""
        if self.meta is not None or self.bare:
            return chunk
        self._head += chunk
        try:
            self.meta = read_meta(self._head)
        except (Unreadable, Hostile):
            self.bare = True
            return self._let_go(0)
        return b"" if self.meta is None else self._let_go(self.meta.length)

    def finish(self) -> bytes:
        """What is left when the stream ended inside the File Meta: nothing but a broken head."""
        if self.meta is None and not self.bare:
            self.bare = True
            return self._let_go(0)
        return b""

    def _let_go(self, start: int) -> bytes:
        rest, self._head = self._head[start:], b""
        return rest


def real_encoding(first: bytes, declared: str) -> Encoding:
    """
    How a data set is encoded, told from its first eight bytes (PS3.5 7.1).

    The first tag of a data set is in a low group: the zero byte of its group number tells the
    byte order, two capital letters where the VR would stand tell explicit VR. With fewer than
    eight bytes the declaration stands.
    """
    if len(first) < 8:
        return _declared(declared)
    if not is_vr(first[4:6]):
        return Encoding.IMPLICIT_LE
    big = first[0] == 0 and first[1] != 0
    return Encoding.EXPLICIT_BE if big else Encoding.EXPLICIT_LE


def is_deflated(first: bytes, declared: str) -> bool:
    """Whether a data set that is declared deflated really is: some are sent plain (PS3.5 A.5)."""
    plain = first[1:2] == b"\x00" and first[:1] in (b"\x02", b"\x04", b"\x08")
    return declared == DEFLATED_LE and not (plain and is_vr(first[4:6]))


def is_vr(letters: bytes) -> bool:
    """Whether two bytes can be a value representation."""
    return len(letters) == 2 and all(0x41 <= letter <= 0x5A for letter in letters)


def _declared(syntax: str) -> Encoding:
    if syntax == EXPLICIT_BE:
        return Encoding.EXPLICIT_BE
    return Encoding.IMPLICIT_LE if syntax == IMPLICIT_LE else Encoding.EXPLICIT_LE
