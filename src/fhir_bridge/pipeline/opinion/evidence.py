"""Evidence: what the opinion names is found in the case record and pinned, or refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from fhir_bridge.case.opinion import Cited
from fhir_bridge.errors import UsageError

_URN = re.compile(r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class CitableRecord:
    """
    The case record that the specialist read: its hash, and what may be cited from it.

    `entries` are in the record's order: fullUrl, title as it is shown, version, and the SHA-256 of
    the content that stands behind it.
    """

    sha256: str
    entries: tuple[Cited, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """One item under Evidence, and where it stands (`line 48`, `evidence[2]`)."""

    where: str
    text: str


def pinned(items: Sequence[Named], record: CitableRecord) -> tuple[Cited, ...]:
    """
    The entries that the items name, by title or by `urn:uuid:`, each once, in their order.

    Raises UsageError, naming the place, for an item that fits nothing or more than one thing; the
    same content filed under two entries is one thing.
    """
    return tuple(dict.fromkeys(_pinned(item, record) for item in items))


def _pinned(item: Named, record: CitableRecord) -> Cited:
    urn = _URN.search(item.text)
    wanted = _letters(item.text)
    fits = [
        entry
        for entry in record.entries
        if (entry.entry == urn[0] if urn else _letters(entry.title) == wanted)
    ]
    if not fits:
        raise UsageError(
            f"{item.where}: the case record has no such document; expected the title of one, "
            "as the case record shows it, or its urn:uuid"
        )
    if len({entry.sha256 or entry.entry for entry in fits}) > 1:
        raise UsageError(
            f"{item.where}: {len(fits)} documents of the case record have this title; expected the "
            "urn:uuid of the one that is meant"
        )
    return fits[0]


def _letters(title: str) -> str:
    folded = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(folded.split()).rstrip(" .;,")
