"""fhir-bridge opinion: finish it, and see whether it stands in the chart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fhir_bridge.commands.opening import opened, working
from fhir_bridge.commands.output import DONE, PARTIAL, PERSON, AsJson, print_json, say, table

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge

app = typer.Typer(
    help="Opinions: finish, status.",
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
    as_json: AsJson = False,
) -> None:
    """
    Sign the opinion and deliver it; ends when it is read back from the chart.

    Exit 0: confirmed in every chart; 4: a person is needed; 3: not known yet.
    """
    from fhir_bridge.security.access import LOCAL

    kind: Literal["md", "json"] = "json" if file.suffix == ".json" else "md"
    with working() as place:
        bridge = place.bridge
        bridge.desk.finish(LOCAL, case, file.read_bytes(), kind=kind)
        for workflow in bridge.desk.under_way(case):
            place.wait(workflow)
        rows = deliveries(bridge, case)
    _print(rows, as_json=as_json)
    raise typer.Exit(delivery_exit(rows))


@app.command(epilog="Example: fhir-bridge opinion status 6f2b7f0e")
def status(case: CaseId, as_json: AsJson = False) -> None:
    """Where each delivery stands; only *confirmed* means that it stands in the chart."""
    from fhir_bridge.security.access import LOCAL, Purpose

    with opened() as bridge:
        bridge.access.open_case(LOCAL, case, Purpose.OPINION)
        rows = deliveries(bridge, case)
    _print(rows, as_json=as_json)
    raise typer.Exit(delivery_exit(rows) if rows else DONE)


def deliveries(bridge: Bridge, case: str) -> list[dict[str, Any]]:
    """The deliveries of a case as facts."""
    return [
        {
            "version": d.version,
            "destination": d.destination,
            "state": d.state.value,
            "read_back": d.read_back.value if d.read_back else "",
            "location": d.location,
            "attempts": d.attempts,
            "reason": d.reason,
        }
        for d in bridge.store.opinions.deliveries(case)
    ]


def delivery_exit(rows: list[dict[str, Any]]) -> int:
    """0 when every delivery of the newest version is confirmed."""
    newest = max((row["version"] for row in rows), default=0)
    states = {row["state"] for row in rows if row["version"] == newest}
    if states <= {"confirmed", "opened"}:
        return DONE
    return PERSON if states & {"held", "manual"} else PARTIAL


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        say("No opinion is signed yet: fhir-bridge opinion finish --help")
