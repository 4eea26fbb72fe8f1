"""May this record be released: the ledger against the entries."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_bridge.case.ledger import LedgerRow, imbalance
from fhir_bridge.case.record import CaseRecord


def release_problems(rows: Iterable[LedgerRow], record: CaseRecord) -> tuple[str, ...]:
    """Why a case record may not be released: one sentence for each row or entry (TRUTH 2)."""
    return imbalance(rows, record.entries, record.bridge_made)
