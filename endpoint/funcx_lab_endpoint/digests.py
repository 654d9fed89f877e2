"""What the hub service is told, now and then, about all that is held. No I/O, clock passed in."""

from __future__ import annotations

from funcx_lab.protocol.messages import Digest, digest_of
from funcx_lab_endpoint.holdings import Holdings

DIGEST_S = 30.0


class Digests:
    """Digests up to a lease that is old enough for nothing below it to be under way.

    Each mark is used twice, since one difference may be a message under way and two are a mistake.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._due = 0.0
        self._is_second = False
        self._mark = 0
        self._next_mark = 0

    def begin(self, now: float) -> None:
        """Begin anew with a session."""
        self._due = now + DIGEST_S
        self._is_second = False
        self._next_mark = max((tag for _, tag in self._unfinished()), default=0)

    def due(self, now: float) -> Digest | None:
        """Return a digest every `DIGEST_S` seconds, else None."""
        if now < self._due:
            return None
        self._due = now + DIGEST_S
        leases = self._unfinished()
        if not self._is_second:
            self._mark = self._next_mark
            self._next_mark = max((tag for _, tag in leases), default=0)
        self._is_second = not self._is_second
        return digest_of(self._mark, leases)

    def _unfinished(self) -> list[tuple[str, int]]:
        return [
            (holding.task_id, holding.tag)
            for holding in self._holdings
            if holding.outcome is None and holding.orphan_since is None
        ]
