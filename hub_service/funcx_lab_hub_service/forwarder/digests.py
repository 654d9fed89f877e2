"""Whether an agent holds what the hub service believes it holds. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable

from funcx_lab.protocol.messages import Digest, digest_of


class DigestCheck:
    """Compares the digests of one session.

    What is on its way when a digest is made (a cancel, a lease under a new tag) makes the two books
    differ for a moment, each time in other tasks. A lease that one side has lost makes them differ in
    the same task every time. So only a difference that is the same twice in a row counts: the values
    are sums without carry of one hash a lease, hence what both books share falls out of their
    difference and only the odd leases remain.
    """

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def differs(self, theirs: Digest, leases: Iterable[tuple[str, int]]) -> bool:
        """Whether the agent's digest and our ``leases`` differ just as they did last time."""
        ours = digest_of(theirs.mark, leases)
        difference = (ours.count - theirs.count, _number(ours.value) ^ _number(theirs.value))
        is_same = difference == self._last
        self._last = None if difference == (0, 0) else difference
        return is_same


def _number(value: str) -> int:
    """Return a digest's value; what is none differs from every value of ours."""
    try:
        return int(value[:16], 16)
    except ValueError:
        return -1
