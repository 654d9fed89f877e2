"""How the service is reached: by WebSocket."""

from __future__ import annotations

from typing import Protocol

from funcx_lab.config import Service, home
from funcx_lab.errors import ServiceUnreachable
from funcx_lab.protocol.stream import ClientMessage
from funcx_lab.transport import Transport


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

    def receive(self) -> tuple[list[bytes], bool]:
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
        from funcx_lab.stream.websocket import WebSocket

        return WebSocket(_find_again(self._transport, start=start))

    def heard(self) -> None:
        """Hear that the connection works."""


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
        raise ServiceUnreachable("The local hub service was stopped; the next submit starts it again.")
    transport.service = service
    return service
