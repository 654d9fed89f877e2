"""How the service is reached: by WebSocket, or by long poll where a proxy lets no WebSocket through."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from funcx_lab.config import Service, home
from funcx_lab.errors import FuncxLabError, ServiceUnreachable
from funcx_lab.protocol.stream import ClientMessage
from funcx_lab.transport import Transport

logger = logging.getLogger(__name__)

#: After so many WebSockets in a row on which nothing was heard, a poll is tried.
TRIES = 3
#: After so many seconds of polling, a WebSocket is tried again.
POLLS_S = 180.0


class Connection(Protocol):
    """A way to exchange messages that has been opened."""

    @property
    def ended(self) -> bool:
        """Whether it has done its work and another one is to be opened at once."""

    @property
    def takes_more(self) -> bool:
        """Whether it takes another message now."""

    @property
    def waiting(self) -> int:
        """How many bytes wait for room in the socket."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def send(self, message: ClientMessage) -> None:
        """Queue a message; `flush` sends it."""

    def flush(self) -> None:
        """Write as much as the socket takes."""

    def ping(self) -> None:
        """See to it that something is heard if the other side lives."""

    def receive(self) -> tuple[Sequence[bytes | memoryview], bool]:
        """Return the messages that have arrived, and whether anything at all has."""

    def close(self) -> None:
        """Close it."""

    def abandon(self) -> None:
        """Drop the descriptors that a fork copied, without a word to the other side."""


class Reach:
    """Opens connections to one service.

    Parameters
    ----------
    transport : Transport
        Knows the service's address and finds it again.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._failures = 0
        self._polls = False
        self._polls_until = 0.0

    def connect(self, *, start: bool) -> Connection:
        """Open a connection; ``start`` starts the embedded service if it was stopped.

        Raises
        ------
        TransportError
            If there is no connection; another try may succeed.
        ConfigError
            If the embedded service does not start.
        ServiceError, VersionMismatch
            If the service says no.
        """
        service = _find_again(self._transport, start=start)
        self._polls = not service.embedded and (
            self._failures >= TRIES or time.monotonic() < self._polls_until
        )
        # Both take a while to import, and a process that only asks needs neither.
        if self._polls:
            from funcx_lab.stream.poll import Poll

            return Poll(service)
        from funcx_lab.stream.websocket import WebSocket

        return WebSocket(service)

    def heard(self) -> None:
        """Hear that something has come over the connection."""
        self._failures = 0
        if self._polls and not self._polls_until:
            self._polls_until = time.monotonic() + POLLS_S
            logger.warning(
                "No WebSocket gets through to %s: asking it again and again instead. Tasks take a little "
                "longer; a proxy on the way should let WebSockets pass.",
                self._transport.service.url,
            )
        elif self._polls_until and not self._polls:
            self._polls_until = 0.0
            logger.warning("A WebSocket to %s works again.", self._transport.service.url)

    def failed(self, error: FuncxLabError) -> None:
        """Hear that the connection failed, or that there was none."""
        if self._polls:
            self._failures, self._polls_until = 0, 0.0
        elif "upgrade_status" in error.details:
            self._failures = TRIES
        elif not isinstance(error, ServiceUnreachable):
            self._failures += 1


class Attempt:
    """An attempt to connect, in a thread of its own: a service that hangs takes half a minute of it.

    Parameters
    ----------
    connect : callable
        Returns the connection, or raises.
    ended : callable
        Called in the attempt's thread when it has ended.
    """

    def __init__(self, connect: Callable[[], Connection], ended: Callable[[], None]) -> None:
        self._connect, self._ended = connect, ended
        self._lock = threading.Lock()
        self._abandoned = False
        self._connection: Connection | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="funcx-lab-connecting", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether there is a result."""
        return self._connection is not None or self._error is not None

    def result(self) -> Connection:
        """Return the connection of an attempt that has ended; raises what it raised."""
        if self._error is not None:
            raise self._error
        if self._connection is None:
            raise ServiceUnreachable("The attempt to connect has not ended.")
        return self._connection

    def abandon(self) -> None:
        """Close the connection if there ever is one."""
        with self._lock:
            self._abandoned = True
            if self._connection is not None:
                self._connection.close()

    def _run(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # raised where it is waited for
            self._error = error
        else:
            with self._lock:
                self._connection = connection
                if self._abandoned:
                    connection.close()
        self._ended()


def _find_again(transport: Transport, *, start: bool) -> Service:
    """Return the service to connect to; the embedded one may have moved, or crashed and need a start."""
    if not transport.service.embedded:
        return transport.service
    from funcx_lab.embedded import running_service

    # A clean stop removes service.json: it shall not come back because a kernel still waits.
    if start or (home() / "service.json").exists():
        return transport.renew()
    service = running_service()
    if service is None:
        raise ServiceUnreachable(
            "The local hub service was stopped; `funcx-lab start` or the next submit starts it again."
        )
    transport.service = service
    return service
