"""The session that the forwarder grants an agent on one connection. No I/O, clock passed in."""

from __future__ import annotations

from collections.abc import Callable

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import Hello

#: A session that is not granted and compared within this time is given up for a new connection.
HANDSHAKE_S = 20.0


class LinkSession:
    """From a `Hello` with a fresh nonce to the compared inventory.

    Parameters
    ----------
    instance : str
        Identity of this life of the agent.
    spool : str
        Identity of its holdings.
    new_nonce : callable
        Returns a random text at each call.
    takeover : bool
        Ask, until granted once, to end the session of another live agent of this endpoint.
    """

    def __init__(self, *, instance: str, spool: str, new_nonce: Callable[[], str], takeover: bool) -> None:
        #: None while no session is granted
        self.number: int | None = None
        #: whether the hub service has compared the inventory
        self.ready = False
        self._instance = instance
        self._spool = spool
        self._new_nonce = new_nonce
        self._takeover = takeover
        self._nonce: str | None = None
        #: when the handshake must be done, None if it is or none is under way
        self.deadline: float | None = None

    def hello(self, now: float) -> Hello:
        """Begin anew; answers to an earlier `Hello` are void from now on."""
        self.end()
        self._nonce = self._new_nonce()
        self.deadline = now + HANDSHAKE_S
        return Hello(PROTOCOL_VERSION, self._nonce, self._instance, self._spool, takeover=self._takeover)

    def answers(self, nonce: str) -> bool:
        """Whether an answer with this nonce is meant for the `Hello` that waits for one."""
        return self.number is None and nonce == self._nonce

    def grant(self, number: int) -> None:
        """Take the session."""
        self.number = number
        self._takeover = False

    def compared(self) -> None:
        """Take note that the hub service has compared the inventory."""
        self.ready = True
        self.deadline = None

    def end(self) -> None:
        """Give the session up."""
        self.number = self._nonce = self.deadline = None
        self.ready = False

    def is_overdue(self, now: float) -> bool:
        """Whether the handshake takes too long; true once."""
        if self.deadline is None or now < self.deadline:
            return False
        self.deadline = None
        return True
