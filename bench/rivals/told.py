"""What an adapter says at its end: one JSON line, the ids that it got and what it was told."""

from __future__ import annotations

import json  # noqa: TID251 (runs in the environment of a rival, which knows nothing of ours)
import sys
from collections.abc import Callable, Iterable

KIND = "DocumentReference"
PAGE = 20


def tell(fetch: Callable[[list[str]], str | None]) -> None:
    """
    Run `fetch`, which appends the ids that it gets to a list, and print how it ended.

    What `fetch` returns is the error that the rival reported by its own means, or None.
    """
    ids: list[str] = []
    try:
        error = fetch(ids)
    except BaseException as raised:  # noqa: BLE001 (whatever ends a rival is its report)
        error = f"raises {type(raised).__name__}"
    sys.stdout.flush()
    sys.stdout.write("\n" + json.dumps({"ids": ids, "error": error}) + "\n")


def ids_of(resources: Iterable[dict]) -> Iterable[str]:
    """The ids of the documents among resources."""
    return (str(one["id"]) for one in resources if one.get("resourceType") == KIND and "id" in one)


def refused(resources: Iterable[dict]) -> str | None:
    """
    An OperationOutcome that stands among what a rival handed over is a report.

    One that only says that a parameter was left out (not-supported) tells of nothing missing.
    """
    outcomes = (one for one in resources if one.get("resourceType") == "OperationOutcome")
    codes = {issue.get("code") for one in outcomes for issue in one.get("issue", ())}
    return "OperationOutcome among the resources" if codes - {"not-supported"} else None
