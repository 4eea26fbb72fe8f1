"""`python -m bench.chaos`: make chaos, write it down, fail when we lost something in silence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.chaos import page, rivals, rounds
from bench.chaos.judge import Verdict
from bench.chaos.rivals import RIVALS, Rival
from bench.chaos.rounds import Facts, Ground

from fhir_bridge import clock
from fhir_bridge.simulators.faults import FAULTS, NAMES, chosen
from fhir_bridge.simulators.faults.fault import Fault
from fhir_bridge.standards.fhir import json

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"
PAGE = ROOT / "docs" / "chaos.md"
AT_ONCE = 4  # two for two cores, and two for who only waits
HEALTHY = Fault("healthy", "a good day, no fault", "")

Pythons = Mapping[str, Path | None]


def main(argv: Sequence[str] | None = None) -> int:
    """0 when nothing was lost in silence by us, no token left, and every pull ended; else 1."""
    given = _parser().parse_args(argv)
    faults = chosen(given.fault) if given.fault else tuple(filter(rounds.concerns, FAULTS))
    pythons = {} if given.ours_only else _pythons()
    with rounds.ground(BUILD / "chaos") as ground:
        report = make(ground, faults, pythons, _say)
    if given.json:
        sys.stdout.write(json.dumps(report).decode() + "\n")
    else:
        _show(report)
    if not given.fault and not given.ours_only:
        (BUILD / "chaos.json").write_bytes(json.dumps(report))
        PAGE.write_text(page.page(report, clock.now()), "utf-8")
    return 0 if clean(report) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    add = parser.add_argument
    add("--fault", action="append", default=[], choices=NAMES, metavar="NAME",
        help="only this one, and only on the screen; may be repeated")  # fmt: skip
    add("--ours-only", action="store_true", help="without the other pullers")
    add("--json", action="store_true", help="the report as JSON on standard output")
    return parser


def _pythons() -> Pythons:
    """Each rival's Python; those that cannot be had here are named."""
    found = {rival.name: rivals.environment(rival, BUILD / "rivals") for rival in RIVALS}
    for rival in RIVALS:
        if found[rival.name] is None:
            _say(f"{rival.name} is left out: it needs Python {'.'.join(map(str, rival.python))}")
    return found


def make(
    ground: Ground, faults: Sequence[Fault], pythons: Pythons, say: Callable[[str], None]
) -> dict[str, Any]:
    """Every fault, and a good day, for every puller: what build/chaos.json holds."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [(fault, _begun(pool, ground, fault, pythons)) for fault in (HEALTHY, *faults)]
        rows = [_ended(fault, begun, say) for fault, begun in waiting]
    healthy, *rest = rows
    return {
        "faults": rest,
        "healthy": healthy,
        "silent_losses": _lost(row["ours"] for row in rest),
        "peers": {
            name: {"silent_losses": _lost(row["peers"][name] for row in rest)} for name in pythons
        },
    }


def _begun(
    pool: ThreadPoolExecutor, ground: Ground, fault: Fault, pythons: Pythons
) -> dict[str, Future[Facts]]:
    begun = {page.OURS: pool.submit(rounds.run_ours, ground, _name(fault))}
    for rival in RIVALS:
        if rival.name in pythons:
            python = pythons[rival.name]
            begun[rival.name] = pool.submit(_rival, ground, rival, python, fault)
    return begun


def _rival(ground: Ground, rival: Rival, python: Path | None, fault: Fault) -> Facts:
    reason = rounds.excuse(rival, fault) if python else "not installed"
    if python is None or reason:
        return {"verdict": Verdict.ABSENT.value, "error": reason}
    return rounds.run_rival(ground, rival, python, _name(fault), login=fault.where == rounds.LOGIN)


def _name(fault: Fault) -> str:
    """What the hospital calls it; a good day has no name there."""
    return "" if fault is HEALTHY else fault.name


def _ended(
    fault: Fault, begun: Mapping[str, Future[Facts]], say: Callable[[str], None]
) -> dict[str, Any]:
    peers = {name: future.result() for name, future in begun.items()}
    ours = peers.pop(page.OURS)
    verdicts = {page.OURS: ours, **peers}
    say(f"{fault.name}: " + ", ".join(f"{n} {f['verdict']}" for n, f in verdicts.items()))
    about = {"name": fault.name, "where": fault.where, "shows": fault.shows}
    return {**about, "ours": ours, "peers": peers}


def _lost(facts: Any) -> int:
    return sum(one["verdict"] == Verdict.LOST for one in facts)


def clean(report: Mapping[str, Any]) -> bool:
    """Whether we lost nothing in silence, showed no token to a stranger, and always ended."""
    ours = [row["ours"] for row in (report["healthy"], *report["faults"])]
    bad = {Verdict.LOST, Verdict.BROKE, Verdict.HANGS}
    return not any(facts["verdict"] in bad or facts.get("leaked") for facts in ours)


def _show(report: Mapping[str, Any]) -> None:
    rows = [report["healthy"], *report["faults"]]
    lines = [*page.ours_table(rows)]
    if report["peers"]:
        lines += ["", *page.peers_table(rows)]
    sys.stdout.write("\n".join(lines) + f"\n\nsilent losses: {report['silent_losses']}\n")


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
