"""What we ask to be allowed, in both spellings of SMART scopes, and what of it was not granted."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SYSTEM = re.compile(r"system/(\*|[A-Za-z]+)\.([a-z]+|\*)(\?.*)?")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


def scopes(*, v2: bool, writes: Sequence[str], reads: Sequence[str] = ("*",)) -> str:
    """
    What we ask for: to read and search the types of `reads`, and to create those of `writes`.

    >>> scopes(v2=True, writes=["DocumentReference"])
    'system/*.rs system/DocumentReference.c'
    >>> scopes(v2=False, writes=["DocumentReference"])
    'system/*.read system/DocumentReference.write'
    """
    read, write = ("rs", "c") if v2 else ("read", "write")
    return " ".join(
        [
            *(f"system/{kind}.{read}" for kind in reads),
            *(f"system/{kind}.{write}" for kind in writes),
        ]
    )


def missing(asked: str, granted: str) -> Sequence[str]:
    """
    The asked scopes that no granted one covers, whatever the spelling.

    SMART App Launch 2.2, scopes-and-launch-context: `.read` is `.rs`, `.write` is `.cud`. Granted
    rights for one category only (`?category=...`) cover no whole type.

    >>> missing("system/*.rs system/Binary.c", "system/*.read system/Binary.r")
    ['system/Binary.c']
    """
    allowed = [right for right in map(_right, granted.split()) if right]
    return [scope for scope in asked.split() if not _covered(scope, granted, allowed)]


def _covered(scope: str, granted: str, allowed: Sequence[tuple[str, frozenset[str]]]) -> bool:
    wanted = _right(scope)
    if wanted is None:
        return scope in granted.split()
    kind, letters = wanted
    held = frozenset[str]().union(*(right for name, right in allowed if name in (kind, "*")))
    return letters <= held


def _right(scope: str) -> tuple[str, frozenset[str]] | None:
    found = _SYSTEM.fullmatch(scope)
    if found is None or found[3]:
        return None
    return found[1], frozenset(_V1.get(found[2], found[2]))
