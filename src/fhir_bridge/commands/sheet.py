"""The sheet for a hospital's side: what they configure so that we may read, write and receive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_bridge import tables
from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import Auth, TreatingProvider
from fhir_bridge.case.signing import JWKS_MAX_AGE_SECONDS, KeyStage
from fhir_bridge.clients.scopes import scopes
from fhir_bridge.clients.smart import WRITES
from fhir_bridge.pipeline.pull.plan import NEVER, searches
from fhir_bridge.security.certificates import ends, fingerprint

PLACEHOLDER = "(to be filled in)"
REFERRED = ("Practitioner", "PractitionerRole", "Organization", "Endpoint", "Binary")
Row = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything that two engineers have to agree on, without any secret."""

    name: str
    login: Sequence[Row]
    reads: Sequence[Row]
    scopes: Sequence[tuple[str, str, str]]
    network: Sequence[Row]
    dicom: Sequence[Row]
    contacts: Sequence[Row]

    @classmethod
    def of(cls, bridge: Bridge, provider: TreatingProvider) -> Sheet:
        """From the settings, the keys and the tables; no hospital is asked."""
        offered = [s for s in searches(provider.vendor, "R4") if s.need != NEVER]
        names = dict.fromkeys(search.type.partition("/")[0] for search in offered)
        reads = [("Patient", "read; search by identifier, or by family, given and birthdate")]
        reads += [(s.name, "GET by patient" + (", an operation" if "$" in s.type else ""))
                  for s in offered]  # fmt: skip
        reads += [(kind, "read, when another record refers to it") for kind in REFERRED]
        kinds = list(dict.fromkeys(["Patient", *names, *REFERRED]))
        return cls(
            provider.name,
            _login(bridge, provider),
            reads,
            [*(_spelled(kind, reads=True) for kind in kinds), *(_spelled(kind) for kind in WRITES)],
            _network(bridge, provider),
            _dicom(bridge, provider),
            [("At the programme", PLACEHOLDER), ("At the hospital", PLACEHOLDER)],
        )

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "login": dict(self.login),
            "reads": dict(self.reads),
            "scopes": [{"for": what, "v1": v1, "v2": v2} for what, v1, v2 in self.scopes],
            "network": dict(self.network),
            "dicom": dict(self.dicom),
            "contacts": dict(self.contacts),
        }

    def markdown(self) -> str:
        """As a page to send."""
        parts = [
            f"# fhir-bridge at {self.name}",
            "The client is a backend service: no user logs in, and there is no redirect address.",
            _section("Login", ("fact", "value"), self.login),
            _section("Scopes", ("for", "SMART v1", "SMART v2"), self.scopes),
            _section("FHIR interactions", ("type", "what we ask"), self.reads),
            "The opinion is written as one DocumentReference, with its files inside or as Binary.",
            _section("Network", ("fact", "value"), self.network),
            _section("DICOM", ("fact", "value"), self.dicom),
            _section("Contacts", ("side", "who"), self.contacts),
        ]
        return "\n\n".join(part for part in parts if part)


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _spelled(kind: str, *, reads: bool = False) -> tuple[str, str, str]:
    asked: Mapping[str, Sequence[str]] = (
        {"reads": [kind], "writes": []} if reads else {"reads": [], "writes": [kind]}
    )
    what = f"{kind} (read)" if reads else f"{kind} (create)"
    v1, v2 = (scopes(v2=v2, writes=asked["writes"], reads=asked["reads"]) for v2 in (False, True))
    return what, v1, v2


def _login(bridge: Bridge, provider: TreatingProvider) -> Sequence[Row]:
    papers = provider.papers
    rows = [("Method", provider.auth.value), ("FHIR base", provider.fhir)]
    match provider.auth:
        case Auth.PRIVATE_KEY_JWT:
            rows += _by_key(bridge, provider)
        case Auth.CLIENT_SECRET:
            rows += [("Client id", provider.client_id), ("Grant", "client_credentials")]
            rows.append(("Secret", "client_secret_basic, else client_secret_post"))
        case Auth.BASIC:
            rows.append(("User", provider.client_id))
        case Auth.HEADER:
            rows.append(("Header", papers.header))
        case Auth.UDAP:
            rows += _by_udap(provider)
        case Auth.NONE:
            pass
    if papers.scopes:
        rows.append(("Scopes asked", papers.scopes))
    return [row for row in rows if row[1]]


def _by_key(bridge: Bridge, provider: TreatingProvider) -> Sequence[Row]:
    known = [
        f"{key.kid} ({key.alg}, {stage.value})"
        for key, stage in bridge.keys.rows()
        if stage is not KeyStage.GONE
    ]
    return [
        ("Client id", provider.client_id),
        ("Grant", "client_credentials, private_key_jwt"),
        ("JWKS address", f"{bridge.public_url}/.well-known/jwks.json"),
        ("Keys now (kid)", ", ".join(known)),
        ("Algorithms", "RS384, ES384"),
        ("Keys change", f"fetch the JWKS, keep it at most {JWKS_MAX_AGE_SECONDS} s, copy nothing"),
        ("Assertion", "iss = sub = client id, aud = token endpoint, exp in 240 s, new jti"),
    ]


def _by_udap(provider: TreatingProvider) -> Sequence[Row]:
    papers = provider.papers
    return [
        ("Grant", "client_credentials, UDAP B2B, registered dynamically"),
        ("Algorithm", "RS256 with x5c"),
        ("Certificate (SHA-256)", fingerprint(papers.udap_certificate)),
        ("Certificate ends", ends(papers.udap_certificate).date().isoformat()),
        ("Community", papers.community),
        ("Organisation", papers.organization),
        ("Purpose of use", "TREAT"),
    ]


def _network(bridge: Bridge, provider: TreatingProvider) -> Sequence[Row]:
    papers = provider.papers
    rows = [
        ("TLS", "1.2 or newer; your certificate names the host of the FHIR base"),
        ("From", f"our outgoing address: {PLACEHOLDER}"),
        ("To us", f"GET of the JWKS at {bridge.public_url}"),
    ]
    if papers.tls_certificate:
        rows.append(("Our client certificate (SHA-256)", fingerprint(papers.tls_certificate)))
        rows.append(("It ends", ends(papers.tls_certificate).date().isoformat()))
    if provider.file_origins:
        rows.append(("Origins of files, without our login", ", ".join(provider.file_origins)))
    if provider.allowed_origins:
        rows.append(("Origins that get our login too", ", ".join(provider.allowed_origins)))
    return rows


def _dicom(bridge: Bridge, provider: TreatingProvider) -> Sequence[Row]:
    if provider.dimse is None and not provider.dicomweb:
        return []
    settings = bridge.settings
    stored = [r for r in tables.rows("dicom", "sop-classes.csv") if r["scp"] == "yes"]
    rows = (
        [("DICOMweb", f"QIDO-RS and WADO-RS at {provider.dicomweb}")] if provider.dicomweb else []
    )
    if provider.dimse is not None:
        rows += [
            ("Your node", str(provider.dimse)),
            ("Our AE title", settings.dimse_aet),
            ("Our receiver", f"port {settings.dimse_port}, for C-MOVE and C-STORE to us"),
            ("We ask of you (SCU)", "C-ECHO, C-FIND, C-GET, C-MOVE (Study Root)"),
            ("You send to us (we are SCP)", f"C-STORE of {len(stored) - 1} SOP classes, C-ECHO"),
        ]
    return rows
