"""fhir-bridge simulate: a treating hospital in a box, to try a connection or a fault."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fhir_bridge.commands.output import AsJson, note, print_json, say
from fhir_bridge.exits import DONE

if TYPE_CHECKING:
    from fhir_bridge.simulators.hospital import Options

DIMSE_PORT = 11112

app = typer.Typer(
    help="A treating hospital in a box on loopback.",
    epilog="Example: fhir-bridge simulate ehr --faults",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Port = Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)]
Data = Annotated[
    Path | None,
    typer.Option(help="A case folder; default: the oncology case.", exists=True, file_okay=False),
]
Fault = Annotated[
    list[str] | None, typer.Option(help="A misbehaviour; repeat for more. See `--faults`.")
]
Profile = Annotated[
    Literal["epic", "oracle", "meditech", "athena", "hapi"] | None,
    typer.Option(help="The manners of a vendor: base path, pages, totals, errors, attachments."),
]
Faults = Annotated[bool, typer.Option("--faults", help="List the misbehaviours and end.")]


@app.command(epilog="Example: fhir-bridge simulate ehr --port 8401 --fault drop-next")
def ehr(
    port: Port = 0,
    data: Data = None,
    fault: Fault = None,
    faults: Faults = False,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """A FHIR R4 EHR that needs no login, until Ctrl-C; its first line is JSON."""
    if faults:
        return _list_faults(as_json=as_json)
    return _run("ehr", port, data, fault or [], profile, as_json=as_json)


@app.command(epilog="Example: fhir-bridge simulate pacs --port 11113")
def pacs(
    port: Port = 0,
    data: Data = None,
    fault: Fault = None,
    faults: Faults = False,
    as_json: AsJson = False,
) -> None:
    """A PACS (DIMSE and DICOMweb) that knows our AE title, until Ctrl-C; its first line is JSON."""
    if faults:
        return _list_faults(as_json=as_json)
    return _run("pacs", port, data, fault or [], None, as_json=as_json)


def _list_faults(*, as_json: bool) -> None:
    from fhir_bridge.simulators.faults import FAULTS

    if as_json:
        print_json([{"fault": row.name, "where": row.where, "shows": row.shows} for row in FAULTS])
        return
    for row in FAULTS:
        say(f"{row.name:<32}{row.shows}")


def _run(
    only: Literal["ehr", "pacs"], port: int, data: Path | None, names: list[str],
    profile: str | None, *, as_json: bool,
) -> None:  # fmt: skip
    from fhir_bridge import tables
    from fhir_bridge.errors import UsageError
    from fhir_bridge.settings import Settings
    from fhir_bridge.simulators.faults import chosen
    from fhir_bridge.simulators.hospital import Options

    try:
        chosen(names)
    except ValueError as unknown:
        raise UsageError(str(unknown)) from None
    settings = Settings.load()
    ours = f"{settings.dimse_aet}@{settings.dimse_host}:{settings.dimse_port or DIMSE_PORT}"
    if not as_json:
        note("Synthetic data, not for clinical use. Ctrl-C ends it. Ready when a line appears:")
    with tempfile.TemporaryDirectory(prefix="fhir-bridge-hospital-") as state:
        options = Options(
            data=data or tables.folder("fixtures", "cases", "oncology"),
            state=Path(state),
            bridge_dimse=ours,
            http_port=port if only == "ehr" else 0,
            dimse_port=port if only == "pacs" else 0,
            only=only,
            open_door=True,
            faults=tuple(names),
            profile=profile,
        )
        code = _until_told(options)
    raise typer.Exit(code)


def _until_told(options: Options) -> int:
    """The hospital's exit code; Ctrl-C and SIGTERM are its usual end."""
    from fhir_bridge.simulators.hospital import command

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A session of its own: Ctrl-C at the terminal reaches it through us, and once.
    hospital = subprocess.Popen(command(options), start_new_session=True)
    try:
        return hospital.wait()
    except KeyboardInterrupt:
        hospital.terminate()
        hospital.wait()
        return DONE
