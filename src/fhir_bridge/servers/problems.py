"""What went wrong, as an answer: an OperationOutcome for machines, a calm page for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fhir_bridge.errors import (
    BridgeError,
    CaseUnknown,
    DeliveryError,
    DicomError,
    IdentityError,
    NotAllowed,
    NotReady,
    ProviderBusy,
    ProviderError,
    ProviderUnreachable,
    RecordError,
    StorageFull,
    StoreError,
    TooLarge,
    UsageError,
    WrongMoment,
)
from fhir_bridge.standards.fhir import json

FHIR_JSON = "application/fhir+json"
ERROR_SYSTEM = "urn:fhir-bridge:error"
MACHINE_PATHS = ("/fhir", "/dicom-web", "/.well-known", "/livez", "/readyz")

# The first type that fits decides; subclasses stand before their parents.
_STATUS: tuple[tuple[type[BridgeError], int], ...] = (
    (CaseUnknown, 404),
    (NotReady, 409),
    (NotAllowed, 403),
    (WrongMoment, 409),
    (IdentityError, 409),
    (TooLarge, 413),
    (UsageError, 400),
    (RecordError, 422),
    (ProviderUnreachable, 504),
    (ProviderBusy, 503),
    (ProviderError, 502),
    (DicomError, 502),
    (DeliveryError, 502),
    (StorageFull, 507),
    (StoreError, 503),
)

# FHIR R4 IssueType per HTTP status.
_ISSUE = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    409: "conflict",
    413: "too-long",
    415: "not-supported",
    421: "invalid",
    422: "processing",
    429: "throttled",
    502: "transient",
    503: "transient",
    504: "timeout",
    507: "no-store",
}

# What plain HTTP refusals say, in the words and codes of the error tree.
_PLAIN = {
    401: (NotAllowed.code, "You are not logged in, or your session is over. Please log in again."),
    403: (NotAllowed.code, "This was not sent from a page of the bridge. Open the page again."),
    404: (UsageError.code, "This page is not here. Check the address, or start from the cases."),
    405: (UsageError.code, "That cannot be done at this address."),
    406: (UsageError.code, "Only application/fhir+json is offered here."),
    413: (TooLarge.code, "What was sent is too large to take in."),
    421: (UsageError.code, "The bridge does not answer under this name."),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that went wrong, ready to be told.

    `advice` is for people, `code` and `detail` for engineers; neither carries patient data.
    """

    status: int
    code: str
    advice: str
    request_id: str
    detail: str = ""
    retry_after_seconds: float | None = None


ErrorPage = Callable[[Request, Problem], Response]


def problem_of(request: Request, error: Exception) -> Problem:
    """Translate whatever was raised; an unforeseen error tells nothing of itself."""
    request_id = str(request.scope.get("state", {}).get("request_id", ""))
    if isinstance(error, BridgeError):
        status = next((s for kind, s in _STATUS if isinstance(error, kind)), 500)
        wait = error.retry_after_seconds
        return Problem(status, error.code, error.advice, request_id, error.detail, wait)
    if isinstance(error, HTTPException):
        code, advice = _PLAIN.get(error.status_code, (UsageError.code, UsageError.advice))
        return Problem(error.status_code, code, advice, request_id)
    return Problem(500, BridgeError.code, BridgeError.advice, request_id)


def invalid(request: Request, fields: str) -> Problem:
    """A request whose parameters do not fit; `fields` names them, never their values."""
    request_id = str(request.scope.get("state", {}).get("request_id", ""))
    advice = "Something in the form is missing or not as it should be. Go back and check it."
    return Problem(422, UsageError.code, advice, request_id, fields)


def is_machine(path: str) -> bool:
    """Whether a path belongs to an interface rather than to the nurse's pages."""
    return any(path == root or path.startswith(root + "/") for root in MACHINE_PATHS)


def outcome(problem: Problem) -> bytes:
    """An OperationOutcome (FHIR R4): text for people, diagnostics with the request id."""
    issue = {
        "severity": "error",
        "code": _ISSUE.get(problem.status, "exception"),
        "details": {
            "coding": [{"system": ERROR_SYSTEM, "code": problem.code}],
            "text": problem.advice,
        },
        "diagnostics": f"request {problem.request_id}",
    }
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]})


def answer(request: Request, problem: Problem, page: ErrorPage | None) -> Response:
    """The whole answer, in the form that suits who asked."""
    if page is None or is_machine(request.url.path):
        response = Response(outcome(problem), problem.status, media_type=FHIR_JSON)
    else:
        response = page(request, problem)
    if problem.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(max(1, round(problem.retry_after_seconds)))
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="fhir-bridge"'
    return response
