"""The store behind a command: opened quietly, with a worker of its own where no service runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge
    from fhir_bridge.settings import Settings

POLL_SECONDS = 0.2


@contextmanager
def opened() -> Iterator[Bridge]:
    """The store of the settings, to read or to hand work to."""
    from fhir_bridge.bridge import Bridge

    with Bridge.open(_settings()) as bridge:
        yield bridge


@contextmanager
def reaching_out() -> Iterator[Bridge]:
    """The store, while hospitals that check our signature can fetch our keys from our address."""
    with opened() as bridge, ExitStack() as until_done:
        if not bridge.running_at():
            _show_keys(bridge, until_done)
        yield bridge


@contextmanager
def working() -> Iterator[Workplace]:
    """The store and somebody who works on it: the service that runs, else this process."""
    with opened() as bridge, ExitStack() as until_done:
        place = Workplace(bridge, until_done)
        bridge.engine.stand_in = place.stand_in
        place.stand_in()
        yield place


def _show_keys(bridge: Bridge, until_done: ExitStack) -> None:
    from fhir_bridge.case.case import Auth
    from fhir_bridge.errors import PortTaken
    from fhir_bridge.service import web

    if any(p.auth is Auth.PRIVATE_KEY_JWT for p in bridge.store.providers.all()):
        # Who has the port may be another bridge with the same keys: the hospital decides.
        with suppress(PortTaken):
            until_done.enter_context(web(bridge))


@dataclass(slots=True)
class Workplace:
    """A store whose work gets done while a command waits for it."""

    bridge: Bridge
    _until_done: ExitStack
    _shown: bool = False

    def stand_in(self) -> None:
        """Work here, unless a service does; asked again and again, for it may go away."""
        self.bridge.stand_in()
        if not self._shown and not self.bridge.running_at():
            self._shown = True
            _show_keys(self.bridge, self._until_done)

    def wait(
        self,
        workflow: str,
        meanwhile: Callable[[], None] = lambda: None,
        *,
        until: float = float("inf"),
    ) -> None:
        """
        Until a workflow has ended, or `until` (time.monotonic) has come.

        `meanwhile` is called now and then, and once at the end.
        """
        while self.bridge.engine.unfinished(workflow) and time.monotonic() < until:
            meanwhile()
            self.stand_in()
            time.sleep(POLL_SECONDS)
        meanwhile()


def _settings() -> Settings:
    from fhir_bridge.logs import set_up_logs
    from fhir_bridge.settings import Settings

    settings = Settings.load()
    # A command answers on its own; a service's usual news would only stand in the way.
    asked_for = "log_level" in settings.model_fields_set
    set_up_logs(settings.log_level if asked_for else "WARNING")
    return settings
