"""The last watch: calls are in hand, none runs, and nothing has moved for a minute. Sans-IO.

It knows no cause. Whatever Parsl, the sessions and the network between them believe of each other,
an engine in which nothing moves is of no use: it is started anew, and the calls are given out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from funcx_lab_endpoint.engine.progress import EndEngine, Fault, Progress
from funcx_lab_endpoint.engine.roster import Roster
from funcx_lab_endpoint.engine.sessions import Sessions
from funcx_lab_endpoint.engine.vitals import Load

#: Seconds without a move ...
STALL_S = 60.0
#: ... and while blocks run whose managers have not connected yet, or all blocks fail: `BlockCare` is at it.
START_STALL_S = 600.0
#: Both double each time in a row, at most so often.
MOST_DOUBLINGS = 6
#: A look that comes later than this was kept from looking; only so many seconds count.
_LATE_S = 5.0
_QUEUED = ("pending", "held")


@dataclass(frozen=True, slots=True)
class EndAll(EndEngine):
    """An engine whose sessions, too, are of no use."""


class Stall:
    """Counts the seconds in which calls wait and nothing moves, as shares of what patience there is."""

    def __init__(self) -> None:
        self._moves = self._faults = 0
        self._still = self._spent = self._looked = 0.0

    def restart(self, now: float) -> None:
        """Begin again, for a new engine."""
        self._still = self._spent = 0.0
        self._looked = now

    def look(
        self, now: float, report: Mapping[str, Any], *, calls: int, moves: int, may_run: bool
    ) -> EndAll | None:
        """Return the fault if there is one.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        report : mapping
            The engine's status.
        calls : int
            How many are in hand.
        moves : int
            A count of sessions that came or went and of calls that began or ended.
        may_run : bool
            Whether a call runs, or may: one that keeps the GIL cannot say so.
        """
        passed, self._looked = min(now - self._looked, _LATE_S), now
        if moves != self._moves:
            self._moves, self._faults = moves, 0
            self.restart(now)
        if may_run or not calls:
            self.restart(now)
        elif (patience := _patience(report)) is not None:
            self._still += passed
            self._spent += passed / patience
        if self._spent <= 2.0 ** min(self._faults, MOST_DOUBLINGS):
            return None
        reason = f"{calls} calls wait, none runs, and nothing has moved for {self._still:.0f} s"
        self._faults += 1
        self.restart(now)
        return EndAll(reason)


def _patience(report: Mapping[str, Any]) -> float | None:
    """Return how many seconds without a move are too many; None while a batch system has the say."""
    blocks = report.get("blocks", {}).values()
    if report.get("managers"):
        return STALL_S
    if any(block["state"] in _QUEUED for block in blocks):
        return None
    return START_STALL_S if blocks or report.get("trouble") else STALL_S


class Watchdog:
    """Looks at everything that must move: `Progress` for what is stuck, `Stall` for all the rest."""

    def __init__(
        self, progress: Progress, sessions: Sessions, roster: Roster, node_of: Callable[[str], str]
    ) -> None:
        self._progress, self._sessions, self._roster, self._node_of = progress, sessions, roster, node_of
        self._stall = Stall()

    def restart(self, now: float) -> None:
        """Begin again, for a new engine or after a time in which nobody looked."""
        self._progress.restart(now)
        self._stall.restart(now)

    def look(self, now: float, report: Mapping[str, Any], mark: str) -> Fault | None:
        """Return what must be ended now of the engine ``mark`` with the status ``report``."""
        sessions = self._sessions
        up = {sid: self._node_of(sid) for sid in self._roster.up(mark)}
        busy = {node for sid, node in up.items() if sessions.load(sid) is Load.RUNNING}
        nodes = [*up.values(), *self._roster.leaving(now)]
        fault = self._progress.look(now, report, nodes, busy, waiting=self._roster.waiting(mark))
        if fault is not None:
            self._stall.restart(now)  # ending a block comes first
            return fault
        return self._stall.look(
            now, report, calls=sessions.in_hand, moves=sessions.moves, may_run=self._may_run(now)
        )

    def _may_run(self, now: float) -> bool:
        """Whether a call runs; a silent session whose connection stands may keep the GIL."""
        for sid, entry in self._roster:
            load = self._sessions.load(sid)
            is_silent = entry.is_connected and entry.is_doubtful(now)
            if load is Load.RUNNING or (load is Load.HOLDING and is_silent):
                return True
        return False
