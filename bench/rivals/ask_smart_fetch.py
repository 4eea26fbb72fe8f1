"""SMART Fetch: its command in crawl mode, one patient by id, no time spent on notes."""

from __future__ import annotations

import json  # noqa: TID251 (runs in the environment of a rival, which knows nothing of ours)
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from told import KIND, ids_of, tell


def fetch(ids: list[str]) -> str | None:
    """Its exit code, and the files that it writes for errors, are its reports."""
    base, patient, folder, *login = sys.argv[1:]
    out = Path(folder) / "out"
    command = [str(Path(sys.executable).with_name("smart-fetch")), "export", "--no-compression"]
    command += ["--export-mode", "crawl", "--id-list", patient, "--fhir-url", base]
    command += ["--type", KIND, "--hydration-tasks", "none", *login, str(out)]
    ended = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 (a rival)
    ids.extend(ids_of(_lines(out)))
    if ended.returncode:
        return f"exit {ended.returncode}"
    errors = [file for file in out.rglob("error/*") if file.stat().st_size]
    return "an error file" if errors else None


def _lines(out: Path) -> Iterator[dict]:
    for file in out.rglob(f"*{KIND}*.ndjson"):
        if "error" not in file.parts:
            yield from (json.loads(line) for line in file.read_text().splitlines() if line)


tell(fetch)
