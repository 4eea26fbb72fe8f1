"""A plain loop, as a first script has it: one request after the other, nothing kept."""

from __future__ import annotations

import json  # noqa: TID251 (the hospital and its rivals, not our wire)
import sys
import time
from typing import Any
from urllib.parse import urlencode, urljoin
from urllib.request import Request, urlopen


def _get(url: str) -> bytes:
    with urlopen(Request(url, headers={"Accept": "application/fhir+json"}), timeout=60) as answer:  # noqa: S310 (a loopback address)
        return answer.read()


def _pages(url: str) -> list[dict[str, Any]]:
    found = []
    while url:
        bundle = json.loads(_get(url))
        found += [entry["resource"] for entry in bundle.get("entry", [])]
        url = next((ln["url"] for ln in bundle["link"] if ln["relation"] == "next"), "")
    return found


def _file(base: str, resource: dict[str, Any]) -> int:
    urls = [content["attachment"]["url"] for content in resource.get("content", [])]
    return sum(len(_get(urljoin(f"{base}/", url))) > 0 for url in urls)


def main(base: str, patients: str, kinds: str) -> None:
    """Fetch every type of every patient, then its files; print seconds and counts."""
    began = time.perf_counter()
    rows = files = 0
    for number in range(int(patients)):
        for kind in kinds.split(","):
            query = urlencode({"patient": f"p{number}", "_count": 50})
            found = _pages(f"{base}/{kind}?{query}")
            rows += len(found)
            files += sum(_file(base, resource) for resource in found)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rows": rows, "files": files}))  # noqa: T201 (what a command tells)


if __name__ == "__main__":
    main(*sys.argv[1:])
