"""fhir-bridge provider: the treating hospitals and how they are reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fhir_bridge.case.case import Auth
from fhir_bridge.commands.opening import opened, reaching_out
from fhir_bridge.commands.output import AsJson, print_json, say, table

app = typer.Typer(
    help="Treating providers: add, list, test.",
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
    fhir: Annotated[str, typer.Option(help="FHIR R4 base URL.")] = "",
    auth: Annotated[Auth, typer.Option(help="How we log in.")] = Auth.NONE,
    client_id: Annotated[str, typer.Option(help="Our client id (or user) there.")] = "",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="File with the secret; sealed at rest.", exists=True, dir_okay=False),
    ] = None,
    dimse: Annotated[str, typer.Option(help="PACS node, AET@HOST:PORT.")] = "",
    dicomweb: Annotated[str, typer.Option(help="DICOMweb base URL.")] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Another origin of this hospital that may get our login."),
    ] = None,
    issuer: Annotated[
        list[str] | None,
        typer.Option(help="IssuerOfPatientID=SYSTEM: whose numbers its images carry."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a hospital, or change the one with the same name."""
    from fhir_bridge.case.case import TreatingProvider
    from fhir_bridge.case.ids import slug
    from fhir_bridge.errors import UsageError
    from fhir_bridge.steps.hospitals import secret_purpose
    from fhir_bridge.store.cases import parse_node

    if not (name.strip() and (fhir or dimse or dicomweb)):
        raise UsageError("give a name and at least one of --fhir, --dimse, --dicomweb")
    _check_addresses(fhir, dicomweb, *(allow or ()))
    if auth is not Auth.NONE and not client_id:
        raise UsageError(f"--auth {auth.value} needs --client-id")
    if auth in (Auth.BASIC, Auth.CLIENT_SECRET) and secret_file is None:
        raise UsageError(f"--auth {auth.value} needs --secret-file")
    pairs = [pair.partition("=") for pair in issuer or ()]
    with opened() as bridge:
        id_ = slug(name)
        secret = secret_file.read_bytes().strip() if secret_file else b""
        provider = TreatingProvider(
            id=id_,
            name=name,
            fhir=fhir.rstrip("/"),
            auth=auth,
            client_id=client_id,
            secret=bridge.seal.seal(secret, secret_purpose(id_)) if secret else b"",
            dimse=parse_node(dimse),
            dicomweb=dicomweb.rstrip("/"),
            allowed_origins=tuple(allow or ()),
            issuers={text: system for text, _, system in pairs},
        )
        bridge.add_provider(provider)
        jwks = f"{bridge.public_url}/.well-known/jwks.json"
    if as_json:
        print_json({"provider": id_, "name": name, "jwks": jwks})
        return
    say(f"{name} is known as {id_}.")
    if auth is Auth.PRIVATE_KEY_JWT:
        say(f"The hospital registers client {client_id} with the key set at {jwks}")
    say(f"Next: fhir-bridge provider test {id_}")


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


@app.command(epilog="Example: fhir-bridge provider test general-hospital")
def test(
    name: Annotated[str, typer.Argument(help="The provider's name or id.")], as_json: AsJson = False
) -> None:
    """Log in, read the metadata, count a type, echo the PACS; stops nowhere, says what failed."""
    from fhir_bridge.case.ids import slug
    from fhir_bridge.commands.checks import provider_checks

    with reaching_out() as bridge:
        provider = bridge.store.providers.get(slug(name))
        checks = provider_checks(bridge, provider)
    if as_json:
        print_json([check.facts() for check in checks])
    else:
        table(
            ("check", "result", "detail"),
            [(c.name, "ok" if c.ok else "FAILED", c.detail) for c in checks],
        )
    failed = [check.exit_code for check in checks if not check.ok]
    raise typer.Exit(failed[0] if failed else 0)
