"""A Bundle of which one entry cannot be read: the others are, each by the same strict rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from fhir_bridge.errors import Hostile, Unreadable
from fhir_bridge.standards.fhir import json

# A string without its end reaches to the end: linear time, whatever comes.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}:,]', re.DOTALL)
_OPEN, _CLOSE = (b"[", b"{"), (b"]", b"}")


def load(body: bytes) -> dict[str, Any]:
    """
    A JSON object, strictly; of a Bundle with odd entries, everything else, with None for those.

    Positions in `entry` stay. Raises Unreadable or Hostile when more than entries is at fault.
    """
    try:
        return json.load_object(body)
    except (Unreadable, Hostile):
        spans = _spans(body)
        if not spans:
            raise
        start, end = spans[0][0], spans[-1][1]
        found = json.load_object(body[:start] + body[end:])
    found["entry"] = [_tolerant(body[start:end]) for start, end in spans]
    return found


def entries(body: bytes) -> Sequence[bytes]:
    """
    The entries of a Bundle as they were written, by position; none when they cannot be told apart.

    >>> entries(b'{"entry": [{"a": [1, 2]}, null]}')
    [b'{"a": [1, 2]}', b'null']
    """
    return [body[start:end].strip() for start, end in _spans(body)]


def _tolerant(entry: bytes) -> Any:
    try:
        return json.loads(entry)
    except (Unreadable, Hostile):
        return None


def _spans(body: bytes) -> Sequence[tuple[int, int]]:
    """Where the entries stand: between the commas of the one list that `entry` names."""
    marks = list(_commas(body))
    if len(marks) < 2 or not body[marks[0] + 1 : marks[-1]].strip():
        return []
    return [(before + 1, after) for before, after in pairwise(marks)]


def _commas(body: bytes) -> Iterator[int]:
    """The bracket that opens the entries, the commas between them, the bracket that closes."""
    depth, key, inside = 0, b"", False
    for token in _TOKEN.finditer(body):
        text, at = token[0], token.start()
        if text in _OPEN:
            depth += 1
            if depth == 2 and text == b"[" and key == b'"entry"':
                inside = True
                yield at
        elif text in _CLOSE:
            depth -= 1
            if inside and depth == 1:
                yield at
                return
        elif text == b",":
            if inside and depth == 2:
                yield at
            elif depth == 1:
                key = b""
        elif depth == 1 and text != b":" and not key:
            key = text
