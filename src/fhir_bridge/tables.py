"""Finds mappings/, dicom/ and fixtures/ in the wheel or in the checkout, and reads their tables."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fhir_bridge.errors import ConfigurationError

PARTS = ("mappings", "dicom")
Row = Mapping[str, str]


@cache
def root() -> Path:
    """
    The folder that holds `mappings/` and `dicom/`.

    An overlay directory named by FHIR_BRIDGE_TABLES wins, then the wheel, then the checkout. An
    overlay that is named and holds no tables is refused: another's tables would be used unseen.
    """
    overlay = os.environ.get("FHIR_BRIDGE_TABLES")
    here = Path(__file__).parent
    for candidate in (Path(overlay),) if overlay else (here / "_tables", here.parents[1]):
        if all((candidate / part).is_dir() for part in PARTS):
            return candidate
    where = "FHIR_BRIDGE_TABLES" if overlay else "the installation"
    raise ConfigurationError(f"{where} holds no tables mappings/ and dicom/")


def folder(*names: str) -> Path:
    """A folder or file below the root; raises ConfigurationError when it is not there."""
    path = root().joinpath(*names)
    if not path.exists():
        raise ConfigurationError(f"table {'/'.join(names)} is missing")
    return path


@cache
def rows(*names: str) -> tuple[Row, ...]:
    """
    All rows of one CSV table, in file order: `rows("dicom", "sop-classes.csv")`.

    Raises ConfigurationError that names the line of a row with more or fewer cells than the head.
    """
    with folder(*names).open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        found = []
        for row in reader:
            if None in row or None in row.values():
                place = f"{'/'.join(names)} line {reader.line_num}"
                raise ConfigurationError(f"table {place} has another number of cells than its head")
            found.append(row)
    return tuple(found)


@cache
def fingerprint() -> str:
    """SHA-256 over every table: the version that a case record cites."""
    digest = hashlib.sha256()
    for part in PARTS:
        for path in sorted(folder(part).rglob("*.csv")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root()).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()
