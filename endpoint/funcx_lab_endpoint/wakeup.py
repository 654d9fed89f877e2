"""What ends the wait of the agent's loop from outside it."""

from __future__ import annotations

import contextlib
import os


class Wakeup:
    """A pipe that other threads and signal handlers write to and the poller reads from."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write, False)

    def __call__(self) -> None:
        """Make the poller return; safe in a signal handler."""
        with contextlib.suppress(BlockingIOError, OSError):  # full: it wakes anyway; closed: it is over
            os.write(self._write, b"x")

    def clear(self) -> None:
        """Take note of every call so far."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def close(self) -> None:
        """Close both ends."""
        os.close(self.fd)
        os.close(self._write)
