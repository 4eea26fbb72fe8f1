"""OperationOutcomes: ours, built from errors, and foreign ones, read by severity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_bridge import errors
from fhir_bridge.errors import BridgeError
from fhir_bridge.standards.fhir.lenient import first, objects, text

SYSTEM = "http://fhir-bridge.example/CodeSystem/error"
SEVERITIES = ("fatal", "error", "warning", "information")

# The nearest IssueType (required binding) for each branch of the tree; the first that fits wins.
_ISSUE_TYPES: tuple[tuple[type[BridgeError], str], ...] = (
    (errors.CaseUnknown, "not-found"),
    (errors.NotAllowed, "forbidden"),
    (errors.CaseError, "business-rule"),
    (errors.UsageError, "invalid"),
    (errors.LoginRefused, "login"),
    (errors.ProviderRefused, "forbidden"),
    (errors.ProviderBusy, "throttled"),
    (errors.ProviderUnreachable, "transient"),
    (errors.ProviderFailed, "transient"),
    (errors.TooLarge, "too-long"),
    (errors.NotFhir, "structure"),
    (errors.Truncated, "incomplete"),
    (errors.StorageFull, "no-store"),
    (errors.RecordError, "structure"),
    (errors.StudyIncomplete, "incomplete"),
    (errors.DeliveryError, "processing"),
)


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue of an OperationOutcome: severity, issue type, and its best words."""

    severity: str
    code: str
    text: str

    @property
    def failed(self) -> bool:
        """Whether the request as a whole failed for this (R4 2.28.3: fatal or error)."""
        return self.severity in ("fatal", "error")


def of_error(error: BridgeError) -> dict[str, Any]:
    """The OperationOutcome that answers for an error: advice for people, code for machines."""
    issue: dict[str, Any] = {
        "severity": "error",
        "code": next((code for kind, code in _ISSUE_TYPES if isinstance(error, kind)), "exception"),
        "details": {"coding": [{"system": SYSTEM, "code": error.code}], "text": error.advice},
    }
    if error.detail:
        issue["diagnostics"] = error.detail
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def read(outcome: Mapping[str, Any]) -> tuple[Issue, ...]:
    """All issues of a foreign OperationOutcome, in their order, whatever is missing from them."""
    return tuple(_issue(issue) for issue in objects(outcome.get("issue")))


def worst(issues: Iterable[Issue]) -> Issue | None:
    """The issue to report: the highest severity, then the first of it."""
    return min(issues, key=lambda issue: SEVERITIES.index(issue.severity), default=None)


def _issue(issue: Mapping[str, Any]) -> Issue:
    severity, code = issue.get("severity"), issue.get("code")
    return Issue(
        severity=severity if severity in SEVERITIES else "error",
        code=text(code) or "unknown",
        text=_words(issue),
    )


def _words(issue: Mapping[str, Any]) -> str:
    details = first(issue.get("details"))
    display = first(details.get("coding")).get("display")
    choices = (issue.get("diagnostics"), details.get("text"), display)
    return next((words for choice in choices if (words := text(choice))), "")
