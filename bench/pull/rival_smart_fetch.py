"""SMART Fetch: its commands `export` (crawl mode) and `hydrate`, timed after its own start."""

from __future__ import annotations

import asyncio
import json  # noqa: TID251 (runs in the environment of a rival, which knows nothing of ours)
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from smart_fetch.cli.main import main as smart_fetch


def _pull(base: str, patients: int, kinds: str, folder: Path) -> None:
    common = ["--fhir-url", base, "--no-compression"]
    who = ",".join(f"p{number}" for number in range(patients))
    crawl = ["--export-mode", "crawl", "--id-list", who, "--type", f"Patient,{kinds}"]
    asyncio.run(smart_fetch(["export", *crawl, *common, "--hydration-tasks", "none", str(folder)]))
    (made,) = folder.glob("001.*")
    # By default it leaves everything but texts where it is.
    files = ["--tasks", "inline", "--mimetypes", "application/pdf"]
    asyncio.run(smart_fetch(["hydrate", *files, *common, str(made)]))


def _resources(folder: Path) -> Iterator[dict]:
    for file in folder.rglob("*.ndjson"):
        if file.name not in ("log.ndjson", "Patient.ndjson") and not file.is_symlink():
            yield from map(json.loads, file.read_text().splitlines())


def main(base: str, patients: str, kinds: str) -> None:
    """Fetch every type of every patient, then its files; print seconds and counts."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with redirect_stdout(StringIO()):
            _pull(base, int(patients), kinds, Path(folder))
        seconds = time.perf_counter() - began
        rows = files = 0
        for one in _resources(next(Path(folder).glob("001.*"))):
            rows += 1
            files += sum("data" in content["attachment"] for content in one.get("content", []))
    print(json.dumps({"seconds": seconds, "rows": rows, "files": files}))  # noqa: T201 (what a command tells)


if __name__ == "__main__":
    main(*sys.argv[1:])
