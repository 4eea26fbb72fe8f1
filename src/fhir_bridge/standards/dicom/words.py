"""The tables of dicom/ as the service reads them: SOP classes, transfer syntaxes, status words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from pydicom.uid import UID

from fhir_bridge import tables
from fhir_bridge.errors import (
    ConfigurationError,
    IdentityError,
    NotAllowed,
    RecordError,
    StorageRefused,
    Truncated,
)

VERIFICATION = "1.2.840.10008.1.1"
_STANDARD = "1.2.840.10008."
_STORAGE = "1.2.840.10008.5.1.4.1.1."


@dataclass(frozen=True, slots=True)
class SopClass:
    """One row of sop-classes.csv; `becomes` is what an instance turns into in the case record."""

    uid: str
    name: str
    scp: bool
    scu_get: bool
    becomes: str
    note: str


@dataclass(frozen=True, slots=True)
class Status:
    """One row of status-codes.csv: the word on the wire, and what follows from it."""

    service: str
    code: int
    meaning: str
    retry: bool
    nurse_sees: str


@cache
def sop_classes() -> Mapping[str, SopClass]:
    """Every SOP class that we know, by UID."""
    return {
        row["uid"]: SopClass(
            row["uid"],
            row["name"],
            row["scp"] == "yes",
            row["scu_get"] == "yes",
            row["becomes"],
            row["note"],
        )
        for row in tables.rows("dicom", "sop-classes.csv")
    }


@cache
def accepted_syntaxes() -> frozenset[str]:
    """Transfer syntaxes that the receiver accepts; what it accepts it keeps as sent."""
    rows = tables.rows("dicom", "transfer-syntaxes.csv")
    return frozenset(row["uid"] for row in rows if row["accept"] == "yes")


@cache
def preferred_syntaxes() -> tuple[str, ...]:
    """The order in which we propose transfer syntaxes when we ask (C-GET, WADO-RS)."""
    rows = [r for r in tables.rows("dicom", "transfer-syntaxes.csv") if r["prefer"]]
    return tuple(row["uid"] for row in sorted(rows, key=lambda row: int(row["prefer"])))


@cache
def statuses() -> Mapping[tuple[str, int], Status]:
    """Status words by (service, code)."""
    found = [
        Status(r["service"], int(r["hex"], 16), r["meaning"], r["retry"] == "yes", r["nurse_sees"])
        for r in tables.rows("dicom", "status-codes.csv")
    ]
    return {(status.service, status.code): status for status in found}


def status(service: str, code: int) -> Status:
    """One status word; raises ConfigurationError when the table does not have it."""
    try:
        return statuses()[service, code]
    except KeyError:
        raise ConfigurationError(f"status-codes.csv has no {service} {code:04X}") from None


def is_stored(sop_class: str) -> bool:
    """
    Whether the receiver takes this SOP class in.

    A row of the table decides. A class that the table does not know is kept as evidence when it
    is private or lies in the standard's storage branch (newer than our edition).
    """
    known = sop_classes().get(sop_class)
    if known is not None:
        return known.scp and sop_class != VERIFICATION
    if not is_legal_uid(sop_class):
        return False
    return sop_class.startswith(_STORAGE) or not sop_class.startswith(_STANDARD)


def is_legal_uid(uid: str) -> bool:
    """Whether a UID is built as PS3.5 9.1 says: 64 characters, no leading zeros, digits, dots."""
    return bool(uid) and UID(uid).is_valid


def failure_code(error: BaseException) -> int:
    """
    The word that a sender gets when an instance was not taken in (PS3.4 B.2.3, PS3.7 Annex C).

    What the sender may try again is A700; what it must not, has a word of its own.
    """
    for kinds, code in _FAILURES:
        if isinstance(error, kinds):
            return code
    return 0xA700


_FAILURES: tuple[tuple[tuple[type[BaseException], ...], int], ...] = (
    ((StorageRefused,), 0xA900),
    ((NotAllowed, IdentityError), 0x0124),
    ((RecordError, Truncated), 0xC000),
)
