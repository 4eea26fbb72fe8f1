"""fhir-bridge pull: collect the records of a case, watch it, pause, resume or cancel it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fhir_bridge import exits
from fhir_bridge.commands.opening import Workplace, opened, working
from fhir_bridge.commands.output import AsJson, note, print_json, say

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge

_ORDERED = {
    "pause": "The pull is paused after what is in hand. It goes on with: fhir-bridge pull {case}",
    "resume": "The pull goes on.",
    "cancel": "The pull is cancelled after what is in hand; what came is kept.",
}


def pull(
    case: Annotated[str, typer.Argument(help="The case's id.", metavar="CASE")],
    provider: Annotated[str, typer.Option(help="Only this treating provider.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show progress until it ends.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Whole lists, not only what changed since the last pull.")
    ] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Put the running pull down.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Take a paused pull up.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End it; what came stays.")] = False,
    as_json: AsJson = False,
) -> None:
    """
    Pull the records of a case from its treating providers.

    Exit 0: complete by the hospitals' own counts; 3: something is short or not known to be
    complete; 4: a person must say who the patient is; 5 refused; 6 unreachable.

    Example: fhir-bridge pull 6f2b7f0e --watch
    """
    from fhir_bridge.case.ids import slug
    from fhir_bridge.errors import UsageError

    orders = {"pause": pause, "resume": resume, "cancel": cancel}
    given = [name for name, wanted in orders.items() if wanted]
    if len(given) + watch > 1:
        raise UsageError("only one of --watch, --pause, --resume and --cancel")
    if given and full:
        raise UsageError(f"--full begins a pull, --{given[0]} does not")
    source = slug(provider) if provider else None
    if given:
        _order(case, source, given[0], as_json=as_json)
    else:
        _pull(case, source, watch=watch, full=full, as_json=as_json)


def _order(case: str, source: str | None, order: str, *, as_json: bool) -> None:
    """Tell the pull that runs, in whichever process, what a person wants."""
    from fhir_bridge.security.access import LOCAL

    with opened() as bridge:
        orders = {
            "pause": bridge.pause_pull,
            "resume": bridge.resume_pull,
            "cancel": bridge.cancel_pull,
        }
        orders[order](LOCAL, case, source)
        served = bool(bridge.running_at())
    if as_json:
        print_json({"case": case, "order": order, "provider": source})
        return
    say(_ORDERED[order].format(case=case))
    if order == "resume" and not served:
        say(f"No service runs here. To do the work: fhir-bridge pull {case}")


def _pull(case: str, source: str | None, *, watch: bool, full: bool, as_json: bool) -> None:
    from fhir_bridge.security.access import LOCAL

    with working() as place:
        bridge = place.bridge
        workflow = bridge.begin_pull(LOCAL, case, source, full=full)
        _wait(place, case, workflow, watch=watch)
        result = bridge.engine.result(workflow)
        certificate = bridge.certificate(case)
    if as_json:
        print_json({"case": case, **result, "certificate": certificate})
    else:
        for row in certificate:
            said = "" if row["said"] is None else f" of {row['said']}"
            say(f"{row['source']}  {row['type']}: {row['got']}{said}, {row['grade']}")
        _say_ends(case, result)
    raise typer.Exit(_exit_code(result, certificate))


def _exit_code(result: Mapping[str, Any], certificate: Sequence[Mapping[str, Any]]) -> int:
    """What was not asked for lowers no grade; but a pull that was put down is never complete."""
    code = exits.of_pull(result, certificate)
    put_down = any(end["state"] in ("paused", "cancelled") for end in result["sources"])
    return exits.PARTIAL if put_down and code == exits.DONE else code


def _wait(place: Workplace, case: str, workflow: str, *, watch: bool) -> None:
    from fhir_bridge.commands.watching import Board

    board = Board(place.bridge, case)
    try:
        place.wait(workflow, board.show if watch else _nothing)
    except KeyboardInterrupt:
        _say_put_down(place.bridge, case)
        raise
    if watch:
        board.show(last=True)


def _nothing() -> None:
    """Nobody watches."""


def _say_put_down(bridge: Bridge, case: str) -> None:
    """After Ctrl-C: nothing is lost, and who goes on."""
    if bridge.running_at():
        note(f"The pull goes on in the service. To stop it: fhir-bridge pull {case} --pause")
    else:
        note(f"The pull is put down; what came is kept. It goes on with: fhir-bridge pull {case}")


def _say_ends(case: str, result: Mapping[str, Any]) -> None:
    from fhir_bridge.errors import by_code

    for end in result["sources"]:
        if end["state"] == "paused":
            say(f"{end['source']}: paused. It goes on with: fhir-bridge pull {case}")
        elif end["state"] == "cancelled":
            say(f"{end['source']}: cancelled. What came is kept; the rest was not fetched.")
        elif end["state"] != "done":
            say(f"{end['source']}: {by_code(end['error']).advice} ({end['error']})")
