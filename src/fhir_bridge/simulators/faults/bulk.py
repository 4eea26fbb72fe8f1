"""Bulk exports that go wrong: orders refused, jobs lost, manifests that lie, files that break."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.edges import Answer, Ask, Edge, Ending, Next
from fhir_bridge.simulators.faults.fault import Fault
from fhir_bridge.simulators.wire import Resource

MORE = 2
ABSURD_SECONDS = b"18000"
_BODILY = frozenset({b"content-encoding", b"content-length", b"etag"})


def orders(ask: Ask) -> bool:
    """The kick-off of an export."""
    return ask.path.endswith("/$export")


def looks(ask: Ask) -> bool:
    """The questions how far an export is."""
    return ask.path.startswith("/fhir/bulk-status/") and ask.method == "GET"


def files(ask: Ask) -> bool:
    """The downloads of exported files."""
    return ask.path.startswith("/fhir/bulk-") and ask.path.endswith(".ndjson")


def _manifest(change: Callable[[Resource], Resource]) -> Callable[[], Edge]:
    """A finished job's manifest is changed on its way out."""
    return lambda: edges.rewrites(lambda _ask, manifest: change(manifest))


def _outputs(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[], Edge]:
    return _manifest(lambda m: m | {"output": [one | change(one) for one in m["output"]]})


def _errors_only(manifest: Resource) -> Resource:
    place = manifest["output"][0]["url"].rpartition("/")[0]
    error = {"type": "OperationOutcome", "url": f"{place}/OperationOutcome.ndjson", "count": 1}
    return manifest | {"output": [], "error": [error]}


def _presigned(manifest: Resource) -> Resource:
    outputs = [
        one | {"url": one["url"].replace("/bulk-files/", "/bulk-open/")}
        for one in manifest["output"]
    ]
    return manifest | {"output": outputs, "requiresAccessToken": False}


def foreign_files() -> Edge:
    """The files lie on somebody else's server, and it wants our login."""

    def change(ask: Ask, manifest: Resource) -> Resource:
        outputs = [
            one | {"url": f"{ask.foreign}/{one['type']}.ndjson"} for one in manifest["output"]
        ]
        return manifest | {"output": outputs}

    return edges.rewrites(change)


def in_parts() -> Edge:
    """The manifest names half of the files, and leads to another one with the other half."""

    def change(ask: Ask, manifest: Resource) -> Resource:
        half, url = (len(manifest["output"]) + 1) // 2, ask.path.rpartition("/")[2]
        if ask.query:
            return manifest | {"output": manifest["output"][half:]}
        link = [{"relation": "next", "url": f"{url}?part=2"}]
        return manifest | {"output": manifest["output"][:half], "link": link}

    return edges.rewrites(change)


def _plain(answer: Answer) -> Answer:
    """The file without its coding and without what could resume it."""
    coded = dict(answer.headers).get(b"content-encoding") == b"gzip"
    body = gzip.decompress(answer.body) if coded else answer.body
    headers = tuple(h for h in answer.headers if h[0].lower() not in _BODILY)
    return replace(answer, headers=headers, body=body)


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[], Edge]:
    def edge() -> Edge:
        def changed(_ask: Ask, answer: Answer) -> Answer:
            plain = _plain(answer)
            return replace(plain, body=change(plain.body))

        return edges.changes(changed)

    return edge


def cut(*, times: int) -> Callable[[], Edge]:
    """The first downloads of each file break off in their middle."""

    def edge() -> Edge:
        seen: dict[str, int] = {}

        async def broken(ask: Ask, go_on: Next) -> Answer:
            answer = await go_on()
            seen[ask.path] = seen.get(ask.path, 0) + 1
            return replace(answer, ending=Ending.CUT) if seen[ask.path] <= times else answer

        return broken

    return edge


def _one_bad_line(body: bytes) -> bytes:
    first, mark, rest = body.partition(b"\n")
    return first[: len(first) // 2] + mark + rest


def _refused_once(status: int, *headers: tuple[bytes, bytes]) -> Callable[[], Edge]:
    return lambda: edges.once(lambda: edges.refusal(status, "transient", "not now", *headers))


def absurd_wait() -> Edge:
    """While the export is being written, the server asks us to come back in five hours."""

    async def edge(_ask: Ask, go_on: Next) -> Answer:
        answer = await go_on()
        headers = (h for h in answer.headers if h[0].lower() != b"retry-after")
        return replace(answer, headers=(*headers, (b"retry-after", ABSURD_SECONDS)))

    return edge


def _fault(name: str, shows: str, reach: edges.Reach, edge: Callable[[], Edge]) -> Fault:
    return Fault(name, shows, "bulk export", reach=reach, edge=edge)


ROWS: tuple[Fault, ...] = (
    _fault("bulk-refused", "exports are refused with 403", orders,
           lambda: edges.refuses(403, "forbidden", "the client may not export")),
    _fault("bulk-order-429-once", "the first order is refused once, Retry-After: 1", orders,
           _refused_once(429, (b"retry-after", b"1"))),
    _fault("bulk-status-500-once", "the first question for the status fails with 500", looks,
           _refused_once(500)),
    _fault("bulk-absurd-wait", "the status asks for a wait of five hours", looks, absurd_wait),
    _fault("bulk-job-lost", "the first job is not known any more (404)", looks,
           _refused_once(404)),
    _fault("bulk-count-too-high", f"the manifest promises {MORE} lines more than a file has", looks,
           _outputs(lambda one: {"count": one["count"] + MORE})),
    _fault("bulk-promised-0", "the manifest promises 0 lines of files that have some", looks,
           _outputs(lambda _one: {"count": 0})),
    _fault("bulk-errors-only", "the manifest names no files but one of errors", looks,
           _manifest(_errors_only)),
    _fault("bulk-in-parts", "the manifest comes in two parts, the first links to the second", looks,
           in_parts),
    _fault("bulk-presigned", "the files need no login, and refuse one", looks,
           _manifest(_presigned)),
    Fault("bulk-foreign-files", "the files lie on another origin, and want our login",
          "bulk export", reach=looks, edge=foreign_files, foreign=True),
    _fault("bulk-file-cut", "the first two downloads of a file break off; ranges go on", files,
           cut(times=2)),
    _fault("bulk-file-half", "half of a file comes, properly ended", files,
           _rewritten(lambda body: body[: len(body) // 2])),
    _fault("bulk-bad-line", "the first line of each file is broken", files,
           _rewritten(_one_bad_line)),
)  # fmt: skip
