"""fhir-bridge keys: our own signing keys, and how they are replaced without losing a login."""

from __future__ import annotations

from typing import Annotated

import typer

from fhir_bridge.commands.opening import opened
from fhir_bridge.commands.output import AsJson, print_json, say, table

app = typer.Typer(
    help="Our signing keys: list, rotate.",
    epilog="Example: fhir-bridge keys list",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", epilog="Example: fhir-bridge keys list --json")
def list_(as_json: AsJson = False) -> None:
    """Every key that is published, and when its stage ends."""
    from fhir_bridge.case.signing import KeyStage

    with opened() as bridge:
        rows = [
            {
                "kid": key.kid,
                "alg": key.alg,
                "stage": stage.value,
                "signs_from": key.signs_from.isoformat(timespec="seconds"),
                "retires_at": key.retires_at and key.retires_at.isoformat(timespec="seconds"),
                "gone_at": key.gone_at and key.gone_at.isoformat(timespec="seconds"),
            }
            for key, stage in bridge.keys.rows()
            if stage is not KeyStage.GONE
        ]
    if as_json:
        print_json(rows)
    else:
        table(list(rows[0]), [[value or "" for value in row.values()] for row in rows])


@app.command(epilog="Example: fhir-bridge keys rotate --announce-hours 72")
def rotate(
    announce_hours: Annotated[
        float, typer.Option(help="Publish the new keys so long before they sign.", min=0.25)
    ] = 24.0,
    keep_hours: Annotated[
        float, typer.Option(help="Publish the old keys so long after their last use.", min=0.25)
    ] = 1.0,
    leaked: Annotated[
        bool,
        typer.Option(
            "--leaked", help="Replace the keys at once; logins fail until hospitals fetch ours."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Replace both keys in stages; time alone moves them on.

    Hospitals that copied our keys, instead of fetching the key set, have to be told.
    """
    from datetime import timedelta

    with opened() as bridge:
        if leaked:
            moment = bridge.keys.replace_at_once()
        else:
            moment = bridge.keys.rotate(
                announce=timedelta(hours=announce_hours), keep=timedelta(hours=keep_hours)
            )
    text = moment.isoformat(timespec="seconds")
    if as_json:
        print_json({"signs_from": text})
    else:
        say(f"New keys are published. They sign from {text}.")
        say("See: fhir-bridge keys list")
