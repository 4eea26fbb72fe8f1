"""The one door for JSON from and to the wire: bounded, strict, and true to every digit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import simplejson

from fhir_bridge.errors import Hostile, Unreadable

MAX_DEPTH = 64
_OPEN, _CLOSE, _QUOTE, _BACKSLASH = b"[{", b"]}", 0x22, 0x5C


def loads(body: bytes, *, max_bytes: int = 64 * 1024 * 1024) -> Any:
    """
    Parse JSON. Decimals become `decimal.Decimal`, so that 1.50 stays 1.50.

    Raises Hostile beyond `max_bytes` or 64 levels, and Unreadable for anything that is no strict
    JSON: NaN, duplicate keys, a lone surrogate, text that is not UTF-8. A byte order mark is
    tolerated (seen in the field).
    """
    if len(body) > max_bytes:
        raise Hostile(f"JSON of more than {max_bytes} bytes")
    if depth(body) > MAX_DEPTH:
        raise Hostile(f"JSON nested deeper than {MAX_DEPTH} levels")
    try:
        text = body.decode("utf-8-sig")
        value = simplejson.loads(
            text, use_decimal=True, parse_constant=_no_constant, object_pairs_hook=_no_duplicates
        )
        if "\\ud" in text or "\\uD" in text:
            dumps(value)  # a lone surrogate has no UTF-8 form and fails here
        return value
    except UnicodeError as error:
        raise Unreadable("not UTF-8") from error
    except (simplejson.JSONDecodeError, ValueError, RecursionError) as error:
        # The parser's message can quote the text around the fault: only its kind may travel.
        raise Unreadable(f"not JSON ({type(error).__name__})") from None


def load_object(body: bytes, *, max_bytes: int = 64 * 1024 * 1024) -> dict[str, Any]:
    """Parse JSON whose top level must be an object; raises as `loads` does."""
    value = loads(body, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    return value


def dumps(value: object) -> bytes:
    """
    Canonical bytes: keys sorted, no blanks, UTF-8, decimals with the digits they came with.

    >>> dumps(loads(b'{"b": 1.50, "a": 1}'))
    b'{"a":1,"b":1.50}'
    """
    text = simplejson.dumps(
        value,
        use_decimal=True,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        for_json=False,
        default=_as_plain,
    )
    return text.encode("utf-8", "strict")


def pretty(value: object) -> str:
    """The same, indented for people."""
    return simplejson.dumps(
        value, use_decimal=True, indent=2, ensure_ascii=False, allow_nan=False, default=_as_plain
    )


def depth(body: bytes) -> int:
    """How deeply arrays and objects nest, counted without parsing."""
    level = deepest = 0
    in_string = escaped = False
    for byte in body if _may_be_deep(body) else b"":
        if in_string:
            if escaped:
                escaped = False
            elif byte == _BACKSLASH:
                escaped = True
            elif byte == _QUOTE:
                in_string = False
        elif byte == _QUOTE:
            in_string = True
        elif byte in _OPEN:
            level += 1
            deepest = max(deepest, level)
        elif byte in _CLOSE:
            level -= 1
    return deepest


def _may_be_deep(body: bytes) -> bool:
    # Counting in C first: a body with few brackets cannot be deep, and most bodies are like that.
    return body.count(b"[") + body.count(b"{") > MAX_DEPTH


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found


def _as_plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
