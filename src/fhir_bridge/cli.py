"""fhir-bridge on the command line: one name, its verbs, and exit codes that scripts can rely on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from fhir_bridge import exits
from fhir_bridge.commands import case, demo, keys, opinion, provider, pull, serving, simulate
from fhir_bridge.commands.output import report

app = typer.Typer(
    name="fhir-bridge",
    help="Gather a patient's records from every treating hospital, check that they are complete, "
    "and put the finished second opinion back into the chart.",
    epilog=exits.SAID,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(case.app, name="case")
app.add_typer(provider.app, name="provider")
app.add_typer(opinion.app, name="opinion")
app.add_typer(keys.app, name="keys")
app.add_typer(simulate.app, name="simulate")
app.command("pull")(pull.pull)
app.command("serve")(serving.serve)
app.command("doctor")(serving.doctor)
app.command("demo")(demo.demo)


def main(argv: Sequence[str] | None = None) -> None:
    """The console script; every error becomes a sentence and a documented exit code."""
    try:
        # Not standalone, an exit code comes back as the result.
        sys.exit(app(argv, standalone_mode=False) or 0)
    except typer.Abort:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 (the last one who can turn it into a sentence)
        sys.exit(report(error))
