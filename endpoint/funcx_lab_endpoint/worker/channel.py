"""One end of a link that may lose frames when it reconnects: number, keep, acknowledge, repeat.

ZeroMQ delivers in order and without loss while a connection lives; a reconnect drops what was under
way. So each end keeps its frames until the other says it has them, takes only the next number it
expects, and repeats what was kept when the other end is seen to lack it. Sans-IO; the clock is passed in.
"""

from __future__ import annotations

from collections import deque

#: Seconds until unacknowledged frames are repeated; doubles with each repeat up to the limit.
PATIENCE_S = 1.5
PATIENCE_LIMIT_S = 30.0


class Channel:
    """Numbers for frames in both directions of one session's link."""

    def __init__(self) -> None:
        self.have = 0
        self._told = 0
        self._sent = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._patience = PATIENCE_S
        self._quiet_until = 0.0

    @property
    def owes(self) -> int:
        """How many received frames the other end was not yet told of."""
        return self.have - self._told

    @property
    def is_clear(self) -> bool:
        """Whether the other end has everything that was sent."""
        return not self._kept

    def next_number(self) -> int:
        """Return the number of the frame that is about to be encoded; it will carry `have`."""
        self._told = self.have
        self._sent += 1
        return self._sent

    def keep(self, frame: bytes, now: float) -> None:
        """Keep the frame just numbered until it is acknowledged."""
        if not self._kept:
            self._quiet_until = now + self._patience
        self._kept.append((self._sent, frame))

    def beat(self) -> int:
        """Return what a heartbeat says in ``have``."""
        self._told = self.have
        return self.have

    def accept(self, number: int, have: int, now: float) -> bool:
        """Take note of a received frame and say whether its items are new."""
        kept = self._kept
        if kept and kept[0][0] <= have:
            while kept and kept[0][0] <= have:
                kept.popleft()
            self._patience = PATIENCE_S
            self._quiet_until = now + self._patience
        if number == 0:
            return True
        if number != self.have + 1:
            return False
        self.have = number
        return True

    def repeat(self, now: float, *, reconnected: bool = False) -> list[bytes]:
        """Return the frames to send again: all kept ones, once they have waited too long."""
        if not self._kept or (now < self._quiet_until and not reconnected):
            return []
        self._patience = min(2 * self._patience, PATIENCE_LIMIT_S)
        self._quiet_until = now + self._patience
        return [frame for _, frame in self._kept]
