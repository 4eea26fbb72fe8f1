"""What a certificate can find odd about an endpoint: a code, and a sentence for either reader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One oddity: `nurse` says what it means for the case, `engineer` what the server did."""

    code: str
    nurse: str
    engineer: str


# In the order of their weight: the first that applies is the reason of a line.
_ALL = (
    Finding(
        "looping",
        "The hospital's list of records repeats itself; more may exist.",
        "A next link leads back, or page after page brings nothing new.",
    ),
    Finding(
        "chain-broken",
        "The hospital's list broke off; more may exist.",
        "A page behind a next link could not be had, after all retries.",
    ),
    Finding(
        "outcome-error",
        "The hospital answered, and its answer reports an error; more may exist.",
        "HTTP 200 with an OperationOutcome of severity error or fatal among the entries.",
    ),
    Finding(
        "outcome-warning",
        "The hospital says that it keeps something back, or that more may exist.",
        "An OperationOutcome among the entries says suppressed, incomplete, throttled or more.",
    ),
    Finding(
        "records-unreadable",
        "Some records came and could not be read; their originals are kept.",
        "Entries that are no strict JSON, too deep, or hold no resource; see rule read-entry.",
    ),
    Finding(
        "attachments-failed",
        "The hospital lists files that it does not hand over.",
        "Attachments that were named by address and could not be fetched or decoded.",
    ),
    Finding(
        "records-missing",
        "The hospital lists records that it does not hand over.",
        "Ids or instances that a witness shows and that could not be fetched.",
    ),
    Finding(
        "total-too-high",
        "The hospital counts more than it handed over.",
        "A trusted count is above the number of distinct ids obtained.",
    ),
    Finding(
        "lists-disagree",
        "The hospital's lists do not agree with what is here.",
        "A trusted list names other ids than those held.",
    ),
    Finding(
        "another-patient",
        "Records of another patient were among the answer and are set aside.",
        "Entries whose subject is not the pinned patient: the patient parameter is not obeyed.",
    ),
    Finding(
        "filter-ignored",
        "The hospital answered more than was asked; what does not belong is not counted.",
        "A search parameter was dropped from the self link, or entries do not match it.",
    ),
    Finding(
        "total-too-low",
        "The hospital counts less than it handed over, so its number is not believed.",
        "Bundle.total or _summary=count is below the number of distinct ids obtained.",
    ),
    Finding(
        "total-is-page-size",
        "The number that the hospital gives is that of one page, so it is not believed.",
        "Bundle.total equals the entries of the page while a next link exists.",
    ),
    Finding(
        "total-absent",
        "The hospital does not say how much it has.",
        "No page of the search carried Bundle.total.",
    ),
    Finding(
        "chain-restarted",
        "The hospital's list expired once and was read again from its beginning.",
        "A followed page answered 410, 404 or 400; the search was begun anew, ids kept once.",
    ),
    Finding(
        "chain-mended",
        "The hospital's list broke off; asked again in parts, it was whole.",
        "The page chain broke, and a witness slicing of the same question came to its end.",
    ),
    Finding(
        "found-by-witness",
        "The hospital's first list left records out; they were found by asking in parts.",
        "An orthogonal slicing of the same question showed ids that the page chain never did.",
    ),
    Finding(
        "fetched-by-id",
        "Records were missing from the hospital's list; they were asked for by their ids.",
        "Ids held by reference, asked for by _id or read, and not in the page chain.",
    ),
    Finding(
        "gone-at-source",
        "Records that the hospital handed over earlier are not there any more; they are set aside.",
        "Ids listed by an earlier run, not listed now, and answered 404 or 410 when read by id.",
    ),
    Finding(
        "parameter-demanded",
        "The hospital did not accept the question as it was asked.",
        "The plain search was answered 400 or 422: the server demands a category or status.",
    ),
    Finding(
        "attachments-empty",
        "Some records name a file without a content; the hospital has none to hand over.",
        "Attachments with neither url nor data.",
    ),
)
FINDINGS = {finding.code: finding for finding in _ALL}


def ordered(codes: Iterable[str]) -> tuple[str, ...]:
    """
    Codes by weight, each once.

    >>> ordered(["attachments-empty", "looping", "looping"])
    ('looping', 'attachments-empty')
    """
    found = set(codes)
    return tuple(code for code in FINDINGS if code in found)
