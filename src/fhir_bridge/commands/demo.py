"""fhir-bridge demo: see the whole job done, in the browser or without."""

from __future__ import annotations

import signal
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fhir_bridge.commands.output import AsJson, note, print_json, say
from fhir_bridge.exits import FAILED

if TYPE_CHECKING:
    from fhir_bridge.demo import Demo

PUSH_AFTER_SECONDS = 4.0


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="No browser: do every step and say how it went.")
    ] = False,
    as_json: AsJson = False,
    keep: Annotated[Path | None, typer.Option(help="Keep the demo's store in this folder.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A misbehaviour of the hospital; repeat for more (drop-next, ...)."),
    ] = None,
) -> None:
    """
    Run the real service against a treating hospital in a box, with synthetic records.

    Exit 0 only if every step held; 3 when a source is incomplete; 4 when a person must choose.

    Example: fhir-bridge demo --headless --json
    """
    from fhir_bridge import demo as stage
    from fhir_bridge.errors import UsageError
    from fhir_bridge.logs import set_up_logs

    set_up_logs("ERROR")
    faults = fault or []
    if unknown := stage.check_faults(faults):
        raise UsageError(unknown)
    signal.signal(signal.SIGTERM, _interrupt)
    with stage.place(keep) as folder, stage.staged(folder, faults) as shown:
        if headless or as_json:
            tell = (lambda _text: None) if as_json else note
            account, code = stage.run_headless(shown, tell)
            print_json(account) if as_json else say(_summary(account))
            raise typer.Exit(code)
        _show(shown)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _summary(account: dict[str, object]) -> str:
    ledger, opinion = account["ledger"], account["opinion"]
    assert isinstance(ledger, dict)
    assert isinstance(opinion, dict)
    delivered = "delivered" if opinion["confirmed"] else f"not delivered ({opinion['state']})"
    return f"{ledger['seen']} records accounted for; opinion {delivered}; {account['seconds']} s"


def _show(shown: Demo) -> None:
    try:
        _invite(shown)
        signal.pause()
    except KeyboardInterrupt:
        say("\nEnded.")


def _invite(shown: Demo) -> None:
    urls = shown.hospital.urls
    pushed = threading.Timer(PUSH_AFTER_SECONDS, _push, (shown,))
    pushed.daemon = True
    pushed.start()
    say("fhir-bridge demo: synthetic data, not for clinical use, deleted when it ends")
    say(f"  treating hospital  EHR {urls['fhir']}  PACS {urls['dimse']}")
    say(f"  the hospital's chart  {urls['control']}/chart")
    say(f"  open  {shown.link}")
    say("Ctrl-C ends it and leaves nothing behind.")
    if not webbrowser.open(shown.link):
        note("No browser could be opened here: copy the address above.")


def _push(shown: Demo) -> None:
    try:
        shown.push()
    except OSError:
        note(f"The hospital could not push its images (exit code would be {FAILED}).")
