"""How many requests at once an endpoint bears: a window that grows while it copes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

SAMPLES = 16
ENOUGH_SAMPLES = 8
# Answers are clearly slower when the median of the last ones is beyond this.
SLOWER_TIMES, SLOWER_SECONDS = 3.0, 0.5
SMALLEST = 1


@dataclass(slots=True)
class Window:
    """
    Additive increase, multiplicative decrease (RFC 5681 3.1), counted in requests.

    Until the first strain every success in a full window makes it one larger (slow start), later
    a whole window of them does. Strain halves it.
    """

    size: int = 4
    most: int = 16
    eager: bool = True
    baseline_seconds: float | None = None
    _good: int = 0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def __post_init__(self) -> None:
        self.size = max(SMALLEST, min(self.size, self.most))

    def coped(self, seconds: float, *, full: bool) -> None:
        """
        An answer came after that many seconds; `full` says that the window was used up.

        A window that nobody fills proves nothing, and does not grow.
        """
        self._recent.append(seconds)
        self._good += full
        if full and (self.eager or self._good >= self.size) and not self.is_slower():
            self.size = min(self.size + 1, self.most)
            self._good = 0

    def strained(self) -> None:
        """Half of it; what is slow by now is measured anew."""
        self.size = max(SMALLEST, self.size // 2)
        self.eager, self._good = False, 0
        self._recent.clear()

    def is_slower(self) -> bool:
        """Whether answers have become clearly slower than the endpoint's best."""
        usual = self.median_seconds()
        if usual is None:
            return False
        best = usual if self.baseline_seconds is None else min(usual, self.baseline_seconds)
        self.baseline_seconds = best
        return usual > SLOWER_TIMES * best + SLOWER_SECONDS

    def median_seconds(self) -> float | None:
        """Of the last answers; None before there are enough to speak of."""
        return median(self._recent) if len(self._recent) >= ENOUGH_SAMPLES else None
