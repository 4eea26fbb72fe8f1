"""A structural walk over a data set as it streams by: every length checked, nothing believed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from fhir_bridge.standards.dicom.part10 import LONG_VRS, Encoding, is_vr, real_encoding

MAX_DEPTH = 32
MAX_ELEMENTS = 500_000
MAX_VALUE = 8 * 1024
PIXEL_DATA = 0x7FE00010
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, PIXEL_DATA))
UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


class Finding(StrEnum):
    """What is wrong with a data set; scan.py says which findings refuse it or set it aside."""

    TRUNCATED = "truncated"
    BROKEN = "broken"
    TOO_DEEP = "too-deep"
    TOO_MANY = "too-many-elements"
    BOMB = "inflates-beyond-the-cap"
    PIXELS_SHORT = "pixels-short"
    NO_PIXELS = "no-pixels"
    NO_META = "no-file-meta"
    OTHER_ENCODING = "encoding-differs"
    ILLEGAL_UID = "illegal-uid"
    TRAILING = "trailing-bytes"


@dataclass(slots=True)
class _Frame:
    """An open container: `end` is its last position, None for undefined length."""

    kind: str
    end: int | None
    explicit: bool
    fresh: bool = False


class _Stop(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding)
        self.finding = finding


class Walker:
    """
    Walks a data set chunk by chunk in constant memory (PS3.5 7.1 and 7.5, Annex A.4).

    Top-level values of `wanted` tags up to 8 KiB are collected in `values` as raw bytes. Lengths
    must fit their container and the stream; depth is capped at 32 items and the whole at 500 000
    elements. After the first fault the rest is let through unread: the bytes are kept elsewhere.
    """

    def __init__(self, wanted: frozenset[int], *, transfer_syntax: str) -> None:
        self.values: dict[int, bytes] = {}
        self.lengths: dict[int, int] = {}
        self.elements = 0
        self.encoding: Encoding | None = None
        self.finding: Finding | None = None
        self.trailing = False
        self._wanted, self._declared = wanted, transfer_syntax
        self._stack: list[_Frame] = []
        self._rest = b""
        self._position = self._skip = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes in order."""
        if self.finding is not None or self.trailing:
            return
        buffer = self._rest + chunk if self._rest else chunk
        if self.encoding is None and len(buffer) < 8:
            self._rest = buffer
            return
        try:
            self._rest = self._consume(buffer)
        except _Stop as stop:
            self.finding, self._rest = stop.finding, b""

    def finish(self) -> None:
        """The stream ended: whatever is still open was cut off."""
        if self.finding is not None or self.trailing:
            return
        self._close()
        if self._skip or self._rest or len(self._stack) > 1 or self.elements == 0:
            self.finding = Finding.TRUNCATED

    def _consume(self, buffer: bytes) -> bytes:
        if self.encoding is None:
            self._begin(buffer)
        at = 0
        while True:
            if self._skip:
                step = min(self._skip, len(buffer) - at)
                self._skip -= step
            else:
                step = self._step(buffer, at)
            if step == 0:
                return b"" if self.trailing else buffer[at:]
            at += step
            self._position += step

    def _begin(self, buffer: bytes) -> None:
        self.encoding = real_encoding(buffer[:8], self._declared)
        self._order = ">" if self.encoding is Encoding.EXPLICIT_BE else "<"
        explicit = self.encoding is not Encoding.IMPLICIT_LE
        self._stack = [_Frame("dataset", None, explicit)]

    def _step(self, buffer: bytes, at: int) -> int:
        """One header, with its value when it is wanted; 0 asks for more bytes."""
        self._close()
        if at + 8 > len(buffer):
            return 0
        frame = self._stack[-1]
        group, element = struct.unpack_from(self._order + "HH", buffer, at)
        tag = group << 16 | element
        if frame.kind != "dataset" or group == 0xFFFE:
            length = struct.unpack_from(self._order + "L", buffer, at + 4)[0]
            return self._delimiter(frame, tag, length)
        if tag == 0 and len(self._stack) == 1:
            self.trailing = True
            return 0
        return self._element(frame, tag, buffer, at)

    def _close(self) -> None:
        while self._stack and self._stack[-1].end == self._position and len(self._stack) > 1:
            self._stack.pop()

    def _delimiter(self, frame: _Frame, tag: int, length: int) -> int:
        if frame.kind == "dataset":
            if tag != _ITEM_END or frame.end is not None or len(self._stack) == 1:
                raise _Stop(Finding.BROKEN)
            self._stack.pop()
        elif tag == _SEQUENCE_END and frame.end is None:
            self._stack.pop()
        elif tag != _ITEM:
            raise _Stop(Finding.BROKEN)
        elif frame.kind == "fragments":
            self._pass(length, 8)
        else:
            self._push("dataset", length, 8, explicit=frame.explicit)
        self._count()
        return 8

    def _element(self, frame: _Frame, tag: int, buffer: bytes, at: int) -> int:
        header = self._header(frame, tag, buffer, at)
        if header is None:
            return 0
        vr, length, size = header
        opened = self._open(frame, tag, vr, length, size)
        if not opened and len(self._stack) == 1 and tag in self._wanted:
            self.lengths[tag] = length
            if length <= MAX_VALUE:
                if at + size + length > len(buffer):
                    return 0
                self.values[tag] = buffer[at + size : at + size + length]
        if not opened:
            self._pass(length, size)
        self._count()
        return size

    def _header(
        self, frame: _Frame, tag: int, buffer: bytes, at: int
    ) -> tuple[bytes, int, int] | None:
        """VR, value length and header size of the element at `at`."""
        vr = buffer[at + 4 : at + 6]
        if frame.fresh:
            # Some writers put implicit items into explicit data sets: the first element tells.
            frame.explicit, frame.fresh = frame.explicit and is_vr(vr), False
        if not frame.explicit:
            length = struct.unpack_from(self._order + "L", buffer, at + 4)[0]
            return (b"SQ" if _is_sequence(tag) else b""), length, 8
        if not is_vr(vr):
            raise _Stop(Finding.BROKEN)
        if vr not in LONG_VRS:
            return vr, struct.unpack_from(self._order + "H", buffer, at + 6)[0], 8
        if at + 12 > len(buffer):
            return None
        return vr, struct.unpack_from(self._order + "L", buffer, at + 8)[0], 12

    def _open(self, frame: _Frame, tag: int, vr: bytes, length: int, size: int) -> bool:
        if length == UNDEFINED and tag in _PIXELS:
            self.lengths[tag] = length
            self._push("fragments", length, size, explicit=frame.explicit)
        elif vr == b"SQ" or length == UNDEFINED:
            # PS3.5 6.2.2 note 2: the items of an UN of undefined length are Implicit VR.
            explicit = frame.explicit and vr != b"UN"
            self._push("items", length, size, explicit=explicit)
        else:
            return False
        return True

    def _push(self, kind: str, length: int, size: int, *, explicit: bool) -> None:
        end = None if length == UNDEFINED else self._position + size + length
        self._fit(end)
        depth = sum(frame.kind == "dataset" for frame in self._stack)
        if kind == "dataset" and depth > MAX_DEPTH:
            raise _Stop(Finding.TOO_DEEP)
        self._stack.append(_Frame(kind, end, explicit, fresh=kind == "dataset"))

    def _pass(self, length: int, size: int) -> None:
        if length == UNDEFINED:
            raise _Stop(Finding.BROKEN)
        self._fit(self._position + size + length)
        self._skip = length

    def _fit(self, end: int | None) -> None:
        # A value must not reach beyond the innermost container whose length is known.
        limit = next((f.end for f in reversed(self._stack) if f.end is not None), None)
        if end is not None and limit is not None and end > limit:
            raise _Stop(Finding.BROKEN)

    def _count(self) -> None:
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise _Stop(Finding.TOO_MANY)


@lru_cache(maxsize=4096)
def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
