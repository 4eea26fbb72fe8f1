"""The EHR's JSON and media types: digits kept as written, R4 content types to the letter."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import simplejson
from starlette.responses import Response

Resource = dict[str, Any]
FHIR_JSON = "application/fhir+json"
CONTENT_TYPE = f"{FHIR_JSON}; fhirVersion=4.0; charset=utf-8"
FHIR_TYPES = frozenset({FHIR_JSON, "application/json", "application/json+fhir", "text/json"})


class Refusal(Exception):
    """An answer other than the one asked for: HTTP status, FHIR issue code, words, headers."""

    def __init__(
        self, status: int, code: str, words: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(words)
        self.status, self.code, self.words = status, code, words
        self.headers = dict(headers or {})


def read_json(body: bytes | str) -> Any:
    """JSON with every number kept as its digits; raises ValueError (also for NaN)."""
    return simplejson.loads(body, parse_float=Decimal, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def write_json(content: Any) -> bytes:
    """Compact UTF-8 JSON."""
    text: str = simplejson.dumps(
        content, use_decimal=True, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def fhir_answer(
    resource: Resource, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A resource as R4 says it is answered (http.html#mime-type, #version)."""
    return Response(write_json(resource), status, dict(headers or {}), CONTENT_TYPE)


def outcome(severity: str, code: str, words: str) -> Resource:
    """An OperationOutcome with one issue."""
    issue = {"severity": severity, "code": code, "diagnostics": words}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def refusal_answer(refusal: Refusal) -> Response:
    """The OperationOutcome that a refusal is answered with."""
    body = outcome("error", refusal.code, refusal.words)
    return fhir_answer(body, refusal.status, refusal.headers)


def media_type(header: str) -> str:
    """The bare, lower-case media type of a Content-Type header."""
    return header.split(";", 1)[0].strip().lower()


def preferred(accept: str) -> str:
    """
    The media type that an Accept header likes best; the first of equals (RFC 9110, 12.5.1).

    >>> preferred("application/fhir+json;q=0.5, application/pdf")
    'application/pdf'
    """
    ranked = [(_quality(part), media_type(part)) for part in accept.split(",") if part.strip()]
    best = max((quality for quality, _ in ranked), default=0.0)
    return next((name for quality, name in ranked if quality == best), "*/*")


def _quality(part: str) -> float:
    for parameter in part.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def takes_json(accept: str) -> bool:
    """Whether FHIR JSON is among what an Accept header takes (missing header: yes)."""
    names = {media_type(part) for part in accept.split(",") if part.strip()}
    return not names or bool(names & (FHIR_TYPES | {"*/*", "application/*"}))
