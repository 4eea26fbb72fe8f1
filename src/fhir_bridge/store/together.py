"""Group commit: what several threads write at the same moment becomes durable by one commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from fhir_bridge.store.database import Database

Work = Callable[[Connection], None]


@dataclass(slots=True, eq=False)
class _Errand:
    """
    One caller's rows. Its `turn` comes when they are durable, when `error` says why they are not,
    or when its caller has to commit for all who wait (`leads`).
    """

    work: Work
    leads: bool = False
    error: BaseException | None = None
    turn: threading.Event = field(default_factory=threading.Event)


class Together:
    """
    Writes of one process, many to a transaction. Whoever comes while a commit is under way waits
    for it, and is then committed with all others who waited; a lone writer waits for nobody.

    Without it the writers of SQLite sleep until they happen to find the database free.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Errand] = []
        self._guard, self._busy = threading.Lock(), False

    def write(self, work: Work) -> None:
        """
        Run `work` in a transaction and return when it is durable; it may be run twice.

        What one caller's work raises is raised to that caller alone, and its rows are taken back;
        a fault of the commit is raised to everybody in it. `work` must not write by itself.
        """
        mine = _Errand(work)
        with self._guard:
            self._waiting.append(mine)
            mine.leads, self._busy = not self._busy, True
        if not mine.leads:
            mine.turn.wait()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error

    def _lead(self) -> None:
        with self._guard:
            errands, self._waiting = self._waiting, []
        try:
            self._commit(errands)
        finally:
            self._pass_on()
            for errand in errands:
                errand.turn.set()

    def _commit(self, errands: Sequence[_Errand]) -> None:
        try:
            try:
                with self._database.write() as connection:
                    _run(connection, errands)
            except _OneFailed:
                with self._database.write() as connection:
                    _run_apart(connection, errands)
        except BaseException as error:  # noqa: BLE001 (raised to every caller in `write`)
            for errand in errands:
                errand.error = errand.error or error

    def _pass_on(self) -> None:
        """The first who came meanwhile leads next."""
        with self._guard:
            self._busy = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].turn.set()


class _OneFailed(Exception):
    """One of several errands failed, and took the rows of the others with it."""


def _run(connection: Connection, errands: Sequence[_Errand]) -> None:
    try:
        for errand in errands:
            errand.work(connection)
    except Exception as error:
        if len(errands) > 1:
            raise _OneFailed from error
        raise


def _run_apart(connection: Connection, errands: Sequence[_Errand]) -> None:
    """Each for itself: dearer, and only done once it is known that one of them fails."""
    for errand in errands:
        try:
            with connection.begin_nested():
                errand.work(connection)
        except Exception as error:  # noqa: BLE001 (raised to the caller whose work it was)
            errand.error = error
