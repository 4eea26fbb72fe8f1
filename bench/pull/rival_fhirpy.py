"""fhirpy: its asynchronous client, one question after the other or many at once."""

from __future__ import annotations

import asyncio
import json  # noqa: TID251 (runs in the environment of a rival, which knows nothing of ours)
import sys
import time
from typing import Any

import aiohttp
from fhirpy import AsyncFHIRClient


async def _pull(client: Any, session: Any, gate: Any, number: int, kind: str) -> tuple[int, int]:
    """The library's own `fetch_all`; it reads FHIR only, so files come by the session it uses."""
    async with gate:
        found = await client.resources(kind).search(patient=f"p{number}").limit(50).fetch_all()
    urls = [content["attachment"]["url"] for one in found for content in one.get("content", [])]
    bodies = await asyncio.gather(*(_file(session, gate, f"{client.url}/{url}") for url in urls))
    return len(found), len(bodies)


async def _file(session: Any, gate: Any, url: str) -> int:
    async with gate, session.get(url) as answer:
        return len(await answer.read())


async def _all(base: str, patients: int, kinds: list[str], at_once: int) -> tuple[int, int]:
    client, gate = AsyncFHIRClient(base), asyncio.Semaphore(at_once)
    async with aiohttp.ClientSession() as session:
        wanted = [_pull(client, session, gate, n, kind) for n in range(patients) for kind in kinds]
        found = await asyncio.gather(*wanted)
    return sum(rows for rows, _ in found), sum(files for _, files in found)


def main(base: str, patients: str, kinds: str, at_once: str) -> None:
    """Fetch every type of every patient, then its files; print seconds and counts."""
    began = time.perf_counter()
    rows, files = asyncio.run(_all(base, int(patients), kinds.split(","), int(at_once)))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rows": rows, "files": files}))  # noqa: T201 (what a command tells)


if __name__ == "__main__":
    main(*sys.argv[1:])
