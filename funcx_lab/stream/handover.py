"""How callers hand things to the stream's thread: a deque with a bell, and a limit on what may wait."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol


class Pollable(Protocol):
    """A connection to sleep on."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    @property
    def waiting(self) -> int:
        """How many bytes wait for room in the socket."""


class Inbox:
    """Commands for one thread, which sleeps here.

    Attributes
    ----------
    commands : deque
        Tuples of a callable and its arguments; any thread may append through `put`.
    """

    def __init__(self) -> None:
        self.commands: deque[tuple[Any, ...]] = deque()
        self._asleep = False

    def open(self) -> None:
        """Hang up the bell; before the thread starts."""
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)

    def put(self, command: tuple[Any, ...]) -> None:
        """Append a command; wakes the thread only if it sleeps."""
        self.commands.append(command)
        if self._asleep:
            self._asleep = False
            self.ring()

    def ring(self) -> None:
        """Wake the thread."""
        with contextlib.suppress(OSError):  # full: it rings already; closed: nobody listens
            self._bell.send(b"\0")

    def sleep(self, timeout: float | None, connection: Pollable | None = None) -> bool:
        """Sleep until a command, the bell or the connection; whether the connection has something to read.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if None.
        """
        poller = select.poll()
        poller.register(self._ear, select.POLLIN)
        if connection is not None:
            poller.register(connection, select.POLLIN | (select.POLLOUT if connection.waiting else 0))
        # Looked at after the flag is up: whoever appends later sees the flag and rings.
        self._asleep = True
        ready = dict(poller.poll(0 if self.commands else None if timeout is None else timeout * 1000))
        self._asleep = False
        if self._ear.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._ear.recv(4096)
        return connection is not None and bool(ready.get(connection.fileno(), 0) & ~select.POLLOUT)

    def close(self) -> None:
        """Take down the bell."""
        self._ear.close()
        self._bell.close()


class Room:
    """So many bytes may be under way; who brings more waits.

    Parameters
    ----------
    limit : int
        Bytes. One thing that is larger on its own passes when nothing else is under way.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition(threading.Lock())

    def reserve(self, nbytes: int, refuses_to_wait: Callable[[], bool]) -> None:
        """Take room, waiting for it unless ``refuses_to_wait()``."""
        with self._changed:
            while self._used and self._used + nbytes > self._limit and not refuses_to_wait():
                self._changed.wait(1.0)
            self._used += nbytes

    def release(self, nbytes: int) -> None:
        """Give room back."""
        with self._changed:
            self._used = max(0, self._used - nbytes)
            self._changed.notify_all()
