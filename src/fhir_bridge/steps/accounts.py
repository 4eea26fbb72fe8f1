"""Accounts: what a case comes to, as plain facts for commands, scripts and the demo."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fhir_bridge.case.certificate import Count
from fhir_bridge.case.findings import FINDINGS
from fhir_bridge.steps.pulling import lines
from fhir_bridge.store.shelves import Store


def certificate(store: Store, case_id: str) -> list[dict[str, Any]]:
    """
    Per source and type: what they said, what came, the grade, and what it rests on.

    `counts` are all counts and lists with the witness of each, `findings` what is odd about the
    source (code, and a sentence for either reader), `attachments` those without bytes.
    """
    return [
        {
            "source": line.source,
            "type": line.type,
            "said": line.said,
            "got": line.got,
            "grade": line.grade.value,
            "witnesses": list(line.witnesses),
            "reason": line.reason,
            "agreed": list(line.agreed),
            "counts": [_count(count) for count in line.counts],
            "findings": [asdict(FINDINGS[code]) for code in line.findings],
            "attachments": {
                "failed": line.attachments_failed,
                "without_content": line.attachments_empty,
            },
        }
        for line in lines(store, case_id)
    ]


def _count(count: Count) -> dict[str, Any]:
    return {
        "witness": count.witness,
        "said": count.said,
        "after": count.after,
        "trusted": count.trusted,
        "agree": count.ids_agree,
    }


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
