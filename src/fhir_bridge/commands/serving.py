"""fhir-bridge serve and doctor: the service, and whether everything it needs is there."""

from __future__ import annotations

import typer

from fhir_bridge.commands.opening import reaching_out
from fhir_bridge.commands.output import AsJson, print_json, table


def serve(as_json: AsJson = False) -> None:
    """
    HTTP, DICOM receiver and workers in one process, until Ctrl-C or SIGTERM.

    Settings come from FHIR_BRIDGE_* and one TOML file (FHIR_BRIDGE_CONFIG). With --json the first
    line says where: url, dicom, login.

    Example: FHIR_BRIDGE_DATA=/var/lib/fhir-bridge fhir-bridge serve
    """
    from fhir_bridge.service import serve_until_stopped
    from fhir_bridge.settings import Settings

    serve_until_stopped(Settings.load(), as_json=as_json)


def doctor(as_json: AsJson = False) -> None:
    """
    Check the store, the keys, the service and every provider.

    Exit 0: all good; otherwise the code of the first thing that failed.

    Example: fhir-bridge doctor
    """
    from fhir_bridge.commands.checks import machine_checks, provider_checks

    with reaching_out() as bridge:
        checks = [("this machine", check) for check in machine_checks(bridge)]
        for provider in bridge.store.providers.all():
            checks += [(provider.id, check) for check in provider_checks(bridge, provider)]
    if as_json:
        print_json([{"about": about, **check.facts()} for about, check in checks])
    else:
        table(
            ("about", "check", "result", "detail"),
            [(about, c.name, "ok" if c.ok else "FAILED", c.detail) for about, c in checks],
        )
    failed = [check.exit_code or 1 for _, check in checks if not check.ok]
    raise typer.Exit(failed[0] if failed else 0)
