"""The files of a bulk export, read line by line: ours, other people's, and what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

from fhir_bridge.case.certificate import Count
from fhir_bridge.case.events import Happened
from fhir_bridge.case.export import ERROR, OUTPUT, Export, ExportFile
from fhir_bridge.case.ledger import LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import Json
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import BridgeError, Hostile, TooLarge, Unreadable
from fhir_bridge.pipeline.pull.attachments import named
from fhir_bridge.pipeline.pull.pages import key_of
from fhir_bridge.pipeline.pull.source import Source
from fhir_bridge.pipeline.pull.targets import targets
from fhir_bridge.pipeline.pull.withheld import withholds
from fhir_bridge.standards.fhir import bulk, json, outcome

WITNESS = "$export manifest"
RULE = "read-line"
# Lines that become rows, and bytes read; an excerpt stays far below what one JSON may be.
BATCH_LINES, BATCH_BYTES = 500, 8 * 1024 * 1024
# So many broken lines of one file are named one by one; the others are counted.
NAMED_LINES = 100
# An excerpt wraps each line in an entry: what is this deep already would be too deep there.
DEEPEST = 60


class Excerpts(Protocol):
    """Where some lines of a file become an original of their own."""

    def excerpt(self, file: ExportFile, lines: Sequence[bytes]) -> str:
        """An original whose entries are these lines, byte for byte; its id."""


class Bytes(Protocol):
    """The files that were fetched, and how far each is read."""

    def read(self, sha256: str, offset: int = 0) -> Iterator[bytes]:
        """A stored file from a byte on, in chunks."""

    def next_file(self, export: Export) -> ExportFile | None:
        """The first file that is neither read to its end nor given up."""

    def note(self, export: Export, file: ExportFile) -> None:
        """How one file stands."""


@dataclass(slots=True)
class _Batch:
    """What some lines of a file are."""

    ours: list[tuple[bytes, Json]] = field(default_factory=list)
    broken: list[LedgerRow] = field(default_factory=list)
    lines: int = 0
    unclear: int = 0
    bad: int = 0
    size: int = 0
    end: int = 0


def read_some(
    source: Source, desk: Excerpts, store: Bytes, export: Export, file: ExportFile
) -> None:
    """
    Read a batch of a file's lines and commit what they brought, with bounded memory.

    Killed between the two commits the batch is read again: the ledger knows its rows, and the
    file's numbers are not yet counted.
    """
    batch = _read(source, store, file)
    if file.kind == OUTPUT:
        _commit(source, desk, file, batch)
    at_end = batch.end >= file.size
    store.note(
        export,
        replace(
            file, offset=batch.end, done=at_end, lines=file.lines + batch.lines,
            ours=file.ours + len(batch.ours), unclear=file.unclear + batch.unclear,
            bad=file.bad + batch.bad,
        ),
    )  # fmt: skip


def _read(source: Source, store: Bytes, file: ExportFile) -> _Batch:
    batch = _Batch(end=file.size)
    chunks = store.read(file.sha256, file.offset)
    for line in bulk.ndjson(chunks, start=file.offset):
        batch.lines += 1
        batch.size += len(line.body or b"")
        _sort(source, file, batch, line)
        if len(batch.ours) + batch.bad >= BATCH_LINES or batch.size >= BATCH_BYTES:
            batch.end = min(line.end, file.size)
            break
    return batch


def _sort(source: Source, file: ExportFile, batch: _Batch, line: bulk.Line) -> None:
    """One line: one bad line never costs the others."""
    try:
        resource = _resource(line)
        if file.kind == ERROR:
            batch.bad += sum(map(withholds, outcome.read(resource)))
        elif file.kind == OUTPUT:
            _place(source, file, batch, line.body or b"", resource)
    except BridgeError as error:
        batch.bad += 1
        if file.kind == OUTPUT and file.bad + batch.bad <= NAMED_LINES:
            batch.broken.append(_broken(source, file, file.lines + batch.lines, error))


def _resource(line: bulk.Line) -> Json:
    if line.body is None:
        raise TooLarge(f"a line of more than {bulk.MAX_LINE_BYTES} bytes")
    resource = json.load_object(line.body)
    if not isinstance(resource.get("resourceType"), str):
        raise Unreadable("a line that is no resource")
    if line.body.count(b"{") + line.body.count(b"[") > DEEPEST:
        json.loads(b'{"entry":[{"resource":' + line.body + b"}]}")
    return resource


def _place(source: Source, file: ExportFile, batch: _Batch, body: bytes, resource: Json) -> None:
    if resource["resourceType"] != file.type:
        raise Unreadable("a line of another type than its file")
    ehr = source.ehr
    about = bulk.is_about(resource, source.pin().patient_id, ehr.base if ehr else "")
    if about:
        batch.ours.append((body, resource))
    elif about is None:
        batch.unclear += 1


def _broken(source: Source, file: ExportFile, number: int, error: BridgeError) -> LedgerRow:
    return LedgerRow(
        _key(source.id, file, number), RecordState.FAILED, rule=RULE, position=str(number),
        reason=f"line {number} of an exported file: {error.advice}", error_code=error.code,
        attempts=1,
    )  # fmt: skip


def _key(source: str, file: ExportFile, number: int) -> RecordKey:
    return RecordKey(source, file.type, f"line-{number}-of-{file.sha256[:16]}", file.sha256)


def _commit(source: Source, desk: Excerpts, file: ExportFile, batch: _Batch) -> None:
    now = source.shelf.slice(source.case.id, source.id, file.type)
    if now is None or not (batch.ours or batch.bad):
        return
    original = desk.excerpt(file, [body for body, _ in batch.ours]) if batch.ours else ""
    page = _page(source, now, batch, original)
    source.shelf.turn(page, source.event(Happened.PAGE_STORED, type=now.type, got=len(batch.ours)))


def _page(source: Source, now: Slice, batch: _Batch, original: str) -> Page:
    base = source.ehr.base if source.ehr else ""
    patient = source.pin().patient_id
    resources = [resource for _, resource in batch.ours]
    keys = [key_of(source.id, resource) for resource in resources]
    pairs = list(zip(keys, resources, strict=True))
    rows = [LedgerRow(key, original=original, position=str(n)) for n, key in enumerate(keys)]
    listed = frozenset(key.id for key in keys)
    evidence = replace(
        now.evidence,
        obtained=now.evidence.obtained + len(source.shelf.unlisted(now, listed)),
    )
    return Page(
        slice=replace(now, evidence=evidence),
        seen=(*rows, *batch.broken),
        bases=(base,) * (len(rows) + len(batch.broken)),
        listed=listed,
        attachments=tuple(a for key, r in pairs for a in named(key, r, base)),
        targets=frozenset(t for r in resources for t in targets(r, base, base, patient=patient)),
    )


def verdict(now: Slice, files: Sequence[ExportFile]) -> Slice:
    """
    The slice after the export: ended when its files settle it, else left to the pages.

    The manifest's numbers are a witness. What it promised and did not bring may be ours. It is a
    list as well when every line of every file was read and is as many as promised.
    """
    mine = [file for file in files if file.kind == OUTPUT and file.type == now.type]
    errors = any(file.bad or file.failure for file in files if file.kind == ERROR)
    settled = bool(mine) and all(_settles(file) for file in mine) and not errors
    counts = tuple(count for count in now.evidence.counts if count.witness != WITNESS)
    if mine and all(file.promised is not None for file in mine):
        counts = (*counts, _count(now, mine, settled=settled))
    unreadable = sum(file.bad for file in mine)
    evidence = replace(now.evidence, counts=counts, unreadable=unreadable)
    return replace(now, evidence=evidence, ended=settled)


def _settles(file: ExportFile) -> bool:
    """Whether a file leaves no doubt that all of it came and that all of ours was found."""
    as_promised = file.promised == file.lines if file.promised is not None else file.framed
    return file.whole and file.done and as_promised and not (file.failure or file.unclear)


def _count(now: Slice, mine: Sequence[ExportFile], *, settled: bool) -> Count:
    promised, lines = sum(file.promised or 0 for file in mine), sum(file.lines for file in mine)
    unread = sum(file.bad for file in mine)
    said = now.evidence.obtained + max(promised - lines, 0) + unread
    # Fewer than came is no count. What never came, or names nobody, may be anybody's.
    anybodys = any(file.unclear or file.failure for file in mine)
    trusted = promised >= lines and not anybodys
    agrees = True if settled and not unread else None
    return Count(WITNESS, said, after=True, trusted=trusted, ids_agree=agrees)


def gone(store: Bytes, file: ExportFile) -> frozenset[tuple[str, str]]:
    """(type, id) of everything that a `deleted` file names; lines that cannot be read name none."""
    return frozenset(
        pair for resource in _bundles(store, file) for pair in bulk.deletions(resource)
    )


def _bundles(store: Bytes, file: ExportFile) -> Iterator[Json]:
    for line in bulk.ndjson(store.read(file.sha256)):
        try:
            yield json.load_object(line.body or b"")
        except (Unreadable, Hostile):
            continue


def put_aside(source: Source, store: Bytes, files: Sequence[ExportFile]) -> None:
    """
    Before another export: its files stand in the place of those of the last one, and so do its
    broken lines.
    """
    for file in files:
        if file.kind == OUTPUT and file.bad:
            for number in islice(_broken_lines(source, store, file), NAMED_LINES):
                key = _key(source.id, file, number)
                row = LedgerRow(key, RecordState.SUPERSEDED, rule=RULE, reason="exported again")
                source.shelf.see(source.case.id, row)


def _broken_lines(source: Source, store: Bytes, file: ExportFile) -> Iterator[int]:
    for number, line in enumerate(bulk.ndjson(store.read(file.sha256)), 1):
        try:
            _place(source, file, _Batch(), line.body or b"", _resource(line))
        except BridgeError:
            yield number
