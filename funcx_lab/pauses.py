"""How long to wait before another try, and whether the machine was asleep."""

from __future__ import annotations

import random
import time

from funcx_lab.errors import FuncxLabError

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
#: Nobody may ask for a longer pause than this, in seconds.
LONGEST_ASKED_S = 3600.0


class Pause:
    """Pauses that double, with jitter.

    Parameters
    ----------
    first, longest : float
        Seconds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._seconds = first

    @property
    def is_first(self) -> bool:
        """Whether the next pause is the first of its row."""
        return self._seconds == self._first

    @property
    def is_long_now(self) -> bool:
        """Whether the next pause is the last before the longest: true once in a row."""
        return self._seconds < self._longest <= 2 * self._seconds

    def next(self, at_least: float = 0.0) -> float:
        """Return the seconds to wait now; never less than ``at_least``, and not all at the same time."""
        seconds = self._seconds * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
        self._seconds = min(2 * self._seconds, self._longest)
        return max(seconds, at_least * random.uniform(1.0, 1.5))  # noqa: S311  # jitter

    def reset(self) -> None:
        """Begin again with the first."""
        self._seconds = self._first


def asked_pause(error: FuncxLabError | None) -> float:
    """Return how many seconds the service asks to wait, 0 if it does not say."""
    asked = error.details.get("retry_after_s") if error is not None else None
    return float(asked) if isinstance(asked, (int, float)) and 0 < asked < LONGEST_ASKED_S else 0.0


def slept_s() -> float:
    """Return how many seconds the machine was suspended, counted from some moment.

    Where the system does not count that, the wall clock is compared, and a step of it counts as sleep.
    """
    return (time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.time()) - time.monotonic()
