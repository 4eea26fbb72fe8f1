"""Writing into the chart on a bad day."""

from __future__ import annotations

from dataclasses import replace

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.edges import Answer, Ask, Edge, Ending, Next
from fhir_bridge.simulators.faults.fault import Fault, with_rules
from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.wire import Resource

LAG_SECONDS = 3.0


def _rewritten(document: Resource) -> Resource:
    if document["resourceType"] != "DocumentReference":
        return document
    dropped = ("identifier", "masterIdentifier")
    kept = {key: value for key, value in document.items() if key not in dropped}
    return kept | {"author": [{"display": "Interface, General Hospital"}]}


def after_commit(answered: Answer) -> Edge:
    """What was created is in the chart, but the answer does not say so."""

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        answer = await go_on()
        return answered if answer.status == 201 else answer

    return edge


def _lags(rules: Rules) -> Rules:
    return replace(rules, index_lag_seconds=LAG_SECONDS)


ROWS = (
    Fault("accept-then-timeout", "a document is stored, then the connection closes", "create",
          reach=edges.document_creates,
          edge=lambda: after_commit(Answer(0, (), b"", Ending.SILENCE))),
    Fault("create-500-after-commit", "a document is stored, then 500 is answered", "create",
          reach=edges.document_creates,
          edge=lambda: after_commit(edges.refusal(500, "exception", "the server failed"))),
    Fault("create-refused", "documents are refused with 422", "create",
          reach=edges.document_creates,
          edge=lambda: edges.refuses(422, "business-rule", "documents are not taken")),
    Fault("rewrites-document", "a stored document loses its identifiers and its author", "create",
          with_rules(keep_document=_rewritten)),
    Fault("index-lag", f"the search finds new documents only after {LAG_SECONDS:g} s", "create",
          _lags),
)  # fmt: skip
