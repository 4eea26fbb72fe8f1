"""The ledger: every record seen has one row and exactly one end (TRUTH 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class RecordState(StrEnum):
    """Where a record's way ends; `pending` exists only while work is under way."""

    PENDING = "pending"
    KEPT = "kept"
    MERGED_INTO = "merged-into"
    SUPERSEDED = "superseded"
    QUARANTINED = "quarantined"
    EXCLUDED = "excluded"
    FAILED = "failed"


ATTACHMENT = "Attachment"
INSTANCE = "Instance"
# The rule of a row for an entry that came and could not be read: its original is not the record.
READ_ENTRY = "read-entry"
# The rule of a row that was held and is not at its source any more; a person decides about it.
GONE = "gone-at-source"


@dataclass(frozen=True, slots=True, order=True)
class RecordKey:
    """
    What makes two sightings the same record.

    FHIR: type, logical id, `meta.versionId` or else the hash of the entry. Attachment: kind
    `Attachment`, absolute URL or position in its parent, declared hash or empty. DICOM: kind
    `Instance`, SOP Instance UID, SHA-256 of the data set.
    """

    source: str
    kind: str
    id: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.source} {self.kind}/{self.id}" + (f"@{self.version}" if self.version else "")


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """
    One record seen.

    `original` is the exchange that carried it and `position` its place there (an entry index, or
    empty when the body itself is the record). `target` is the kept record it was merged into or
    the successor that superseded it. `rule` names the rule or person that moved it, `reason` says
    why in one sentence without patient data. `entry` is the fullUrl in the case record if kept.
    """

    key: RecordKey
    state: RecordState = RecordState.PENDING
    original: str = ""
    position: str = ""
    rule: str = ""
    reason: str = ""
    target: str = ""
    entry: str = ""
    error_code: str = ""
    attempts: int = 0
    sightings: int = 1

    def ended(
        self, state: RecordState, *, rule: str, reason: str = "", target: str = "", entry: str = ""
    ) -> LedgerRow:
        """This row with its end; `rule` says who or what decided."""
        return replace(self, state=state, rule=rule, reason=reason, target=target, entry=entry)


def count_states(rows: Iterable[LedgerRow]) -> Mapping[RecordState, int]:
    """How many rows stand in each state, every state named."""
    found = Counter(row.state for row in rows)
    return {state: found[state] for state in RecordState}


def imbalance(
    rows: Iterable[LedgerRow], entries: Iterable[str], bridge_made: frozenset[str]
) -> tuple[str, ...]:
    """
    Why a case record may not be released: empty when the ledger balances (TRUTH 2).

    `entries` are the fullUrls of the case record, `bridge_made` those that no source sent. Each
    sentence names the row or entry that breaks the balance.
    """
    rows, present = tuple(rows), frozenset(entries)
    kept = {row.entry for row in rows if row.state is RecordState.KEPT}
    problems = [f"{row.key} is still pending" for row in rows if row.state is RecordState.PENDING]
    problems += [
        f"{row.key} is kept and has no entry in the case record"
        for row in rows
        if row.state is RecordState.KEPT and row.entry not in present
    ]
    problems += [
        f"entry {entry} has no kept row behind it" for entry in sorted(present - kept - bridge_made)
    ]
    return tuple(problems)
