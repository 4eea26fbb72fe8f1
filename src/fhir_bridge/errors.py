"""
Every error of the bridge, drawn as one tree; the type decides what happens next.

BridgeError
├── ConfigurationError        FB-1001  settings, keys, tables
│   ├── UnsafeBinding         FB-1002  would listen beyond loopback without login and TLS
│   └── PortTaken             FB-1003
├── UsageError                FB-1101  the caller asked for something that does not exist or not so
├── ProviderError             FB-2000  a treating provider's system, and what it answered
│   ├── ProviderUnreachable   FB-2001  no connection, or no answer in time       retry
│   ├── ProviderBusy          FB-2002  429, 503                                  retry after
│   ├── LoginRefused          FB-2003  the token endpoint or 401
│   ├── ProviderRefused       FB-2004  403 and other 4xx
│   │   └── PageExpired       FB-2011  a page of a chain is gone: begin the chain anew
│   ├── ProviderFailed        FB-2005  5xx                                       retry
│   ├── NotFhir               FB-2006  200, but not what FHIR says it should be  retry
│   │   └── OnlyXml           FB-2012  XML, however JSON is asked for
│   ├── Truncated             FB-2007  the body ended early                      retry
│   ├── TooLarge              FB-2008  beyond the cap
│   ├── ForeignAddress        FB-2009  a link leads to another origin
│   └── PageLoop              FB-2010  a page chain that repeats itself
├── IdentityError             FB-3000  which patient this is
│   ├── PatientNotFound       FB-3001
│   ├── PatientNotCertain     FB-3002  a person must choose
│   └── WrongPatient          FB-3003  an item that names another patient
├── RecordError               FB-4000  one record, document or image
│   ├── Unreadable            FB-4001  bytes kept, meaning not understood
│   ├── AttachmentMissing     FB-4002  named, but not obtainable
│   └── Hostile               FB-4003  depth, size or structure beyond what is safe to parse
├── DicomError                FB-5000
│   ├── AssociationRejected   FB-5001                                            retry
│   ├── StudyIncomplete       FB-5002                                            retry
│   └── StorageRefused        FB-5003
├── CaseError                 FB-6000
│   ├── CaseUnknown           FB-6001  does not exist, or not for this person (never told apart)
│   ├── NotReady              FB-6002  the case record does not balance, or is not there yet
│   ├── NotAllowed            FB-6003
│   └── WrongMoment           FB-6004  the case is in another state
├── DeliveryError             FB-7000
│   ├── DeliveryRefused       FB-7001  a clean 4xx
│   ├── DeliveryUnknown       FB-7002  did it arrive? looked for, never just repeated  retry
│   └── ReadBackDiffers       FB-7003  what the chart shows is not what was signed
└── StoreError                FB-8000
    └── StorageFull           FB-8001                                            retry

`code` never changes its meaning, `advice` is what the nurse reads, `detail` is for engineers and
carries no patient data, `retry_after_seconds` is None for never.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class BridgeError(Exception):
    """The root. Subclasses fix `code`, `advice`, `exit_code` and whether to try again."""

    code: ClassVar[str] = "FB-0001"
    advice: ClassVar[str] = "Something went wrong inside the bridge. Integration was told."
    exit_code: ClassVar[int] = 1
    default_retry_seconds: ClassVar[float | None] = None

    def __init__(self, detail: str = "", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = (
            self.default_retry_seconds if retry_after_seconds is None else retry_after_seconds
        )

    def __str__(self) -> str:
        return f"{self.code} {self.detail}" if self.detail else f"{self.code} {self.advice}"


class ConfigurationError(BridgeError):
    """Settings, keys or tables are missing or contradict each other."""

    code = "FB-1001"
    advice = "The bridge is not set up completely. An engineer has to finish its settings."
    exit_code = 7


class UnsafeBinding(ConfigurationError):
    """A bind address beyond loopback needs a configured login and TLS."""

    code = "FB-1002"
    advice = "The bridge refused to start because anybody on the network could have read it."


class PortTaken(ConfigurationError):
    """Another program already listens on the port."""

    code = "FB-1003"
    advice = "Another program uses the bridge's port. An engineer has to choose another one."


class UsageError(BridgeError):
    """The caller asked for something that does not exist, or gave what cannot be used."""

    code = "FB-1101"
    advice = "That is not known here, or cannot be used as it is. Check what was given."
    exit_code = 2


class ProviderError(BridgeError):
    """A treating provider's system did not do what was asked."""

    code = "FB-2000"
    advice = "The hospital's system did not answer as expected. Integration was told."


class ProviderUnreachable(ProviderError):
    """No connection, or no whole answer before the deadline."""

    code = "FB-2001"
    advice = "The hospital's system cannot be reached. The bridge tries again by itself."
    exit_code = 6
    default_retry_seconds = 2.0


class ProviderBusy(ProviderError):
    """429 or 503; the wait is the hospital's own Retry-After."""

    code = "FB-2002"
    advice = "The hospital's system asks us to wait. The bridge goes on by itself."
    exit_code = 6
    default_retry_seconds = 5.0


class LoginRefused(ProviderError):
    """The token endpoint refused us, or a fresh token was not accepted."""

    code = "FB-2003"
    advice = "The hospital refused our login. Nothing for you to do; integration was told."
    exit_code = 5


class ProviderRefused(ProviderError):
    """A clean refusal: 403 or another 4xx."""

    code = "FB-2004"
    advice = "The hospital refused this part: our access does not cover it."
    exit_code = 5


class ProviderFailed(ProviderError):
    """The provider's server failed (5xx)."""

    code = "FB-2005"
    advice = "The hospital's system failed. The bridge tries again by itself."
    exit_code = 6
    default_retry_seconds = 2.0


class NotFhir(ProviderError):
    """The answer had status 200 and was not what FHIR says it should be."""

    code = "FB-2006"
    advice = "The hospital answered with something that is no record. The bridge tries again."
    default_retry_seconds: ClassVar[float | None] = 2.0


class Truncated(ProviderError):
    """The body ended before its announced or structural end."""

    code = "FB-2007"
    advice = "The hospital's answer broke off. The bridge asks again."
    exit_code = 6
    default_retry_seconds = 1.0


class TooLarge(ProviderError):
    """The body is larger than the cap for its kind."""

    code = "FB-2008"
    advice = "The hospital sent something too large to take in. Integration was told."


class ForeignAddress(ProviderError):
    """A link leads to an origin that is not the provider's and not on its allow-list."""

    code = "FB-2009"
    advice = "A document lies with another organisation. The bridge did not go there."
    exit_code = 5


class PageLoop(ProviderError):
    """A page chain repeats itself or never ends."""

    code = "FB-2010"
    advice = "The hospital's list of records repeats itself. What came is kept; more may exist."


class PageExpired(ProviderRefused):
    """The server does not know the page of a chain any more: the chain can be begun anew."""

    code = "FB-2011"
    advice = "The hospital's list of records ran out of time while it was read. It is read again."


class OnlyXml(NotFhir):
    """The server answers XML, asked for JSON in either way that FHIR has."""

    code = "FB-2012"
    advice = "The hospital answers in a form that the bridge does not read. Integration was told."
    default_retry_seconds = None


class IdentityError(BridgeError):
    """Which patient this is."""

    code = "FB-3000"
    advice = "It is not certain whose records these are. A person has to decide."
    exit_code = 4


class PatientNotFound(IdentityError):
    """No candidate at the provider."""

    code = "FB-3001"
    advice = "The hospital does not find this patient. Check the name, birth date and number."


class PatientNotCertain(IdentityError):
    """Candidates exist and none is certain; nothing is fetched before a person chooses."""

    code = "FB-3002"
    advice = "The hospital has more than one possible patient. Please choose; nothing was fetched."


class WrongPatient(IdentityError):
    """An item names another patient than the one pinned for its source."""

    code = "FB-3003"
    advice = "One item names another patient. It was set aside and is not shown to the specialist."


class RecordError(BridgeError):
    """One record, document or image."""

    code = "FB-4000"
    advice = "One record could not be used. Its original is kept."


class Unreadable(RecordError):
    """Bytes kept, meaning not understood."""

    code = "FB-4001"
    advice = "One record could not be read. Its original is kept and attached."


class AttachmentMissing(RecordError):
    """A document names a file that the provider does not give us."""

    code = "FB-4002"
    advice = "The hospital lists a document but does not hand over its content. Ask them for it."


class Hostile(RecordError):
    """Depth, size or structure beyond what is safe to parse."""

    code = "FB-4003"
    advice = "One file is built in a way that is not safe to open. Its original is kept."


class DicomError(BridgeError):
    """An imaging system did not do what was asked."""

    code = "FB-5000"
    advice = "The hospital's imaging system did not answer as expected. Integration was told."


class AssociationRejected(DicomError):
    """The peer refused or dropped the association (PS3.8 9.3.4)."""

    code = "FB-5001"
    advice = "The hospital's imaging system refused the connection. Its engineer has to add us."
    exit_code = 5
    default_retry_seconds = 5.0


class StudyIncomplete(DicomError):
    """Instances that the source lists did not arrive."""

    code = "FB-5002"
    advice = "Images are missing from a study. The bridge asks for just those again."
    exit_code = 3
    default_retry_seconds = 2.0


class StorageRefused(DicomError):
    """We did not accept an instance."""

    code = "FB-5003"
    advice = "An image was not accepted. The sender was told why."


class CaseError(BridgeError):
    """A case is not what the request needs."""

    code = "FB-6000"
    advice = "This cannot be done with the case as it stands."


class CaseUnknown(CaseError):
    """The case does not exist, or not for this person: the two are never told apart."""

    code = "FB-6001"
    advice = "There is no such case here."
    exit_code = 2


class NotReady(CaseError):
    """The case record does not balance or is not there yet; detail names the row."""

    code = "FB-6002"
    advice = "The case record is not ready yet."
    exit_code = 3


class NotAllowed(CaseError):
    """This person may not do that."""

    code = "FB-6003"
    advice = "You may not do that with this case."
    exit_code = 4


class WrongMoment(CaseError):
    """The case is in a state that does not allow the step."""

    code = "FB-6004"
    advice = "That step is not possible at this moment."


class DeliveryError(BridgeError):
    """The opinion on its way to the chart."""

    code = "FB-7000"
    advice = "The opinion could not be delivered yet."


class DeliveryRefused(DeliveryError):
    """A clean refusal without side effect."""

    code = "FB-7001"
    advice = "The hospital's system refused the opinion. Another form is tried, or you are asked."
    exit_code = 5


class DeliveryUnknown(DeliveryError):
    """We cannot tell whether the opinion arrived; it is looked for before anything is repeated."""

    code = "FB-7002"
    advice = "It is not known yet whether the opinion arrived. The bridge looks before it repeats."
    exit_code = 6
    default_retry_seconds = 3.0


class ReadBackDiffers(DeliveryError):
    """The chart shows something other than what was signed."""

    code = "FB-7003"
    advice = "The hospital's chart shows something other than the opinion. Call the hospital."


class StoreError(BridgeError):
    """The bridge's own memory."""

    code = "FB-8000"
    advice = "The bridge's own storage failed. Integration was told."


class StorageFull(StoreError):
    """No space left; nothing is acknowledged until there is."""

    code = "FB-8001"
    advice = "The bridge's storage is full. Nothing is lost; it goes on when there is space."
    default_retry_seconds = 30.0


def by_code(code: str) -> type[BridgeError]:
    """The kind of error that has this code; the root for an unknown one."""
    return next((kind for kind in _kinds(BridgeError) if kind.code == code), BridgeError)


def _kinds(kind: type[BridgeError]) -> Iterator[type[BridgeError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
