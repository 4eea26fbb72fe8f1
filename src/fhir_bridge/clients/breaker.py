"""A circuit breaker: an endpoint that is down is left alone, and looked at now and then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Breaker:
    """
    Closed, open or on trial. Times are seconds of one monotonic clock.

    It opens after `at` failures in a row. After the pause one request is let through: its success
    closes the breaker, its failure opens it for twice as long. `openings` counts those in a row.
    """

    at: int = 8
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 900.0
    failures: int = 0
    openings: int = 0
    until: float | None = None
    on_trial: bool = False

    def rest_seconds(self, now: float) -> float:
        """How long nobody may ask; 0 when it is closed or its pause is over."""
        return 0.0 if self.until is None else max(0.0, self.until - now)

    def is_open(self) -> bool:
        """Whether at most one request, the trial, may be under way."""
        return self.until is not None

    def failed(self, now: float, *, trial: bool = False) -> float | None:
        """One more failure, of the trial or of another request; the pause if it opened by it."""
        self.failures += 1
        if not trial and (self.is_open() or self.failures < self.at):
            return None
        # The exponent is bounded: a hospital may be away for weeks.
        pause = min(self.first_pause_seconds * 2.0 ** min(self.openings, 20),
                    self.longest_pause_seconds)  # fmt: skip
        self.openings += 1
        self.until, self.on_trial = now + pause, False
        return pause

    def reached(self) -> None:
        """The endpoint answered as one that is up."""
        self.failures = self.openings = 0
        self.until, self.on_trial = None, False
