"""A Case: one patient, one question, one second-opinion episode; and the sources it draws on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fhir_bridge.case.identity import Person

SPECIALTIES = ("neurology", "neurosurgery", "cardiology", "gastroenterology", "oncology")


class CaseState(StrEnum):
    """Where a case stands."""

    OPEN = "open"
    COLLECTING = "collecting"
    ASSEMBLED = "assembled"
    RELEASED = "released"
    OPINION_SIGNED = "opinion-signed"
    DELIVERED = "delivered"


class PinState(StrEnum):
    """Whether it is settled who the patient is at a source."""

    OPEN = "open"
    ASKED = "asked"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Auth(StrEnum):
    """How we log in at a provider's endpoint."""

    NONE = "none"
    BASIC = "basic"
    CLIENT_SECRET = "client-secret"  # noqa: S105 (the name of a method, not a secret)
    PRIVATE_KEY_JWT = "private-key-jwt"
    HEADER = "header"
    UDAP = "udap"


@dataclass(frozen=True, slots=True)
class DimseNode:
    """A DICOM application entity: AE title (<= 16 characters, case-sensitive), host, port."""

    aet: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.aet}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Papers:
    """
    What a login shows besides its secret; nothing here is secret, and all of it is optional.

    `header` is the name of a static header, `scopes` what we ask for word by word instead of our
    own choice. The certificates are PEM texts, leaf first: ours for mutual TLS and the authorities
    that signed the endpoint's; ours for UDAP and the anchors of its trust community (a URI).
    `organization` (URI) and `contact` (mailto URI) are who we are to a UDAP server.
    """

    header: str = ""
    scopes: str = ""
    tls_certificate: str = ""
    tls_authorities: str = ""
    udap_certificate: str = ""
    udap_anchors: str = ""
    community: str = ""
    organization: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class TreatingProvider:
    """
    An organisation that treats the patient and holds the records.

    `id` is the slug of `name` and the source in every key. `secret` is sealed (never clear text),
    and so are the private keys in `sealed` (`tls-key`, `udap-key`). `vendor` is whose EHR it is
    (`epic`, `oracle`, `meditech`, `athena`, `hapi`); empty means: find out.
    `bulk` is what a bulk export is asked of instead of pages: a Group's id, or `patient`.
    The login goes to `allowed_origins` too; from `file_origins` files are fetched without any.
    `issuers` maps what the source writes as IssuerOfPatientID to the identifier system.
    """

    id: str
    name: str
    fhir: str = ""
    auth: Auth = Auth.NONE
    client_id: str = ""
    secret: bytes = b""
    dimse: DimseNode | None = None
    dicomweb: str = ""
    allowed_origins: tuple[str, ...] = ()
    issuers: Mapping[str, str] = field(default_factory=dict)
    vendor: str = ""
    papers: Papers = Papers()
    sealed: Mapping[str, bytes] = field(default_factory=dict)
    bulk: str = ""
    file_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
    """
    The decision who the patient is at one source: (case, source) -> the source's patient id.

    `patient_id` is the id of the Patient there, `decided_by` the rule or the person, `reason` one
    sentence for the nurse. `candidates` is what the source offered while a person has to choose.
    """

    case_id: str
    source: str
    state: PinState = PinState.OPEN
    patient_id: str = ""
    decided_by: str = ""
    reason: str = ""
    candidates: tuple[Person, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One second-opinion episode. `patient` is the R4 Patient that the case manager entered."""

    id: str
    patient: Mapping[str, object]
    person: Person
    specialty: str
    question: str
    providers: tuple[str, ...]
    opened_at: datetime
    state: CaseState = CaseState.OPEN
    record_version: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)
