"""Whether the wall clock can be believed when something is about to be ended or deleted for its age."""

from __future__ import annotations

from collections.abc import Iterable

#: A jump of so many seconds against the monotonic clock is one.
JUMP_S = 60.0
#: After a jump, so many seconds of uptime pass before anything ends or goes for its age.
DISTRUST_S = 3600.0
#: A service that was down for longer than this may as well have a wrong clock.
LONGEST_DOWN_S = 7 * 86400.0


class ClockWatch:
    """Compare the wall clock with the monotonic one; no clock of its own.

    Parameters
    ----------
    wall, monotonic : float
        Seconds, now.
    last_signs : iterable of float
        Wall times that the store knows of: a clock before one, or long after one, is not believed.
    doubted : bool
        Whether it was not believed when the service ended.
    """

    def __init__(
        self, wall: float, monotonic: float, last_signs: Iterable[float] = (), *, doubted: bool = False
    ) -> None:
        self._offset = wall - monotonic
        self._trusted_from = monotonic
        if doubted or not all(-JUMP_S <= wall - sign <= LONGEST_DOWN_S for sign in last_signs):
            self._trusted_from = monotonic + DISTRUST_S

    def jumped(self, wall: float, monotonic: float) -> float:
        """Take note of the time and return by how many seconds the wall clock has jumped, 0 if it has not."""
        jump = wall - monotonic - self._offset
        self._offset = wall - monotonic
        if abs(jump) <= JUMP_S:
            return 0.0
        self._trusted_from = monotonic + DISTRUST_S
        return jump

    def trusted(self, monotonic: float) -> bool:
        """Whether anything may end or go for its age now."""
        return monotonic >= self._trusted_from
