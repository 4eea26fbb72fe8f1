"""The one door for JSON from and to the wire: bounded, strict, and true to every digit."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn, Self

import simplejson

from fhir_bridge.errors import Hostile, Unreadable

MAX_DEPTH = 64
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


class _AsWritten(Decimal):
    """A decimal that Python would write otherwise: 1e3 stays 1e3, and 0.0000001 stays as it is."""

    __slots__ = ("_literal",)
    _literal: str

    def __new__(cls, literal: str) -> Self:
        made = super().__new__(cls, literal)
        made._literal = literal
        return made

    def __str__(self) -> str:
        return self._literal


def loads(body: bytes, *, max_bytes: int = 64 * 1024 * 1024) -> Any:
    """
    Parse JSON. Decimals become `decimal.Decimal` and are written again digit by digit: 1.50
    stays 1.50, and 1e3 stays 1e3.

    Raises Hostile beyond `max_bytes` or 64 levels, and Unreadable for anything that is no strict
    JSON: NaN, duplicate keys, a lone surrogate, text that is not UTF-8. A byte order mark is
    tolerated (seen in the field).
    """
    if len(body) > max_bytes:
        raise Hostile(f"JSON of more than {max_bytes} bytes")
    if _is_deeper_than(MAX_DEPTH, body):
        raise Hostile(f"JSON nested deeper than {MAX_DEPTH} levels")
    try:
        text = body.decode("utf-8-sig")
        value = simplejson.loads(
            text,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
        )
        if "\\ud" in text or "\\uD" in text:
            dumps(value)  # a lone surrogate has no UTF-8 form and fails here
        return value
    except UnicodeError:
        raise Unreadable("not UTF-8") from None
    except (ValueError, ArithmeticError, RecursionError) as error:
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


def _is_deeper_than(levels: int, body: bytes) -> bool:
    """Whether arrays and objects nest deeper, told without parsing and at the speed of C."""
    if body.count(b"[") + body.count(b"{") <= levels:
        return False  # most small bodies; the rest is looked at without its strings
    nests = _without_strings(body).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(levels):
        inside = nests.replace(b"[]", b"")  # the innermost level of everything goes
        if inside == nests:
            break
        nests = inside
    return b"[]" in nests or nests.count(b"[") > levels


def _without_strings(body: bytes) -> bytes:
    """What stands outside of strings; one without its end reaches to the end."""
    if b"\\" in body:
        # Pairs go first, from the left: what is left of a run of backslashes escapes what follows.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2])


def _decimal(literal: str) -> Decimal:
    plain = Decimal(literal)
    return plain if str(plain) == literal else _AsWritten(literal)


def _integer(literal: str) -> int | Decimal:
    return _AsWritten(literal) if literal == "-0" else int(literal)


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
