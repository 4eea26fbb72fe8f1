"""Exit codes: what a command's end means to a script that cannot read sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_bridge.case.certificate import COMPLETE, Grade
from fhir_bridge.errors import by_code

DONE, FAILED, USAGE, PARTIAL, PERSON, REFUSED, UNREACHABLE, CONFIGURATION = range(8)
INTERRUPTED = 130
SAID = (
    "Exit codes: 0 done, 1 failed, 2 usage, 3 partial (a source is incomplete), "
    "4 needs a person (identity, consent), 5 refused by the other side, 6 unreachable, "
    "7 configuration, 130 interrupted."
)


def of_pull(result: Mapping[str, Any], certificate: Iterable[Mapping[str, Any]]) -> int:
    """The exit code of a pull: the gravest thing that a script has to know."""
    sources = result["sources"]
    if any(end["state"] == "needs-person" for end in sources):
        return PERSON
    failures = {by_code(e["error"]).exit_code for e in sources if e["state"] == "failed"}
    if failures:
        return max(failures)
    grades = {Grade(row["grade"]) for row in certificate} - {Grade.NOT_ASKED}
    return DONE if grades and grades <= COMPLETE else PARTIAL


def of_delivery(deliveries: Iterable[Mapping[str, Any]]) -> int:
    """0 when every delivery of the newest opinion is confirmed; 4 when a person is needed."""
    rows = list(deliveries)
    newest = max((row["version"] for row in rows), default=0)
    states = {row["state"] for row in rows if row["version"] == newest}
    if states <= {"confirmed", "opened"}:
        return DONE
    return PERSON if states & {"held", "manual"} else PARTIAL
