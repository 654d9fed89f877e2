"""How long functions run, how many sessions are wanted and how much work to ask for. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable

#: Calls sent ahead to one session are worth at most this many seconds ...
AHEAD_S = 0.02
#: ... and at most this many, and this many bytes of arguments.
AHEAD_CALLS = 500
AHEAD_BYTES = 4 * 1024 * 1024
#: One session is asked for per this many seconds of queued work (at least one per long call).
WORK_PER_SESSION_S = 0.5
#: Mean run time that credit assumes until something was measured.
_FIRST_GUESS_S = 0.02
CREDIT_LIMIT = 10_000
_UNKNOWN = float("inf")


class RunTimes:
    """Running means of run times per function, in seconds."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}
        self._overall = _FIRST_GUESS_S

    def learn(self, function_id: str, seconds: float) -> None:
        """Take one measured run; falls fast, since a first call often pays for imports."""
        mean = self._means.get(function_id)
        if mean is None:
            self._means[function_id] = seconds
        else:
            self._means[function_id] = mean + (seconds - mean) * (0.5 if seconds < mean else 0.2)
        self._overall += (seconds - self._overall) * 0.05

    def mean(self, function_id: str) -> float:
        """Return the mean run time; infinite while nothing was measured."""
        return self._means.get(function_id, _UNKNOWN)

    def credit(self, workers: int) -> int:
        """Return how many calls in flight keep ``workers`` busy for about a second."""
        per_worker = max(2, int(1.0 / max(self._overall, 1e-6)))
        return min(CREDIT_LIMIT, max(1, workers) * per_worker)


def sessions_wanted(times: RunTimes, load: Iterable[tuple[str, int]], limit: int) -> int:
    """Return how many sessions the calls in hand are worth.

    Parameters
    ----------
    times : RunTimes
        Measured run times.
    load : iterable of (function_id, calls)
        Calls in line or in flight.
    limit : int
        At most this many.
    """
    wanted = 0
    for function_id, calls in load:
        work = calls * times.mean(function_id) / WORK_PER_SESSION_S
        wanted += calls if work >= calls else max(1, round(work))
        if wanted >= limit:
            return limit
    return wanted
