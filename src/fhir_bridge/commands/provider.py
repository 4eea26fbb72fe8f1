"""fhir-bridge provider: the treating hospitals and how they are reached."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from fhir_bridge.case.case import Auth
from fhir_bridge.commands import logins
from fhir_bridge.commands.opening import opened, reaching_out
from fhir_bridge.commands.output import AsJson, print_json, say, table
from fhir_bridge.commands.profile import show

if TYPE_CHECKING:
    from fhir_bridge.case.case import TreatingProvider

app = typer.Typer(
    help="Treating providers: add, list, test, sheet.",
    epilog="Example: fhir-bridge provider list",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(
    epilog="Example: fhir-bridge provider add 'General Hospital' --fhir https://ehr.example/r4 "
    "--auth private-key-jwt --client-id fhir-bridge --dimse GENHOSP@pacs.example:104"
)
def add(
    name: Annotated[str, typer.Argument(help="The hospital's name as nurses say it.")],
    fhir: Annotated[str, typer.Option(help="FHIR base URL.")] = "",
    auth: logins.AuthOption = Auth.NONE,
    client_id: logins.ClientId = "",
    secret_file: logins.SecretFile = None,
    header: logins.Header = "",
    scopes: logins.Scopes = "",
    vendor: logins.VendorOption = logins.Vendor.FIND_OUT,
    tls_certificate: logins.TlsCertificate = None,
    tls_key: logins.TlsKey = None,
    tls_ca: logins.TlsCa = None,
    udap_certificate: logins.UdapCertificate = None,
    udap_key: logins.UdapKey = None,
    udap_anchors: logins.UdapAnchors = None,
    udap_community: logins.UdapCommunity = "",
    organization: logins.Organization = "",
    contact: logins.Contact = "",
    bulk: Annotated[
        str, typer.Option(help="Ask for a bulk export: a Group's id, or 'patient'.")
    ] = "",
    dimse: Annotated[str, typer.Option(help="PACS node, AET@HOST:PORT.")] = "",
    dicomweb: Annotated[str, typer.Option(help="DICOMweb base URL.")] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Another origin of this hospital that may get our login."),
    ] = None,
    files_at: Annotated[
        list[str] | None,
        typer.Option(help="An origin with files of this hospital that must not see our login."),
    ] = None,
    issuer: Annotated[
        list[str] | None,
        typer.Option(help="IssuerOfPatientID=SYSTEM: whose numbers its images carry."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a hospital, or change the one with the same name."""
    from fhir_bridge.case.case import Papers, TreatingProvider
    from fhir_bridge.case.ids import slug
    from fhir_bridge.store.cases import parse_node

    papers = Papers(
        header, scopes, logins.pem(tls_certificate), logins.pem(tls_ca),
        logins.pem(udap_certificate), logins.pem(udap_anchors), udap_community, organization,
        contact,
    )  # fmt: skip
    keys = {name: file for name, file in (("tls-key", tls_key), ("udap-key", udap_key)) if file}
    login = logins.Login(auth, client_id, secret_file, papers, keys)
    pairs = [pair.partition("=") for pair in issuer or ()]
    provider = TreatingProvider(
        slug(name), name, fhir.rstrip("/"), auth, client_id, b"", parse_node(dimse),
        dicomweb.rstrip("/"), tuple(allow or ()), {text: system for text, _, system in pairs},
        vendor.value, papers, bulk=bulk, file_origins=tuple(files_at or ()),
    )  # fmt: skip
    _check(provider)
    login.check(fhir)
    _tell_added(provider, _added(provider, login), as_json=as_json)


def _check(provider: TreatingProvider) -> None:
    from fhir_bridge.errors import UsageError

    if not (provider.name.strip() and (provider.fhir or provider.dimse or provider.dicomweb)):
        raise UsageError("give a name and at least one of --fhir, --dimse, --dicomweb")
    _check_addresses(
        provider.fhir, provider.dicomweb, *provider.allowed_origins, *provider.file_origins
    )


def _added(provider: TreatingProvider, login: logins.Login) -> str:
    """Store it; returns the address of our keys."""
    with opened() as bridge:
        secret, keys = login.sealed(provider.id, bridge.seal)
        provider = replace(provider, secret=secret, sealed=keys)
        login.prove(provider, bridge.seal)
        bridge.add_provider(provider)
        return f"{bridge.public_url}/.well-known/jwks.json"


def _tell_added(provider: TreatingProvider, jwks: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"provider": provider.id, "name": provider.name, "jwks": jwks})
        return
    say(f"{provider.name} is known as {provider.id}.")
    if provider.auth is Auth.PRIVATE_KEY_JWT:
        say(f"The hospital registers client {provider.client_id} with the key set at {jwks}")
    say(f"For the hospital's side: fhir-bridge provider sheet {provider.id}")
    say(f"Next: fhir-bridge provider test {provider.id}")


def _check_addresses(*urls: str) -> None:
    from fhir_bridge.clients.origins import origin_of
    from fhir_bridge.errors import ForeignAddress, UsageError

    try:
        for url in filter(None, urls):
            origin_of(url)
            if set(url) & set("?#"):
                raise ForeignAddress
    except ForeignAddress:
        raise UsageError("an address is written https://host/path") from None


@app.command("list", epilog="Example: fhir-bridge provider list --json")
def list_(as_json: AsJson = False) -> None:
    """Every hospital that is known."""
    with opened() as bridge:
        known = bridge.store.providers.all()
    rows = [
        {
            "provider": p.id,
            "name": p.name,
            "fhir": p.fhir,
            "auth": p.auth.value,
            "vendor": p.vendor,
            "dimse": str(p.dimse or ""),
            "dicomweb": p.dicomweb,
        }
        for p in known
    ]
    if as_json:
        print_json(rows)
    elif rows:
        table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        say("No hospital is known yet. Add one: fhir-bridge provider add --help")


@app.command(epilog="Example: fhir-bridge provider test general-hospital --patient 12345")
def test(
    name: Annotated[str, typer.Argument(help="The provider's name or id.")],
    patient: Annotated[
        str, typer.Option(help="A test patient's id there: each type and one attachment are asked.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """
    Walk one hospital: metadata, login, a patient, each type, an attachment, the PACS.

    Stops nowhere; what fails is shown as sent against expected. The exit code is that of the
    first failure.
    """
    from fhir_bridge.case.ids import slug
    from fhir_bridge.commands.checks import provider_checks

    with reaching_out() as bridge:
        provider = bridge.store.providers.get(slug(name))
        checks = provider_checks(bridge, provider, patient)
    if as_json:
        print_json([check.facts() for check in checks])
    else:
        table(
            ("check", "result", "detail"),
            [(c.name, "ok" if c.ok else "FAILED", c.detail) for c in checks],
        )
        for check in checks:
            if not check.ok and check.expected:
                say(f"\n{check.name}\n  sent      {check.sent}\n  expected  {check.expected}")
    failed = [check.exit_code for check in checks if not check.ok]
    raise typer.Exit(failed[0] if failed else 0)


app.command("show", epilog="Example: fhir-bridge provider show general-hospital")(show)


@app.command(epilog="Example: fhir-bridge provider sheet general-hospital")
def sheet(
    name: Annotated[str, typer.Argument(help="The provider's name or id.")], as_json: AsJson = False
) -> None:
    """Print what the hospital's side must configure, as Markdown; no secret is in it."""
    from fhir_bridge.case.ids import slug
    from fhir_bridge.commands.sheet import Sheet

    with opened() as bridge:
        provider = bridge.store.providers.get(slug(name))
        made = Sheet.of(bridge, provider)
    if as_json:
        print_json(made.facts())
    else:
        say(made.markdown())
