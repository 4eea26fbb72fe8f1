"""Finds mappings/, dicom/ and fixtures/ in the wheel or in the checkout, and reads their tables."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fhir_bridge.errors import ConfigurationError

Row = Mapping[str, str]


@cache
def root() -> Path:
    """
    The folder that holds `mappings/` and `dicom/`.

    An overlay directory named by FHIR_BRIDGE_TABLES wins, then the wheel, then the checkout.
    """
    overlay = os.environ.get("FHIR_BRIDGE_TABLES")
    here = Path(__file__).parent
    for candidate in (Path(overlay) if overlay else None, here / "_tables", here.parents[1]):
        if candidate is not None and (candidate / "mappings").is_dir():
            return candidate
    raise ConfigurationError("the tables mappings/ and dicom/ are not where they should be")


def folder(*names: str) -> Path:
    """A folder or file below the root; raises ConfigurationError when it is not there."""
    path = root().joinpath(*names)
    if not path.exists():
        raise ConfigurationError(f"table {'/'.join(names)} is missing")
    return path


@cache
def rows(*names: str) -> tuple[Row, ...]:
    """All rows of one CSV table, in file order: `rows("dicom", "sop-classes.csv")`."""
    with folder(*names).open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines))


@cache
def fingerprint() -> str:
    """SHA-256 over every table: the version that a case record cites."""
    digest = hashlib.sha256()
    for part in ("mappings", "dicom"):
        for path in sorted(folder(part).rglob("*.csv")):
            digest.update(path.relative_to(root()).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
