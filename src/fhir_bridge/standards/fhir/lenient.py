"""Reading JSON that keeps no promise of its shape: what is not there, or not so, is missing."""

from __future__ import annotations

from typing import Any


def objects(value: object) -> list[dict[str, Any]]:
    """
    The objects of a list, or the one object that stands where a list should.

    >>> objects([{"a": 1}, None, "x"]), objects({"a": 1}), objects("x")
    ([{'a': 1}], [{'a': 1}], [])
    """
    if isinstance(value, dict):
        return [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def first(value: object) -> dict[str, Any]:
    """The first object of a list, or the object itself; an empty one when there is none."""
    return next(iter(objects(value)), {})


def text(value: object) -> str:
    """
    A string without the blanks around it; empty for anything else.

    >>> text("  Z6302 "), text(None), text(["x"])
    ('Z6302', '', '')
    """
    return value.strip() if isinstance(value, str) else ""
