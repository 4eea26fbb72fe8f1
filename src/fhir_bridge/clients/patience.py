"""How often and how long we try again: bounded, with jitter, and never faster than asked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

from fhir_bridge.errors import ProviderBusy, ProviderError

# Each attempt is an original with its own row; a log line of the library would say it again.
set_on_retry_hooks([])

LONGEST_RETRY_AFTER_SECONDS = 900.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """
    At most `attempts` tries; waits grow from `first_seconds` to `longest_seconds`.

    Being asked to wait is no failed try. A server's own Retry-After is obeyed, at most `busy_times`
    and up to `busy_seconds` in all; beyond that ProviderBusy is raised at once and the durable
    order of the stages waits instead of a thread.
    """

    attempts: int = 4
    first_seconds: float = 0.5
    longest_seconds: float = 8.0
    busy_seconds: float = 60.0
    busy_times: int = 12

    def run(self, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it succeeds, fails for good, or the tries are used up."""
        waited = 0.0
        for time_ in range(self.busy_times if self.attempts > 1 else 0):
            try:
                return self._tried(attempt)
            except ProviderBusy as busy:
                wait = self._busy_wait(busy, time_)
                waited += wait
                if waited > self.busy_seconds:
                    raise
            time.sleep(wait)
        return self._tried(attempt)

    def _busy_wait(self, busy: ProviderBusy, times: int) -> float:
        """What was asked for and a little more, so that not all come back at the same moment."""
        # `Retry-After: 0`, again and again, is no leave to hammer.
        least = min(self.first_seconds * 2.0 ** min(times, 16), self.longest_seconds)
        asked = busy.retry_after_seconds or 0.0
        return max(asked, least * (times > 0)) + random.uniform(0, self.first_seconds)

    def _tried(self, attempt: Callable[[], T]) -> T:
        for one in stamina.retry_context(
            on=self._again,
            attempts=self.attempts,
            timeout=None,
            wait_initial=self.first_seconds,
            wait_max=self.longest_seconds,
            wait_jitter=self.first_seconds,
        ):
            with one:
                result = attempt()
        return result

    def _again(self, error: Exception) -> bool:
        passing = isinstance(error, ProviderError) and error.retry_after_seconds is not None
        return passing and not isinstance(error, ProviderBusy)


def retry_after_seconds(header: str, now: datetime) -> float | None:
    """
    What a Retry-After header asks for (RFC 9110 10.2.3): seconds or an HTTP date.

    None when it is absent or makes no sense; never more than a quarter of an hour, because some
    servers send absurd values.
    """
    if header.strip().isdecimal():
        return min(float(header), LONGEST_RETRY_AFTER_SECONDS)
    moment = http_date(header)
    if moment is None:
        return None
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER_SECONDS)


def http_date(header: str) -> datetime | None:
    """An HTTP date as aware UTC, or None."""
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
