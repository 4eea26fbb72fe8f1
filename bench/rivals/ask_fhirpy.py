"""fhirpy: its asynchronous client, every page in one call."""

from __future__ import annotations

import asyncio
import sys

import fhirpy
from told import KIND, PAGE, ids_of, tell


def fetch(ids: list[str]) -> str | None:
    """`fetch_all` follows next links until there is none."""
    base, patient = sys.argv[1:3]
    search = fhirpy.AsyncFHIRClient(base).resources(KIND).search(patient=patient).limit(PAGE)
    ids.extend(ids_of(asyncio.run(search.fetch_all())))
    return None


tell(fetch)
