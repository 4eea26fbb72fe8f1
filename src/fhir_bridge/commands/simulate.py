"""fhir-bridge simulate: a treating hospital in a box, to try a connection or a fault."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from fhir_bridge.commands.output import INTERRUPTED, AsJson, note, say

app = typer.Typer(
    help="A treating hospital in a box on loopback.", no_args_is_help=True, rich_markup_mode=None
)
Port = Annotated[int, typer.Option(help="Port; 0 takes a free one.")]
Data = Annotated[Path | None, typer.Option(help="A case folder; default: the oncology case.")]
Fault = Annotated[
    list[str] | None, typer.Option(help="A misbehaviour; repeat for more. See `--faults`.")
]
Faults = Annotated[bool, typer.Option("--faults", help="List the misbehaviours and end.")]


@app.command(epilog="Example: fhir-bridge simulate ehr --port 8401 --fault drop-next")
def ehr(
    port: Port = 0,
    data: Data = None,
    fault: Fault = None,
    faults: Faults = False,
    as_json: AsJson = False,
) -> None:
    """A FHIR R4 EHR that needs no login, until Ctrl-C."""
    _run("ehr", port, data, fault or [], faults=faults, as_json=as_json)


@app.command(epilog="Example: fhir-bridge simulate pacs --port 11113")
def pacs(
    port: Port = 0,
    data: Data = None,
    fault: Fault = None,
    faults: Faults = False,
    as_json: AsJson = False,
) -> None:
    """A PACS (DIMSE and DICOMweb) that knows our AE title, until Ctrl-C."""
    _run("pacs", port, data, fault or [], faults=faults, as_json=as_json)


def _run(
    only: Literal["ehr", "pacs"],
    port: int,
    data: Path | None,
    names: list[str],
    *,
    faults: bool,
    as_json: bool,
) -> None:
    from fhir_bridge import tables
    from fhir_bridge.settings import Settings
    from fhir_bridge.simulators.faults import FAULTS
    from fhir_bridge.simulators.hospital import Options, command

    if faults:
        for row in FAULTS:
            say(f"{row.name:<28}{row.shows}")
        return
    settings = Settings.load()
    bridge = f"{settings.dimse_aet}@{settings.dimse_host}:{settings.dimse_port}"
    with tempfile.TemporaryDirectory(prefix="fhir-bridge-hospital-") as state:
        options = Options(
            data=data or tables.folder("fixtures", "cases", "oncology"),
            state=Path(state),
            bridge_dimse=bridge,
            http_port=port if only == "ehr" else 0,
            dimse_port=port if only == "pacs" else 0,
            only=only,
            open_door=True,
            faults=tuple(names),
        )
        if not as_json:
            note("Synthetic data, not for clinical use. Ctrl-C ends it. Ready when a line appears:")
        hospital = subprocess.Popen(command(options))
        try:
            code = hospital.wait()
        except KeyboardInterrupt:
            hospital.terminate()
            hospital.wait()
            code = INTERRUPTED
    raise typer.Exit(0 if code == INTERRUPTED else code)
