"""Store: every shelf of it over one database and one folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from fhir_bridge.errors import ConfigurationError
from fhir_bridge.store.cases import Cases, Providers
from fhir_bridge.store.database import Database, make_engine
from fhir_bridge.store.endpoints import Endpoints
from fhir_bridge.store.events import Events
from fhir_bridge.store.exports import Exports
from fhir_bridge.store.images import Images
from fhir_bridge.store.keys import Keys, Logins
from fhir_bridge.store.ledgers import Ledgers
from fhir_bridge.store.opinions import Opinions
from fhir_bridge.store.originals import Originals
from fhir_bridge.store.progress import ProgressRows
from fhir_bridge.store.records import Records
from fhir_bridge.store.slots import alone
from fhir_bridge.store.workers import Workers


@dataclass(frozen=True, slots=True)
class Store:
    """What the bridge remembers, by subject."""

    database: Database
    originals: Originals
    providers: Providers
    cases: Cases
    ledgers: Ledgers
    images: Images
    records: Records
    opinions: Opinions
    events: Events
    workers: Workers
    keys: Keys
    logins: Logins
    endpoints: Endpoints
    progress: ProgressRows
    exports: Exports

    @classmethod
    def open(cls, url: str, folder: Path, *, lease: timedelta) -> Self:
        """
        Open (and migrate) the store; the folder is made when it is not there.

        Raises ConfigurationError when the folder or the database cannot be used.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            kind = type(error).__name__
            raise ConfigurationError(f"FHIR_BRIDGE_DATA cannot be used ({kind})") from None
        database = Database(make_engine(url))
        with alone(folder / "opening.lock"):
            database.migrate()
        originals = Originals(database, folder / "originals")
        cases = Cases(database)
        return cls(
            database=database,
            originals=originals,
            providers=Providers(database),
            cases=cases,
            ledgers=Ledgers(database, originals),
            images=Images(database, originals, cases),
            records=Records(database, originals),
            opinions=Opinions(database, originals),
            events=Events(database),
            workers=Workers(database, lease=lease),
            keys=Keys(database),
            logins=Logins(database),
            endpoints=Endpoints(database),
            progress=ProgressRows(database),
            exports=Exports(database, originals),
        )

    def close(self) -> None:
        """Give the connections back."""
        self.database.engine.dispose()
