"""Bulk export: order it, look how far it is, fetch its files in pieces, clear it away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import quote, urlencode

from fhir_bridge.case.export import ExportFile, Fetched, Pending, Ready
from fhir_bridge.case.original import Answer, Blob, How, Original
from fhir_bridge.clients.ask import FHIR_JSON, Ask, request_line
from fhir_bridge.clients.flow import Flow
from fhir_bridge.clients.http import Wire
from fhir_bridge.clients.origins import contained, joined, origin_of
from fhir_bridge.clients.patience import retry_after_seconds
from fhir_bridge.errors import (
    ForeignAddress,
    NotFhir,
    ProviderRefused,
    ProviderUnreachable,
    Truncated,
)
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.bulk import Manifest, read_manifest

NDJSON = "application/fhir+ndjson"
MAX_FILE_BYTES = 16 * 1024 * 1024 * 1024
_KICK_OFF = {"Prefer": "respond-async"}
_RANGE = re.compile(r"bytes (\d+)-")
_PROGRESS_LENGTH = 80


class BulkClient:
    """
    `$export` at one FHIR endpoint (Bulk Data Access v2). `base` has no slash at its end.

    Nothing here waits or tries again: how long to rest is the caller's, who rests without a thread.
    Every answer, and every piece of a file, is durable before it is returned. The methods raise
    what `Wire.ask` raises.
    """

    def __init__(self, base: str, wire: Wire, *, foreign_files: bool = False) -> None:
        self.base = base.rstrip("/")
        self.wire = replace(wire, patience=replace(wire.patience, attempts=1))
        self._foreign_files = foreign_files

    def for_case(self, case_id: str) -> BulkClient:
        """The same client; what it gets belongs to the case."""
        wire = self.wire.for_case(case_id)
        return BulkClient(self.base, wire, foreign_files=self._foreign_files)

    def order(self, path: str, types: Sequence[str], since: str = "") -> str:
        """
        Kick off `Group/[id]/$export` or the like; returns the address of the job's status.

        Types are joined by commas, because servers reject the repeated parameter. Raises NotFhir
        when the server answers at once, or without saying where.
        """
        asked = {"_type": ",".join(types), "_outputFormat": NDJSON, "_since": since}
        query = urlencode({k: v for k, v in asked.items() if v}, safe=",/:")
        answer = self.wire.ask(Ask(f"{self.base}/{path}?{query}", headers=_KICK_OFF))
        place = answer.header("Content-Location")
        if answer.status != 202 or not place:
            raise NotFhir("the export was not begun: no 202 with a Content-Location")
        return self._inside(place)

    def look(self, url: str, number: int) -> Pending | Ready:
        """
        Ask how far a job is. Files of a manifest are numbered from `number` on.

        Raises NotFhir for a 200 that is no manifest, ProviderBusy for 429 and 503.
        """
        answer = self.wire.ask(Ask(self._inside(url), accept="application/json"))
        if answer.status == 202:
            wait = retry_after_seconds(answer.header("Retry-After"), self.wire.now())
            return Pending(wait, answer.header("X-Progress")[:_PROGRESS_LENGTH])
        manifest = read_manifest(json.load_object(answer.body or b""))
        further = joined(url, manifest.next_link) if manifest.next_link else ""
        return Ready(
            tuple(_files(manifest, url, answer, number)), manifest.transaction_time, further
        )

    def fetch(self, file: ExportFile, begun: Iterable[bytes] = ()) -> Fetched:
        """
        Download a file, or what is left of it: `begun` are the `file.size` bytes that came before.

        The login goes along only where the manifest asks for it (`requiresAccessToken`), and only
        to an origin that may have it; else ForeignAddress, and nothing is sent. A first attempt
        takes gzip. Ranges count coded bytes, so what broke off in gzip begins anew, uncoded.
        """
        ask = self._ask(file)
        wire = self.wire if file.needs_token else replace(self.wire, login_at=frozenset())
        with wire.stream(ask) as flow:
            resumed = _is_resumed(flow, file)
            return self._kept(flow, ask, begun if resumed else (), file)

    def excerpt(self, file: ExportFile, lines: Sequence[bytes]) -> str:
        """
        An original with some lines of a file, each byte for byte the resource of an entry.

        A file holds everybody's records; this is what the case's own records are read from.
        """
        entries = b",".join(b'{"resource":' + line + b"}" for line in lines)
        body = b'{"resourceType":"Bundle","type":"collection","entry":[' + entries + b"]}"
        facts = {"wrapped": "NDJSON", "after_line": str(file.lines)}
        blob, foreign = self.wire.put(body), self._is_foreign(file.url)
        original = self._original(Ask(file.url, previous=file.original), blob, foreign=foreign)
        return self.wire.keep.keep(replace(original, content_type=FHIR_JSON, facts=facts)).id

    def drop(self, url: str) -> None:
        """Tell the server that the job and its files are not needed any more."""
        self.wire.ask(Ask(self._inside(url), "DELETE", accept="application/json"))

    def _inside(self, url: str) -> str:
        """A job's address, on the endpoint's origin or on its allow-list."""
        try:
            return contained(url, self.base)
        except ForeignAddress:
            absolute = joined(f"{self.base}/", url)
            if origin_of(absolute) not in self.wire.allowed:
                raise
            return absolute

    def _ask(self, file: ExportFile) -> Ask:
        url = file.url if self._is_foreign(file.url) else self._inside(file.url)
        foreign: Literal["refuse", "anonymous"] = "refuse"
        if file.needs_token and origin_of(url) not in self.wire.login_at:
            raise ForeignAddress("an exported file wants our login at another origin")
        if not file.needs_token and self._foreign_files:
            foreign = "anonymous"
        headers = {"Accept-Encoding": "identity" if file.attempts else "gzip"}
        if file.size and file.validator:
            headers |= {"Range": f"bytes={file.size}-", "If-Range": file.validator}
        return Ask(
            url, accept=NDJSON, headers=headers, previous=file.manifest, kind="stream",
            foreign=foreign,
        )  # fmt: skip

    def _is_foreign(self, url: str) -> bool:
        try:
            self._inside(url)
        except ForeignAddress:
            return True
        return False

    def _kept(self, flow: Flow, ask: Ask, begun: Iterable[bytes], file: ExportFile) -> Fetched:
        broken = False
        with self.wire.keep.writer(max_bytes=MAX_FILE_BYTES) as writer:
            for chunk in begun:
                writer.write(chunk)
            try:
                for chunk in flow.chunks():
                    writer.write(chunk)
            except (Truncated, ProviderUnreachable):
                broken = True
            blob = writer.commit()
        row = self._original(ask, blob, foreign=flow.foreign)
        facts = {"accept": ask.accept, **flow.facts(), "from_byte": _from(flow, file)}
        row = self.wire.keep.keep(
            replace(
                row, status=flow.status, headers=flow.headers, facts=facts, truncated=broken,
                content_type=flow.headers.get("content-type", ""),
            )
        )  # fmt: skip
        framed = facts["framing"] != "close"
        return Fetched(row.id, blob.sha256, blob.size, not broken, framed, _validator(flow))

    def _original(self, ask: Ask, blob: Blob, *, foreign: bool) -> Original:
        return Original(
            id=self.wire.new_id(), source=self.wire.source, how=How(ask.method),
            request=request_line(ask.method, ask.url, foreign=foreign),
            sha256=blob.sha256, size=blob.size, received_at=self.wire.now(),
            case_id=self.wire.case_id, previous=ask.previous or None,
        )  # fmt: skip


def kick_offs(of: str, patient: str) -> tuple[str, ...]:
    """
    The exports to try, in order: of a group of patients, or (`patient`) of one, then of all.

    >>> kick_offs("patient", "p1"), kick_offs("cohort 7", "p1")
    (('Patient/p1/$export', 'Patient/$export'), ('Group/cohort%207/$export',))
    """
    if of == "patient":
        return f"Patient/{quote(patient, safe='')}/$export", "Patient/$export"
    return (f"Group/{quote(of.removeprefix('Group/'), safe='')}/$export",)


def _files(manifest: Manifest, url: str, answer: Answer, number: int) -> Iterable[ExportFile]:
    for place, one in enumerate(manifest.files, number):
        yield ExportFile(
            place, one.kind, one.type, joined(url, one.url), manifest.needs_token, one.count,
            manifest=answer.original.id,
        )  # fmt: skip


def _is_resumed(flow: Flow, file: ExportFile) -> bool:
    """Whether the body goes on where we stood; raises for a part that was not asked for."""
    if flow.status != 206:
        return False
    start = _RANGE.match(flow.headers.get("content-range", ""))
    coded = flow.headers.get("content-encoding", "identity") != "identity"
    if coded or start is None or int(start[1]) != file.size:
        raise ProviderRefused("HTTP 206 for another range than was asked for")
    return True


def _from(flow: Flow, file: ExportFile) -> str:
    return str(file.size if flow.status == 206 else 0)


def _validator(flow: Flow) -> str:
    """What a later range is held against (RFC 9110 13.1.5); empty when it cannot be resumed."""
    etag = flow.headers.get("etag", "")
    if "content-encoding" in flow.headers or etag.startswith("W/"):
        return ""
    return etag or flow.headers.get("last-modified", "")
