"""Which connections are too many. No I/O, no clock of its own.

Before its handshake is done anybody on the network may hold a connection and make it buffer a frame of
the full size, so few of those are allowed, in all and from one address. A handshake takes milliseconds;
one that takes seconds gives way to the next, and libzmq ends each that takes longer than its limit.
"""

from __future__ import annotations

#: Connections that may shake hands at once, in all and from one address.
IN_ALL, FROM_ONE = 256, 64
#: A handshake may take this many seconds before another takes its place: when a thousand agents come
#: back at once, those that are nearly done are not sent away.
GRACE_S = 3.0
#: libzmq has ended by then what did not finish its handshake, seconds.
HANDSHAKE_S = 5.0


class Doorkeeper:
    """Knows each connection by its file descriptor.

    Parameters
    ----------
    limit : int
        Connections at most, those of agents included.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: who shakes hands, longest first: address and since when (monotonic seconds)
        self._waiting: dict[int, tuple[str, float]] = {}
        self._inside: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._inside)

    def accepted(self, descriptor: int, address: str, now: float) -> int | None:
        """Take note of a new connection; return one to cut if it is one too many."""
        self.closed(descriptor)  # the number is used again
        self._settle(now)
        self._waiting[descriptor] = (address, now)
        if len(self) > self._limit:
            return self._cut(descriptor)
        neighbours = [other for other, (whence, _) in self._waiting.items() if whence == address]
        if len(neighbours) > FROM_ONE:
            return self._cut(self._victim(neighbours, now))
        if len(self._waiting) > IN_ALL:
            return self._cut(self._victim(list(self._waiting), now))
        return None

    def spoke(self, descriptor: int) -> None:
        """Take note that a connection has shown a good key."""
        if self._waiting.pop(descriptor, None) is not None:
            self._inside.add(descriptor)

    def closed(self, descriptor: int) -> None:
        """Take note that a connection has ended."""
        self._waiting.pop(descriptor, None)
        self._inside.discard(descriptor)

    def _settle(self, now: float) -> None:
        """Whoever has waited for longer than a handshake lasts has passed it."""
        passed = [other for other, (_, since) in self._waiting.items() if now - since > HANDSHAKE_S + 1]
        for descriptor in passed:
            self.spoke(descriptor)

    def _victim(self, candidates: list[int], now: float) -> int:
        """Return the one that takes long, or else the newest: many good agents may come at once."""
        longest = candidates[0]
        return longest if now - self._waiting[longest][1] >= GRACE_S else candidates[-1]

    def _cut(self, descriptor: int) -> int:
        del self._waiting[descriptor]
        return descriptor
