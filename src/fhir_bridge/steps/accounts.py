"""Accounts: what a case comes to, as plain facts for commands, scripts and the demo."""

from __future__ import annotations

from typing import Any

from fhir_bridge.steps.pulling import lines
from fhir_bridge.store.shelves import Store


def certificate(store: Store, case_id: str) -> list[dict[str, Any]]:
    """Per source and type: what they said, what came, the grade."""
    return [
        {
            "source": line.source,
            "type": line.type,
            "said": line.said,
            "got": line.got,
            "grade": line.grade.value,
            "witnesses": list(line.witnesses),
            "reason": line.reason,
        }
        for line in lines(store, case_id)
    ]


def deliveries(store: Store, case_id: str) -> list[dict[str, Any]]:
    """Where each delivery of a case stands."""
    return [
        {
            "version": delivery.version,
            "destination": delivery.destination,
            "state": delivery.state.value,
            "read_back": delivery.read_back.value if delivery.read_back else "",
            "location": delivery.location,
            "attempts": delivery.attempts,
            "reason": delivery.reason,
        }
        for delivery in store.opinions.deliveries(case_id)
    ]
