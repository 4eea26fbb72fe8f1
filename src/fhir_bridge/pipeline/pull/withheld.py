"""What a server says between the lines: that it keeps something back, or refuses the question."""

from __future__ import annotations

import re

from fhir_bridge.standards.fhir.outcome import Issue

# IssueType (R4 valueset-issue-type): codes that say that more exists than was answered.
_WITHHOLDING = frozenset({"suppressed", "incomplete", "too-costly", "throttled", "timeout"})
_REFUSING = frozenset({"forbidden", "security", "login", "not-supported", "suppressed", "required"})
_WORDS = re.compile(r"suppress|withheld|incomplete|truncat|more .*exist", re.IGNORECASE)


def withholds(issue: Issue) -> bool:
    """
    Whether an outcome entry says that more may exist than came: suppressed, incomplete, an error.

    >>> withholds(Issue("information", "informational", "10 results suppressed"))
    True
    """
    return issue.failed or issue.code in _WITHHOLDING or bool(_WORDS.search(issue.text))


def refuses(issue: Issue) -> bool:
    """Whether a failed search was refused for good, and did not merely go wrong."""
    return issue.severity == "fatal" or issue.code in _REFUSING
