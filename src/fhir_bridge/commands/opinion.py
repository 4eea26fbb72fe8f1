"""fhir-bridge opinion: finish it, and see whether it stands in the chart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fhir_bridge import exits
from fhir_bridge.commands.opening import opened, working
from fhir_bridge.commands.output import AsJson, print_json, say, table

app = typer.Typer(
    help="Opinions: finish, resend, status.",
    epilog="Example: fhir-bridge opinion status 6f2b7f0e",
    no_args_is_help=True,
    rich_markup_mode=None,
)
CaseId = Annotated[str, typer.Argument(help="The case's id.", metavar="CASE")]


@app.command(epilog="Example: fhir-bridge opinion finish 6f2b7f0e --file opinion.md")
def finish(
    case: CaseId,
    file: Annotated[
        Path, typer.Option(help="The opinion, .md or .json.", exists=True, dir_okay=False)
    ],
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for the chart; the delivery goes on anyway.")
    ] = 180,
    as_json: AsJson = False,
) -> None:
    """
    Sign the opinion and deliver it; ends when it is read back from the chart.

    Exit 0: confirmed in every chart; 4: a person is needed; 3: not known yet, the service (or the
    next command that works on this store) goes on with it.
    """
    from fhir_bridge.security.access import LOCAL

    kind: Literal["md", "json"] = "json" if file.suffix == ".json" else "md"
    with working() as place:
        bridge = place.bridge
        bridge.desk.finish(LOCAL, case, file.read_bytes(), kind=kind)
        until = time.monotonic() + wait
        for workflow in bridge.desk.under_way(case):
            place.wait(workflow, until=until)
        rows = bridge.deliveries(case)
    _print(rows, as_json=as_json)
    raise typer.Exit(exits.of_delivery(rows))


@app.command(epilog="Example: fhir-bridge opinion resend 6f2b7f0e --provider general-hospital")
def resend(
    case: CaseId,
    provider: Annotated[str, typer.Option(help="The treating provider.")],
    as_json: AsJson = False,
) -> None:
    """
    Take up a delivery again that was held or given up, once its cause is mended.

    The chart is looked at before anything is sent: it never holds a second copy.
    Exit codes as for `opinion finish`.
    """
    from fhir_bridge.case.ids import slug
    from fhir_bridge.security.access import LOCAL

    with working() as place:
        bridge = place.bridge
        place.wait(bridge.desk.resend(LOCAL, case, slug(provider)))
        rows = bridge.deliveries(case)
    _print(rows, as_json=as_json)
    raise typer.Exit(exits.of_delivery(rows))


@app.command(epilog="Example: fhir-bridge opinion status 6f2b7f0e")
def status(case: CaseId, as_json: AsJson = False) -> None:
    """Where each delivery stands; only *confirmed* means that it stands in the chart."""
    from fhir_bridge.security.access import LOCAL, Purpose

    with opened() as bridge:
        bridge.access.open_case(LOCAL, case, Purpose.OPINION)
        rows = bridge.deliveries(case)
    _print(rows, as_json=as_json)
    raise typer.Exit(exits.of_delivery(rows))


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        say("No opinion is signed yet: fhir-bridge opinion finish --help")
