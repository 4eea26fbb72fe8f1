"""A bulk export as part of a pull: one bounded piece of work at a time, into the same slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from fhir_bridge.case.events import Happened
from fhir_bridge.case.export import (
    DELETED,
    OUTPUT,
    Export,
    ExportFile,
    Fetched,
    Pending,
    Ready,
    Stage,
)
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import (
    BridgeError,
    PageLoop,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
    StoreError,
    Truncated,
)
from fhir_bridge.pipeline.pull import bulk_lines
from fhir_bridge.pipeline.pull.bulk_lines import Excerpts
from fhir_bridge.pipeline.pull.source import Source

TRIES = 5
# For the pages of what the export leaves open, where no plan asked another question before.
PAGE_SIZE = "50"
MAX_MANIFESTS = 1_000
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, LEAST_WAIT_SECONDS = 1.0, 60.0, 0.5
# A server that is still at it after so long is asked page by page instead.
GIVE_UP = timedelta(days=3)
_GONE = ("HTTP 404", "HTTP 410")


class Desk(Excerpts, Protocol):
    """Where an export is ordered. Every answer is durable before it is returned."""

    def order(self, path: str, types: Sequence[str], since: str = "") -> str:
        """Kick off; the address of the job's status."""

    def look(self, url: str, number: int) -> Pending | Ready:
        """How far the job is; files of a manifest are numbered from `number` on."""

    def fetch(self, file: ExportFile, begun: Iterable[bytes] = ()) -> Fetched:
        """A file, or what is left of it."""

    def drop(self, url: str) -> None:
        """The job and its files are not needed any more."""


class Jobs(bulk_lines.Bytes, Protocol):
    """Where the job stands; each change is one transaction."""

    def begin(self, export: Export) -> None:
        """A new job in place of the one before it."""

    def put(self, export: Export, files: Sequence[ExportFile] = ()) -> None:
        """How a job stands, and the files that its newest manifest names."""

    def get(self, case_id: str, source: str) -> Export | None:
        """The job of a source."""

    def files(self, export: Export) -> Sequence[ExportFile]:
        """Every file of a job."""


@dataclass(frozen=True, slots=True)
class Wait:
    """There is more to do: in so many seconds, or at once for 0."""

    seconds: float = 0.0
    progress: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """
    The export is over. `left` are the slices that it could not settle and that have to be asked
    page by page; with an `error_code` it gave nothing at all and all of them are.
    """

    left: tuple[str, ...] = ()
    error_code: str = ""


def begin(
    source: Source, jobs: Jobs, types: Sequence[str], run: int, *, paths: Sequence[str],
    since: str = "",
) -> bool:  # fmt: skip
    """
    Note down the order of an export of whole types for this run; False without any kick-off.

    `paths` are the kick-offs to try in their order (`Group/7/$export`). A type without a slice
    gets one. A job that was begun by a run that was killed goes on where it stood. `since` is a
    FHIR instant: only what changed after it.
    """
    if not paths or not types:
        return False
    now = jobs.get(source.case.id, source.id)
    if now is not None and now.run == run:
        return True
    if now is not None:
        bulk_lines.put_aside(source, jobs, jobs.files(now))
    for type_ in types:
        _slice(source, type_, run)
    jobs.begin(
        Export(source.case.id, source.id, run, tuple(types), tuple(paths), source.now(), since)
    )
    return True


def _slice(source: Source, type_: str, run: int) -> Slice:
    """The slice of a type in this run, with the question that pages would be asked for."""
    found = source.shelf.slice(source.case.id, source.id, type_)
    if found is not None and found.run == run:
        return found
    question = (("patient", source.pin().patient_id), ("_count", PAGE_SIZE))
    fresh = Slice(source.case.id, source.id, type_, run=run, question=question)
    source.shelf.turn(Page(fresh))
    return fresh


def step(source: Source, desk: Desk, jobs: Jobs) -> Wait | Done:
    """
    One bounded piece of work: order, look, fetch one file, or read some lines of one.

    Everything is in rows, so a step that was killed is simply taken again. Raises StoreError;
    what goes wrong at the hospital ends in `Done`.
    """
    now = jobs.get(source.case.id, source.id)
    if now is None or now.stage is Stage.OVER:
        return Done(_open(source, now), now.error_code if now else "")
    try:
        match now.stage:
            case Stage.ORDERED:
                return _order(desk, jobs, now)
            case Stage.WAITING:
                return _look(source, desk, jobs, now)
        return _fetch(source, desk, jobs, now)
    except StoreError:
        raise  # our own fault, not the hospital's: the step is taken again
    except BridgeError as error:
        return _stumbled(source, desk, jobs, now, error)


def cancel(source: Source, desk: Desk, jobs: Jobs) -> None:
    """A person ends the pull: the server may forget the job, and nothing more is asked of it."""
    now = jobs.get(source.case.id, source.id)
    if now is not None and now.stage is not Stage.OVER:
        _over(desk, jobs, now)


def deleted(source: Source, jobs: Jobs) -> frozenset[tuple[str, str]]:
    """(type, id) of what the `deleted` files of the last export say is gone, whoever's it was."""
    now = jobs.get(source.case.id, source.id)
    files = jobs.files(now) if now else ()
    gone = (bulk_lines.gone(jobs, file) for file in files if file.kind == DELETED and file.whole)
    return frozenset().union(*gone)


def set_aside(source: Source, jobs: Jobs) -> None:
    """What the last export says is gone, and we hold, waits for a person."""
    gone = deleted(source, jobs)
    for kind in sorted({kind for kind, _ in gone}):
        now = source.shelf.slice(source.case.id, source.id, kind)
        held = {key.id for key in source.files.keys(source.case.id, source.id, kind)}
        ids = frozenset(id_ for one, id_ in gone if one == kind and id_ in held)
        if now is not None and ids:
            evidence = replace(now.evidence, gone=now.evidence.gone + len(ids))
            page = Page(replace(now, evidence=evidence), gone=ids)
            source.shelf.turn(page, source.event(Happened.RECORD_GONE, type=kind, count=len(ids)))


def _order(desk: Desk, jobs: Jobs, now: Export) -> Wait:
    place = desk.order(now.paths[0], now.types, now.since)
    jobs.put(replace(now, stage=Stage.WAITING, status_url=place, poll_url=place, failures=0))
    return Wait(FIRST_WAIT_SECONDS)


def _look(source: Source, desk: Desk, jobs: Jobs, now: Export) -> Wait:
    number = len(jobs.files(now))
    found = desk.look(now.poll_url, number)
    if isinstance(found, Pending):
        if source.now() - now.begun_at > GIVE_UP:
            raise ProviderRefused("the export does not come to its end")
        waits = _growing(now.polls) if found.wait_seconds is None else found.wait_seconds
        jobs.put(replace(now, polls=now.polls + 1, failures=0, progress=found.progress))
        return Wait(max(waits, LEAST_WAIT_SECONDS), found.progress)
    more = bool(found.next_url)
    if more and (found.next_url == now.poll_url or now.manifests >= MAX_MANIFESTS):
        raise PageLoop("the manifests of an export repeat themselves")
    jobs.put(
        replace(
            now, stage=Stage.WAITING if more else Stage.FETCHING, manifests=now.manifests + 1,
            poll_url=found.next_url or now.poll_url, failures=0, progress="",
            transaction_time=now.transaction_time or found.transaction_time,
        ),
        found.files,
    )  # fmt: skip
    return Wait()


def _growing(times: int) -> float:
    return min(FIRST_WAIT_SECONDS * 2.0 ** min(times, 16), LONGEST_WAIT_SECONDS)


def _fetch(source: Source, desk: Desk, jobs: Jobs, now: Export) -> Wait | Done:
    """The next file a step further; after the last one the verdicts."""
    file = jobs.next_file(now)
    if file is None:
        return _close(source, desk, jobs, now)
    if file.kind == OUTPUT and file.type not in now.types:
        jobs.note(now, replace(file, done=True))  # nobody asked for these
        return Wait()
    if file.whole:
        bulk_lines.read_some(source, desk, jobs, now, file)
        return Wait()
    try:
        came = desk.fetch(file, jobs.read(file.sha256) if file.size else ())
    except StoreError:
        raise
    except BridgeError as error:
        return _failed(jobs, now, file, error)
    return _came(jobs, now, file, came)


def _came(jobs: Jobs, now: Export, file: ExportFile, came: Fetched) -> Wait:
    kept = replace(
        file, original=came.original, sha256=came.sha256, size=came.size, whole=came.whole,
        framed=came.framed, validator=came.validator, attempts=file.attempts + 1,
    )  # fmt: skip
    if came.whole:
        jobs.note(now, kept)
        return Wait()
    # A download that goes on is no failed one; without a validator all begins anew.
    if came.validator and came.size > file.size:
        kept = replace(kept, attempts=max(1, file.attempts))
    elif not came.validator:
        kept = replace(kept, size=0)
    return _failed(jobs, now, kept, Truncated(""))


def _failed(jobs: Jobs, now: Export, file: ExportFile, error: BridgeError) -> Wait:
    """Tried again for a while; then the file is given up, and its slice is asked by pages."""
    ranged = bool(file.size) and isinstance(error, ProviderRefused)
    attempts = file.attempts + (not isinstance(error, Truncated))
    passing = isinstance(error, ProviderError) and error.retry_after_seconds is not None
    if (passing or ranged) and attempts < TRIES:
        again = replace(file, attempts=attempts)
        keeps = isinstance(error, (Truncated, ProviderUnreachable))
        jobs.note(now, again if keeps or not ranged else replace(again, size=0, validator=""))
        waits = error.retry_after_seconds or 0.0
        return Wait(max(waits, _growing(attempts) if not ranged else 0.0))
    jobs.note(now, replace(file, attempts=attempts, failure=error.code, done=True))
    return Wait()


def _stumbled(
    source: Source, desk: Desk, jobs: Jobs, now: Export, error: BridgeError
) -> Wait | Done:
    """What to do when an order or a look failed: again, another kick-off, anew, or not at all."""
    passing = isinstance(error, ProviderError) and error.retry_after_seconds is not None
    # Many allow one job at a time, for all their clients: to be asked to wait is no failure.
    busy = isinstance(error, ProviderBusy) and source.now() - now.begun_at < GIVE_UP
    if busy or (passing and now.failures + 1 < TRIES):
        jobs.put(replace(now, failures=now.failures + (not busy)))
        return Wait(max(error.retry_after_seconds or 0.0, _growing(now.failures)))
    if now.stage is Stage.ORDERED and len(now.paths) > 1:
        jobs.put(replace(now, paths=now.paths[1:], failures=0))
        return Wait()
    lost = now.stage is Stage.WAITING and error.detail.startswith(_GONE)
    if lost and not now.manifests and not now.restarts:
        anew = replace(now, stage=Stage.ORDERED, status_url="", poll_url="", failures=0, restarts=1)
        jobs.put(anew)
        return Wait()
    _over(desk, jobs, replace(now, error_code=error.code))
    return Done(_open(source, now), error.code)


def _close(source: Source, desk: Desk, jobs: Jobs, now: Export) -> Done:
    files = jobs.files(now)
    for type_ in now.types:
        found = _slice(source, type_, now.run)
        if not found.ended:
            verdict = bulk_lines.verdict(found, files)
            facts = [source.event(Happened.SLICE_ENDED, type=type_)] if verdict.ended else []
            source.shelf.turn(Page(verdict), *facts)
    _over(desk, jobs, now)
    return Done(_open(source, now))


def _over(desk: Desk, jobs: Jobs, now: Export) -> None:
    """The server may forget the job; whether it listens is its own affair."""
    if now.status_url:
        try:
            desk.drop(now.status_url)
        except StoreError:
            raise
        except BridgeError:
            pass
    jobs.put(replace(now, stage=Stage.OVER, progress=""))


def _open(source: Source, now: Export | None) -> tuple[str, ...]:
    return tuple(_unsettled(source, now)) if now else ()


def _unsettled(source: Source, now: Export) -> Iterator[str]:
    for type_ in now.types:
        found = source.shelf.slice(source.case.id, source.id, type_)
        if found is not None and not found.ended:
            yield type_
