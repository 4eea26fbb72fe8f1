"""FHIR-PYrate: bundles one after the other, with the retries that its own guide shows."""

from __future__ import annotations

import logging
import sys

from fhir_pyrate import Pirate
from requests.adapters import Retry  # noqa: TID251 (what this rival is set up with)
from told import KIND, PAGE, ids_of, refused, tell

_logged: list[str] = []


class _Watch(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """A failed page is only told to the log."""
        _logged.append(record.levelname)


def fetch(ids: list[str]) -> str | None:
    """One process, so that nothing is lost between several."""
    base, patient = sys.argv[1:3]
    logging.getLogger().addHandler(_Watch(logging.ERROR))
    handed_over: list[dict] = []
    retry = Retry(
        total=3, backoff_factor=0.5, status_forcelist=[500, 502, 503, 504], allowed_methods=["GET"]
    )
    with Pirate(base, auth=None, retry_requests=retry) as pirate:
        question = {"patient": patient, "_count": PAGE}
        for bundle in pirate.steal_bundles(KIND, question):
            entries = bundle.to_dict().get("entry") or []
            resources = [entry.get("resource") or {} for entry in entries]
            handed_over += resources
            ids.extend(ids_of(resources))
    return refused(handed_over) or ("log: ERROR" if _logged else None)


tell(fetch)
