"""A bulk export: a hospital writes files of everybody's records, and we read our patient's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

OUTPUT, ERROR, DELETED = "output", "error", "deleted"


class Stage(StrEnum):
    """How far an export is; it only goes on to the next one (or, once, is ordered anew)."""

    ORDERED = "ordered"
    WAITING = "waiting"
    FETCHING = "fetching"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Export:
    """
    One export job of one source (Bulk Data Access v2), and how far it has come.

    `types` are the resource types asked for, `paths` the kick-offs left to try, the first of them
    the one in use. `status_url` is the job's own address, `poll_url` where its next manifest is,
    `manifests` counts those that came. `failures` counts what went wrong in a row, `error_code`
    says why an export gave nothing. `progress` is the server's own word, cut short.
    """

    case_id: str
    source: str
    run: int
    types: tuple[str, ...]
    paths: tuple[str, ...]
    begun_at: datetime
    since: str = ""
    stage: Stage = Stage.ORDERED
    status_url: str = ""
    poll_url: str = ""
    manifests: int = 0
    transaction_time: str = ""
    polls: int = 0
    failures: int = 0
    restarts: int = 0
    progress: str = ""
    error_code: str = ""


@dataclass(frozen=True, slots=True)
class ExportFile:
    """
    One file that a manifest names, and how far it was fetched and read.

    `number` is its place in the order of the manifests, `kind` output, error or deleted, `promised`
    how many lines the manifest says it has (None: it does not say), `manifest` the original that
    named it. `sha256`, `size` and `original` are of what has come so far; `whole` says that this is
    all of it, `framed` that the server announced its end, `validator` is what a resumed download is
    held against. `offset` is the first byte not yet read. Of `lines` so many are `ours`, so many
    name no patient that can be told (`unclear`) and so many cannot be read (`bad`); of an error
    file `bad` counts the issues that say that something is missing.
    """

    number: int
    kind: str
    type: str
    url: str
    needs_token: bool
    promised: int | None = None
    manifest: str = ""
    original: str = ""
    sha256: str = ""
    size: int = 0
    whole: bool = False
    framed: bool = True
    validator: str = ""
    offset: int = 0
    lines: int = 0
    ours: int = 0
    unclear: int = 0
    bad: int = 0
    attempts: int = 0
    failure: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """The server is still at work: how many seconds it asks us to wait, if it does."""

    wait_seconds: float | None = None
    progress: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """A manifest: its files from number `first` on, and the address of the next one, if any."""

    files: tuple[ExportFile, ...] = ()
    transaction_time: str = ""
    next_url: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one download brought: all of a file, or as much as came before it broke off."""

    original: str
    sha256: str
    size: int
    whole: bool
    framed: bool = True
    validator: str = ""
