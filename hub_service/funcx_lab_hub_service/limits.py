"""How often somebody may ask: token buckets. No I/O, clock passed in."""

from __future__ import annotations

from collections.abc import Hashable

#: From so many askers on, those whose bucket is full again are forgotten.
_ASKERS = 10_000


class Buckets:
    """One bucket an asker, filled at a steady rate.

    Parameters
    ----------
    rate : float
        Requests a second in the long run; 0 for any number.
    burst : int
        Requests at once after a pause.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, float(max(1, burst))
        #: by asker: what was left, and when (monotonic seconds)
        self._left: dict[Hashable, tuple[float, float]] = {}

    def take(self, asker: Hashable, now: float) -> float:
        """Take one from the asker's bucket; return 0, or how many seconds to wait if it is empty."""
        if self._rate <= 0:
            return 0.0
        left = self._now(asker, now)
        if left < 1:
            return (1 - left) / self._rate
        if len(self._left) >= _ASKERS:
            self._forget(now)
        self._left[asker] = (left - 1, now)
        return 0.0

    def _now(self, asker: Hashable, now: float) -> float:
        left, then = self._left.get(asker, (self._burst, now))
        return min(self._burst, left + max(0.0, now - then) * self._rate)

    def _forget(self, now: float) -> None:
        self._left = {
            asker: known for asker, known in self._left.items() if self._now(asker, now) < self._burst
        }
