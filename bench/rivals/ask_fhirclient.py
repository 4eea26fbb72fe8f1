"""fhirclient (SMART on FHIR): the iterator over every page of a search."""

from __future__ import annotations

import sys

from fhirclient.client import FHIRClient
from fhirclient.models.documentreference import DocumentReference
from told import PAGE, tell


def fetch(ids: list[str]) -> str | None:
    """What came before an error is kept: the iterator hands over page by page."""
    base, patient = sys.argv[1:3]
    client = FHIRClient(settings={"app_id": "chaos", "api_base": base})
    search = DocumentReference.where({"patient": patient, "_count": str(PAGE)})
    found = search.perform_resources_iter(client.server)
    ids.extend(one.id for one in found if isinstance(one, DocumentReference))
    return None


tell(fetch)
