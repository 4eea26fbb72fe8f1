"""What a status means: which error of the tree an answer is, and whether to ask again."""

from __future__ import annotations

from datetime import datetime

from fhir_bridge.case.original import Answer
from fhir_bridge.clients.patience import retry_after_seconds
from fhir_bridge.errors import (
    BridgeError,
    DeliveryRefused,
    DeliveryUnknown,
    LoginRefused,
    NotFhir,
    ProviderBusy,
    ProviderFailed,
    ProviderRefused,
    ProviderUnreachable,
    Truncated,
    Unreadable,
)
from fhir_bridge.standards.fhir import json


def refusal(answer: Answer, *, changes: bool, now: datetime) -> BridgeError | None:
    """The error that an answer's status stands for, or None below 300."""
    status, detail = answer.status, f"HTTP {answer.status}{_issue(answer)}"
    if 200 <= status < 300:
        return None
    if status in {429, 503} and not (changes and status == 503):
        wait = retry_after_seconds(answer.header("Retry-After"), now)
        return ProviderBusy(detail, retry_after_seconds=wait)
    return _kind(status, changes=changes)(detail)


def _kind(status: int, *, changes: bool) -> type[BridgeError]:
    if status == 401:
        return LoginRefused
    # RFC 8470 5.2: 425 was not acted upon, be it a create or not.
    if status == 425:
        return ProviderUnreachable
    if changes:
        return DeliveryRefused if status < 500 and status != 408 else DeliveryUnknown
    # A gateway speaks for a server that did not answer in time.
    if status in {408, 502, 504}:
        return ProviderUnreachable
    return ProviderFailed if status >= 500 else ProviderRefused


def _issue(answer: Answer) -> str:
    """The codes of an OperationOutcome; its texts may name patients and stay in the store."""
    try:
        issues = json.load_object(answer.body or b"")["issue"]
        codes = {str(issue["code"]) for issue in issues}
    except (BridgeError, KeyError, TypeError):
        return ""
    words = sorted(code for code in codes if code.replace("-", "").isalpha() and len(code) < 32)
    return f" ({', '.join(words)})" if words else ""


def expect_fhir(answer: Answer) -> None:
    """
    Raise unless the body of a 200 can be a FHIR JSON resource: NotFhir for a login page or XML,
    Truncated for a body of unknown end that does not parse.

    The text is only looked at here; who uses it parses it.
    """
    text = (answer.body or b"").removeprefix(b"\xef\xbb\xbf").strip()
    if not text.startswith(b"{") or b'"resourceType"' not in text:
        raise NotFhir("the answer is no FHIR JSON")
    if not text.endswith(b"}"):
        raise Truncated("the JSON has no end")
    if answer.original.facts.get("framing") == "close":
        _expect_whole(text)


def _expect_whole(text: bytes) -> None:
    try:
        json.loads(text)
    except Unreadable:
        raise Truncated("a body of unknown length is no whole JSON") from None
