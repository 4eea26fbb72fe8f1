"""How the bridge reaches each treating provider: one client per way, made from its settings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fhir_bridge.case.case import Auth, TreatingProvider
from fhir_bridge.case.imaging import Arrival, InstanceClaim, StudyClaim
from fhir_bridge.clients.ask import Anonymous, Authoriser, Basic, Limits, StaticHeader
from fhir_bridge.clients.bulk import BulkClient
from fhir_bridge.clients.dicomweb import DicomWebClient
from fhir_bridge.clients.dimse import DimseClient
from fhir_bridge.clients.fhir import FhirClient
from fhir_bridge.clients.http import Wire
from fhir_bridge.clients.keep import Keep
from fhir_bridge.clients.manners import PLAIN, Manners, Memory, Rules
from fhir_bridge.clients.smart import Signer, Tokens
from fhir_bridge.clients.udap import Business, Udap
from fhir_bridge.pipeline.pull.source import Archive
from fhir_bridge.security import tls
from fhir_bridge.security.certificates import Anchors, Certified
from fhir_bridge.security.secrets import Seal
from fhir_bridge.store.cases import Providers

MOVE_SILENCE_SECONDS = 2.0
TLS_KEY, UDAP_KEY = "tls-key", "udap-key"


@dataclass(slots=True)
class Hospitals:
    """
    Clients by provider, shared by every case; a changed provider gets new ones.

    `our_node` is our AE title and port for C-GET and C-MOVE; C-MOVE is only used while our
    receiver listens (`receiving`). What is learnt of an endpoint goes into `endpoints`.
    """

    keep: Keep
    seal: Seal
    signer: Signer
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    limits: Limits
    aet: str
    receiving: Callable[[], int]
    endpoints: Memory | None = None
    rules: Rules = PLAIN
    _open: dict[str, tuple[TreatingProvider, Wire]] = field(default_factory=dict)
    # A step in hand may still use the old one, so it is closed at the end.
    _retired: list[Wire] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ehr(self, provider: TreatingProvider, case_id: str | None = None) -> FhirClient | None:
        """The provider's FHIR endpoint, if it has one."""
        if not provider.fhir:
            return None
        client = FhirClient(provider.fhir, self._wire(provider))
        return client.for_case(case_id) if case_id else client

    def exports(self, provider: TreatingProvider, case_id: str) -> BulkClient | None:
        """The provider's bulk export, where the operator chose it."""
        if not (provider.fhir and provider.bulk):
            return None
        return BulkClient(provider.fhir, self._wire(provider)).for_case(case_id)

    def archives(
        self, provider: TreatingProvider, case_id: str, held: Callable[[], frozenset[str]]
    ) -> tuple[Archive, ...]:
        """Every way to the provider's images, best first: WADO-RS, C-GET, C-MOVE to ourselves."""
        ways: list[Archive] = []
        if provider.dicomweb:
            wire = self._wire(provider).for_case(case_id)
            ways.append(ByWado(DicomWebClient(provider.dicomweb, wire)))
        if provider.dimse:
            scu = DimseClient(
                provider.dimse, self.aet, self.receiving(), source=provider.id, case_id=case_id
            )
            ways.append(ByGet(scu))
            if self.receiving():
                ways.append(ByMove(scu, held))
        return tuple(ways)

    def close(self) -> None:
        """Close every connection."""
        for wire in (*self._retired, *(wire for _, wire in self._open.values())):
            wire.close()

    def _wire(self, provider: TreatingProvider) -> Wire:
        with self._lock:
            known = self._open.get(provider.id)
            if known is None or known[0] != provider:
                if known is not None:
                    self._retired.append(known[1])
                known = (provider, self._connect(provider))
                self._open[provider.id] = known
            return known[1]

    def login(self, provider: TreatingProvider) -> Authoriser:
        """How we log in there; `Tokens` has the account of the last login."""
        return self._wire(provider).authoriser

    def _connect(self, provider: TreatingProvider) -> Wire:
        base = provider.fhir or provider.dicomweb
        papers = provider.papers
        wire = Wire.open(
            provider.id,
            base,
            keep=self.keep,
            now=self.now,
            new_id=self.new_id,
            allowed=[
                *provider.allowed_origins,
                *provider.file_origins,
                *filter(None, [provider.dicomweb]),
            ],
            limits=self.limits,
            verify=tls.context(
                authorities=papers.tls_authorities,
                certificate=papers.tls_certificate,
                key=self._key(provider, TLS_KEY) if papers.tls_certificate else b"",
            ),
            manners=Manners(provider.id, self.endpoints, rules=self.rules, now=self.now),
        )
        # A separate image server gets our login only when the operator allowed its origin.
        trusted = [base, *provider.allowed_origins]
        return wire.with_login(self._login(provider, wire), at=trusted)

    def _login(self, provider: TreatingProvider, wire: Wire) -> Authoriser:
        client_id, scope = provider.client_id, provider.papers.scopes
        match provider.auth:
            case Auth.NONE:
                return Anonymous()
            case Auth.BASIC:
                return Basic(client_id, self._secret(provider))
            case Auth.HEADER:
                return StaticHeader(provider.papers.header, self._secret(provider))
            case Auth.CLIENT_SECRET:
                secret = self._secret(provider)
                return Tokens(wire, provider.fhir, client_id, secret=secret, scope=scope)
            case Auth.PRIVATE_KEY_JWT:
                return Tokens(wire, provider.fhir, client_id, signer=self.signer, scope=scope)
            case Auth.UDAP:
                udap = self._udap(provider, wire)
                return Tokens(wire, provider.fhir, proof=udap, find=udap.find, scope=scope)

    def _udap(self, provider: TreatingProvider, wire: Wire) -> Udap:
        papers = provider.papers
        return Udap(
            wire,
            provider.fhir,
            Certified.of_pem(papers.udap_certificate, self._key(provider, UDAP_KEY)),
            Anchors.of_pem(papers.udap_anchors),
            Business(papers.organization),
            papers.contact,
            community=papers.community,
        )

    def _secret(self, provider: TreatingProvider) -> str:
        return self.seal.open(provider.secret, secret_purpose(provider.id)).decode()

    def _key(self, provider: TreatingProvider, name: str) -> bytes:
        sealed = provider.sealed.get(name, b"")
        return self.seal.open(sealed, secret_purpose(provider.id, name))


def secret_purpose(provider_id: str, name: str = "secret") -> str:
    """What a provider's secret is sealed for; another provider's cannot be put in its place."""
    return f"provider/{provider_id}/{name}"


class Issuers(Mapping[str, str]):
    """What sources write as IssuerOfPatientID -> the identifier system that it stands for."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def _all(self) -> Mapping[str, str]:
        pairs = (provider.issuers.items() for provider in self._providers.all())
        return {issuer: system for items in pairs for issuer, system in items}

    def __getitem__(self, issuer: str) -> str:
        return self._all()[issuer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


@dataclass(frozen=True, slots=True)
class ByWado:
    """Images by WADO-RS (PS3.18 10.4): a whole study as one stream, or single instances."""

    client: DicomWebClient
    witness: str = "QIDO instances"

    def list_studies(self, patient_id: str) -> Sequence[StudyClaim]:
        """QIDO-RS studies."""
        return self.client.list_studies(patient_id)

    def list_instances(self, study_uid: str) -> Sequence[InstanceClaim]:
        """QIDO-RS instances."""
        return self.client.list_instances(study_uid)

    def retrieve(
        self,
        study_uid: str,
        only: Collection[InstanceClaim],
        deliver: Callable[[Arrival], object],
    ) -> object:
        """WADO-RS."""
        return self.client.retrieve(study_uid, only, lambda arrival: _ignore(deliver(arrival)))


@dataclass(frozen=True, slots=True)
class _ByDimse:
    """What C-GET and C-MOVE share: the lists of C-FIND (PS3.4 C.4.1)."""

    scu: DimseClient
    witness: str = field(default="C-FIND IMAGE", init=False)

    def list_studies(self, patient_id: str) -> Sequence[StudyClaim]:
        """C-FIND at STUDY level."""
        return self.scu.list_studies(patient_id)

    def list_instances(self, study_uid: str) -> Sequence[InstanceClaim]:
        """C-FIND at IMAGE level."""
        return self.scu.list_instances(study_uid)


@dataclass(frozen=True, slots=True)
class ByGet(_ByDimse):
    """Images by C-GET (PS3.4 C.4.3): they come on the association that asks for them."""

    def retrieve(
        self,
        study_uid: str,
        only: Collection[InstanceClaim],
        deliver: Callable[[Arrival], object],
    ) -> object:
        """C-GET."""
        return self.scu.get(study_uid, only, lambda arrival: _ignore(deliver(arrival)))


@dataclass(frozen=True, slots=True)
class ByMove(_ByDimse):
    """Images by C-MOVE to ourselves (PS3.4 C.4.2): they come to our receiver."""

    held: Callable[[], frozenset[str]]

    def retrieve(
        self,
        study_uid: str,
        only: Collection[InstanceClaim],
        deliver: Callable[[Arrival], object],
    ) -> object:
        """
        C-MOVE, then wait until nothing more comes: its answer may come before the last image,
        and its counters are what the archive believes it sent.
        """
        del deliver  # the images come to the receiver, which knows them by their study
        report = self.scu.move(study_uid, only)
        wanted = frozenset(claim.sop_uid for claim in only)
        held, last_news = self.held(), time.monotonic()
        while time.monotonic() - last_news < MOVE_SILENCE_SECONDS:
            if wanted and wanted <= held:
                break
            time.sleep(0.2)
            now_held = self.held()
            if now_held != held:
                held, last_news = now_held, time.monotonic()
        return report


def _ignore(_: object) -> None:
    """The instance that a receiver returns is of no use to a client."""
