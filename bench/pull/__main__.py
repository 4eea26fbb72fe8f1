"""`make bench-pull`: how fast a pull is, written to docs/bench.md and build/bench-pull.json."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.chaos.rivals import RIVALS
from bench.pull import race as racing
from bench.pull.chart import BIG, HEAVY, HUNDRED, ONE, Workload
from bench.pull.race import FLOOR, GATHERED, LOOP, OURS, PEERS, Race
from bench.pull.section import put_section

from fhir_bridge.standards.fhir import json

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SLOW, FAST = 0.03, 0.0


def main() -> None:
    """Race, print, write."""
    build = Path("build")
    (build / "rivals").mkdir(parents=True, exist_ok=True)
    races = [*_races(ONE, ROUNDS), *_races(HUNDRED, 1)]
    alone = {workload.name: _alone(workload) for workload in (BIG, HEAVY)}
    figures = _figures(races, alone)
    (build / "bench-pull.json").write_bytes(json.dumps(figures))
    text = "\n".join(_page(races, alone, figures))
    put_section(Path("docs/bench.md"), "Pulling", text)
    print(text)  # noqa: T201 (what a command tells)


def _races(workload: Workload, rounds: int) -> Iterator[Race]:
    others = racing.contestants(Path("build/rivals"), workload.patients)
    with racing.hospital(workload) as root:
        racing.ours_once(root, workload, FAST)  # once for the page cache, not counted
        for delay in (FAST, SLOW):
            print(f"{workload.name}, {delay * 1000:.0f} ms:", flush=True)  # noqa: T201 (what a command tells)
            yield racing.race(root, workload, delay, rounds, others)


def _alone(workload: Workload) -> dict[str, float]:
    """Ours against nothing but the download of the same pages, at the slow delay."""
    print(f"{workload.name}:", flush=True)  # noqa: T201 (what a command tells)
    with racing.hospital(workload) as root:
        ours = racing.ours_once(root, workload, SLOW)
        found = {"seconds": ours["seconds"], "rss_mb": float(ours["rss_mb"])}
        if not workload.files:
            found["alone"] = racing.chain_alone(root)["seconds"]
            found["ratio"] = found["seconds"] / found["alone"]
    return found


def _figures(races: list[Race], alone: dict[str, dict[str, float]]) -> dict[str, float]:
    fast, slow, many_fast, many = races
    heavy, big = alone[HEAVY.name], alone[BIG.name]
    peak = max(heavy["rss_mb"], *(race.most("rss_mb") for race in races))
    return {
        "ratio_to_best_peer_30ms": min(slow.ratio(name) for name in _there(slow)),
        "ratio_to_floor_30ms": 1 / slow.ratio(FLOOR),
        "ratio_to_floor_0ms": 1 / fast.ratio(FLOOR),
        "ratio_to_plain_loop_30ms": slow.ratio(LOOP),
        "ratio_to_gathered_fhirpy_30ms": slow.ratio(GATHERED) if GATHERED in slow.told else 0,
        "peak_rss_mb": peak,
        "hundred_ratio_to_best_peer_30ms": min(many.ratio(name) for name in _there(many)),
        "hundred_ratio_to_floor_30ms": 1 / many.ratio(FLOOR),
        "hundred_ratio_to_floor_0ms": 1 / many_fast.ratio(FLOOR),
        "hundred_ratio_to_plain_loop_30ms": many.ratio(LOOP),
        "big_ratio_to_download_30ms": big["ratio"],
        "big_rss_mb": big["rss_mb"],
        "heavy_rss_mb": heavy["rss_mb"],
    }


def _there(race: Race) -> list[str]:
    return [name for name in (*PEERS, LOOP) if name in race.told]


def _page(
    races: list[Race], alone: dict[str, dict[str, float]], figures: dict[str, float]
) -> Iterator[str]:
    rivals = [rival.version for rival in RIVALS if rival.name in racing.KNOWN]
    yield f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, Python"
    yield f"{platform.python_version()}; {', '.join(rivals)}; {ROUNDS} rounds for one patient."
    yield ""
    yield "Medians in seconds; each contestant in a process of its own, in turn, timed after its"
    yield "own start. Ours keeps every answer on disk, hashed, synced and in the ledger; the wire"
    yield "is the same requests at the same concurrency by a bare event loop that keeps nothing and"
    yield "reads nothing: each is asked as soon as the answer that names it is there (a page after"
    yield "the page before it, a file after its page), which the loop knows beforehand."
    yield "fhirpy has no concurrency of its own and reads no files: the row by hand shows what a"
    yield "program around it can do that keeps nothing."
    yield ""
    yield "| | " + " | ".join(f"{r.workload.name}, {r.delay * 1000:.0f} ms" for r in races) + " |"
    yield "|---" * (len(races) + 1) + "|"
    for name in dict.fromkeys((OURS, FLOOR, *races[0].told)):
        yield f"| {name} | " + " | ".join(f"{race.seconds(name):.2f}" for race in races) + " |"
    yield ""
    big, heavy = alone[BIG.name], alone[HEAVY.name]
    yield (
        f"{BIG.name} of one patient at 30 ms: {big['seconds']:.0f} s, {big['ratio']:.2f} times "
        f"the download alone ({big['alone']:.0f} s), {big['rss_mb']:.0f} MB of memory."
    )
    yield f"{HEAVY.name}: {heavy['rss_mb']:.0f} MB of memory."
    yield ""
    yield "| figure | |"
    yield "|---|---|"
    yield from (f"| `{name}` | {value:.2f} |" for name, value in figures.items())


if __name__ == "__main__":
    sys.exit(main())
