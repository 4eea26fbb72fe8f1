"""helix.fhir.client.sdk: its asynchronous get, with outcomes made for errors."""

from __future__ import annotations

import asyncio
import json  # noqa: TID251 (runs in the environment of a rival, which knows nothing of ours)
import sys

from helix_fhir_client_sdk.fhir_client import FhirClient
from told import KIND, PAGE, ids_of, refused, tell


def fetch(ids: list[str]) -> str | None:
    """Its answer has a status, an error and a list of requests, beside the resources."""
    base, patient = sys.argv[1:3]
    client = FhirClient().url(base).resource(KIND).page_size(PAGE)
    client = client.additional_parameters([f"patient={patient}", f"_count={PAGE}"])
    client = client.set_create_operation_outcome_for_error(True).set_log_all_response_urls(True)
    answer = asyncio.run(client.get_async())
    resources = [json.loads(one.json()) for one in answer.get_resources()]
    ids.extend(ids_of(resources))
    if answer.error or answer.status >= 400:
        return f"status {answer.status}, error"
    if not all(one.ok for one in answer.results_by_url):
        return "a failed request in its answer"
    return refused(resources)


tell(fetch)
