"""The login options of `provider add`: what belongs together, and what is read from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fhir_bridge.case.case import Auth, Papers
from fhir_bridge.errors import UsageError

if TYPE_CHECKING:
    from fhir_bridge.case.case import TreatingProvider
    from fhir_bridge.security.secrets import Seal

MOST_FILE_BYTES = 256 * 1024


class Vendor(StrEnum):
    """Whose EHR it is."""

    FIND_OUT = ""
    EPIC = "epic"
    ORACLE = "oracle"
    MEDITECH = "meditech"
    ATHENA = "athena"
    HAPI = "hapi"


def _file(help_: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=help_, exists=True, dir_okay=False)
    return option


AuthOption = Annotated[Auth, typer.Option(help="How we log in.")]
ClientId = Annotated[str, typer.Option(help="Our client id (or user) there.")]
SecretFile = Annotated[
    Path | None, _file("File with the secret or the static header's value; sealed at rest.")
]
Header = Annotated[str, typer.Option(help="Name of the static header, such as X-Api-Key.")]
Scopes = Annotated[str, typer.Option(help="Ask for these scopes instead of our own choice.")]
VendorOption = Annotated[Vendor, typer.Option(help="Whose EHR it is; empty finds out.")]
TlsCertificate = Annotated[Path | None, _file("Our certificate for mutual TLS, PEM.")]
TlsKey = Annotated[Path | None, _file("Its private key, PEM; sealed at rest.")]
TlsCa = Annotated[Path | None, _file("Private authorities of this endpoint, PEM.")]
UdapCertificate = Annotated[Path | None, _file("Our UDAP certificate, PEM, leaf first.")]
UdapKey = Annotated[Path | None, _file("Its private key, PEM; sealed at rest.")]
UdapAnchors = Annotated[Path | None, _file("Trust anchors of the UDAP community, PEM.")]
UdapCommunity = Annotated[str, typer.Option(help="URI of the UDAP community.")]
Organization = Annotated[str, typer.Option(help="Our organisation as a URI, for UDAP.")]
Contact = Annotated[str, typer.Option(help="mailto: address for the hospital's side, for UDAP.")]


@dataclass(frozen=True, slots=True)
class Login:
    """How we log in at one hospital, as it was typed."""

    auth: Auth
    client_id: str
    secret_file: Path | None
    papers: Papers
    keys: Mapping[str, Path]
    """`tls-key` and `udap-key` -> the file that holds the PEM."""

    def check(self, fhir: str) -> None:
        """Raise UsageError, naming the option that is missing or too much."""
        for missing, option in self._needs(fhir):
            if missing:
                raise UsageError(f"--auth {self.auth.value} needs {option}")
        pairs = (
            ("tls", "--tls-certificate", self.papers.tls_certificate),
            ("udap", "--udap-certificate", self.papers.udap_certificate),
        )
        for name, option, certificate in pairs:
            if bool(certificate) != (f"{name}-key" in self.keys):
                raise UsageError(f"{option} and --{name}-key go together")

    def _needs(self, fhir: str) -> list[tuple[bool, str]]:
        papers, auth = self.papers, self.auth
        by_token = auth in (Auth.CLIENT_SECRET, Auth.PRIVATE_KEY_JWT, Auth.UDAP)
        secret = auth in (Auth.BASIC, Auth.CLIENT_SECRET, Auth.HEADER)
        udap = auth is Auth.UDAP
        return [
            (by_token and not fhir, "--fhir"),
            (auth not in (Auth.NONE, Auth.HEADER, Auth.UDAP) and not self.client_id, "--client-id"),
            (secret and self.secret_file is None, "--secret-file"),
            (auth is Auth.HEADER and not papers.header, "--header"),
            (udap and not papers.udap_certificate, "--udap-certificate and --udap-key"),
            (udap and not papers.udap_anchors, "--udap-anchors"),
            (udap and not papers.organization, "--organization"),
            (udap and not papers.contact.startswith("mailto:"), "--contact mailto:..."),
        ]

    def prove(self, provider: TreatingProvider, seal: Seal) -> None:
        """Raise before anything is stored: what cannot be opened now cannot be used tonight."""
        from fhir_bridge.clients.ask import StaticHeader
        from fhir_bridge.security import tls
        from fhir_bridge.security.certificates import Anchors, Certified
        from fhir_bridge.steps.hospitals import TLS_KEY, UDAP_KEY, secret_purpose

        def clear(name: str) -> bytes:
            return seal.open(provider.sealed[name], secret_purpose(provider.id, name))

        papers = self.papers
        tls.context(
            authorities=papers.tls_authorities,
            certificate=papers.tls_certificate,
            key=clear(TLS_KEY) if papers.tls_certificate else b"",
        )
        if self.auth is Auth.HEADER:
            value = seal.open(provider.secret, secret_purpose(provider.id))
            StaticHeader(papers.header, value.decode("latin-1"))
        if papers.udap_certificate:
            Certified.of_pem(papers.udap_certificate, clear(UDAP_KEY))
            Anchors.of_pem(papers.udap_anchors)

    def sealed(self, provider_id: str, seal: Seal) -> tuple[bytes, Mapping[str, bytes]]:
        """The secret and the private keys, sealed for this provider alone."""
        from fhir_bridge.steps.hospitals import secret_purpose

        secret = contents(self.secret_file).strip()
        keys = {
            name: seal.seal(contents(path), secret_purpose(provider_id, name))
            for name, path in self.keys.items()
        }
        return seal.seal(secret, secret_purpose(provider_id)) if secret else b"", keys


def contents(path: Path | None) -> bytes:
    """A small file's bytes, nothing for no file; raises UsageError for one that is no such file."""
    if path is None:
        return b""
    try:
        with path.open("rb") as file:
            read = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"a file cannot be read ({type(error).__name__})") from None
    if len(read) > MOST_FILE_BYTES:
        raise UsageError("a file of a secret or certificate has at most 256 KiB")
    return read


def pem(path: Path | None) -> str:
    """A PEM file's text; raises UsageError for bytes that no PEM has."""
    try:
        return contents(path).decode("ascii").strip()
    except UnicodeDecodeError:
        raise UsageError("a certificate file is no PEM") from None
