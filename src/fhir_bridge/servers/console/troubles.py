"""Errors in the words of a nurse: what happened, who acts next; the catalogue is the error tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhir_bridge import errors
from fhir_bridge.servers.console.words import Saying, State


def _tree(root: type[errors.BridgeError]) -> Iterator[type[errors.BridgeError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


ERRORS: Mapping[str, type[errors.BridgeError]] = {
    kind.code: kind for kind in _tree(errors.BridgeError) if kind.__module__ == errors.__name__
}

_NEXT: tuple[tuple[type[errors.BridgeError], str], ...] = (
    (errors.ConfigurationError, "An engineer acts next."),
    (errors.UsageError, "You act next: go back and choose again."),
    (errors.IdentityError, "You act next: compare the patient's details on the case page."),
    (errors.RecordError, "Nothing for you to do. The other records go on."),
    (errors.CaseUnknown, "You act next: open the case from the list of cases."),
    (errors.CaseError, "You act next: the case page shows the step that is possible now."),
    (errors.ReadBackDiffers, "You act next: call the hospital before anybody relies on it."),
    (errors.DeliveryError, "The opinion page shows where the delivery stands."),
    (errors.StoreError, "An engineer acts next. What was confirmed before is safe."),
    (errors.ProviderError, "Integration acts next. The other sources go on."),
    (errors.DicomError, "Integration acts next. The other sources go on."),
)


def advice(code: str) -> str:
    """What an error code means, for people; an unknown code says that something failed."""
    return ERRORS.get(code, errors.BridgeError).advice


def who_next(code: str) -> str:
    """Who acts next after an error."""
    kind = ERRORS.get(code, errors.BridgeError)
    if kind.default_retry_seconds is not None:
        return "Nothing for you to do; the bridge goes on by itself."
    return next(
        (text for base, text in _NEXT if issubclass(kind, base)),
        "Try once more; if it happens again, tell integration the code below.",
    )


def failure(code: str) -> Saying:
    """A source that stopped with an error: what a nurse reads about it."""
    kind = ERRORS.get(code, errors.BridgeError)
    if kind.default_retry_seconds is not None:
        return Saying(State.WAITING, kind.advice, "Waiting")
    return Saying(State.NEEDS if is_identity(code) else State.FAILED, kind.advice)


def is_identity(code: str) -> bool:
    """Whether an error asks who the patient is; a decision answers it."""
    return issubclass(ERRORS.get(code, errors.BridgeError), errors.IdentityError)
