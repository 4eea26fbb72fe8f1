"""What chaos looks like on paper: docs/chaos.md, and the same on a screen."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bench.chaos import chart, rounds
from bench.chaos.judge import Verdict
from bench.chaos.rivals import LATE_SECONDS, RIVALS

Facts = Mapping[str, Any]
OURS = "fhir-bridge"

INTRO = """\
# Chaos: every bad day of a hospital

Written by `make chaos`; do not edit. {date}, {machine}.

A simulated hospital misbehaves in {faults} ways that a pull can meet (`fhir-bridge simulate ehr
--fault NAME`, the names are below). Each puller asks a hospital of its own, with one fault, for the
same chart: {documents} documents, each with a file, and {reports} reports with a result each.

## Silent losses

A **silent loss** is a pull that was called a success although something is missing.

| puller | silent losses | of faults | told | only logged | did not end | whole |
|---|--:|--:|--:|--:|--:|--:|
{sums}

"""
OTHERS = """

## The others, fault by fault

Documents obtained of {documents}; **bold** is a silent loss.

"""
COUNTED = """\
## How it is counted

- fhir-bridge: *missing* is every id of the chart that the ledger does not hold, and every file
  whose bytes are not held. It is *told* when a line of the certificate that speaks of that type
  stands below *consistent* or says that it was not asked; a file is told by the line of the
  documents, a record without a line of its own by the line of the records that others refer to.
  Anything else is a silent loss, whatever the exit code; what no line speaks of is one when the
  exit code is 0.
- The others: only the ids of the documents count, never files or reports. It is *told* when the
  library raised, its answer had an error or an OperationOutcome, the command's exit code was not 0,
  or it wrote an error file. *Only logged*: it returned as ever, and a line of its log tells of an
  error; this is **not** counted as a silent loss.
- A pull that did not end within {late:g} s (fhir-bridge: {ours_late:g} s) was ended; it claimed
  nothing and is no silent loss.
- *Whole* says that all is there, not that the puller knew it.

## Settings and caveats

{settings}

- One simulated hospital on loopback, one run of each pair, several at a time on a shared machine:
  the seconds are no benchmark.
- fhir-bridge logs in by SMART Backend Services each time and gets at most 10 s for an answer
  (`FHIR_BRIDGE_HTTP_TIMEOUT_SECONDS`); the others stand before an open door, except for the faults
  of the login, where SMART Fetch logs in with a key and the rest is left out (-).
- The others are left out (-) where a fault cannot change which documents are found (files,
  references between records, reports). Faults of writing and of images are no part of this.
- Hospitals of `no-reports-*` have no reports in their chart; `attachment-nowhere` and
  `attachment-operation` have no first file. A record of somebody else that a puller handed over as
  the patient's is written as *+n*.
- SMART Fetch repeats a failing request for about two minutes; those of its pulls that end here as
  *did not end* may be losses with more patience.

"""


def page(report: Facts, at: datetime) -> str:
    """The whole page."""
    rows = report["faults"]
    return "".join(
        (
            INTRO.format(
                date=f"{at:%Y-%m-%d}", machine=_machine(), faults=len(rows),
                documents=chart.DOCUMENTS, reports=chart.REPORTS, sums="\n".join(_sums(report)),
            ),
            "## fhir-bridge, fault by fault\n\n",
            "\n".join(ours_table(rows)),
            OTHERS.format(documents=chart.DOCUMENTS),
            "\n".join(peers_table([report["healthy"], *rows])),
            "\n\n",
            COUNTED.format(
                late=LATE_SECONDS, ours_late=rounds.OURS_LATE_SECONDS,
                settings="\n".join(f"- {rival.version}: {rival.how}." for rival in RIVALS),
            ),
        )
    ).rstrip() + "\n"  # fmt: skip


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def _sums(report: Facts) -> Iterable[str]:
    yield _sum(OURS, [row["ours"] for row in report["faults"]])
    for name in report["peers"]:
        yield _sum(name, [row["peers"][name] for row in report["faults"]])


def _sum(name: str, facts: Sequence[Facts]) -> str:
    ran = [one["verdict"] for one in facts if one["verdict"] != Verdict.ABSENT]
    late = ran.count(Verdict.HANGS) + ran.count(Verdict.BROKE)
    cells = (ran.count(Verdict.LOST), len(ran), ran.count(Verdict.TOLD), ran.count(Verdict.LOGGED),
             late, ran.count(Verdict.WHOLE))  # fmt: skip
    return f"| {name} | **{cells[0]}** | {' | '.join(map(str, cells[1:]))} |"


def ours_table(rows: Sequence[Facts]) -> Iterable[str]:
    """One line a fault: what was obtained, and what was said of it."""
    yield "| fault | what it does | records | files | worst grade | exit | requests | seconds |"
    yield "|---|---|--:|--:|---|--:|--:|--:|"
    for row in rows:
        facts = row["ours"]
        first = f"| `{row['name']}` | {row['shows']} |"
        if "grade" not in facts:
            yield f"{first} - | - | {_worded(facts)} | - | - | - |"
            continue
        grade = f"**silent loss: {', '.join(facts['silent'])}**" if facts["silent"] else ""
        yield (
            f"{first} {facts['ids']}/{facts['ids_in_chart']} "
            f"| {facts['files']}/{facts['files_in_chart']} | {grade or facts['grade']} "
            f"| {facts['code']} | {facts['requests']} | {facts['seconds']:.1f} |"
        )


def peers_table(rows: Sequence[Facts]) -> Iterable[str]:
    """One line a fault, one cell a rival."""
    names = list(rows[0]["peers"])
    yield f"| fault | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(names)
    for row in rows:
        ran = row["peers"].values()
        if any(facts["verdict"] != Verdict.ABSENT for facts in ran):
            yield f"| `{row['name']}` | {' | '.join(_cell(facts) for facts in ran)} |"


def _cell(facts: Facts) -> str:
    verdict = facts["verdict"]
    if "ids" not in facts:
        return _worded(facts)
    number = f"{facts['ids']}" + (f" +{facts['extra']}" if facts["extra"] else "")
    if verdict == Verdict.LOST:
        return f"**{number}**"
    said = facts["error"] if verdict == Verdict.TOLD else ""
    return f"{number}, {said}" if said else number + (", logged" * (verdict == Verdict.LOGGED))


def _worded(facts: Facts) -> str:
    words = {Verdict.HANGS: "did not end", Verdict.BROKE: "broke", Verdict.ABSENT: "-"}
    return words[Verdict(facts["verdict"])]
