"""Room on the disk for what must still be written when nothing new is taken in.

A file of ballast holds the room. While it is there and as much again is free, new things are taken in;
when a write finds the disk full, the ballast is given up for outcomes, acknowledgements and cancels.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from funcx_lab.errors import StorageFull

log = logging.getLogger(__name__)

#: One look at the disk serves for so many seconds.
_LOOK_S = 0.5
#: Seconds after which a refused request may be sent again.
RETRY_AFTER_S = 10.0


def free_bytes(directory: Path) -> int:
    """Return how many bytes this user may still write."""
    return shutil.disk_usage(directory).free


class Reserve:
    """The ballast of one data directory.

    Parameters
    ----------
    directory : Path
        Where the data is.
    size : int
        Bytes of ballast; 0 for no reserve.
    free : callable
        Returns the free bytes of a directory.
    """

    def __init__(self, directory: Path, size: int, free: Callable[[Path], int] = free_bytes) -> None:
        self._path = directory / "ballast"
        self._size = size
        self._free = free
        self._looked, self._room = float("-inf"), True
        self.held = size == 0 or self._is_there()

    def _is_there(self) -> bool:
        try:
            return self._path.stat().st_size >= self._size
        except OSError:
            return False

    def is_needed(self) -> bool:
        """Whether the disk is as good as full."""
        return self._free(self._path.parent) < self._size // 4

    def restore(self) -> bool:
        """Make the ballast if there is room for it and as much again; whether it is there. Blocks."""
        if self.held:
            return True
        try:
            missing = self._size - (self._path.stat().st_size if self._path.exists() else 0)
            if self._free(self._path.parent) < missing + self._size:
                return False
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                os.ftruncate(descriptor, self._size)
                os.posix_fallocate(descriptor, 0, self._size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.info("There is no room for a reserve of %d bytes yet: %s", self._size, error)
            self._path.unlink(missing_ok=True)
            return False
        self.held = True
        self._looked = float("-inf")
        return True

    def give_up(self) -> bool:
        """Free the ballast's room; whether there was any."""
        if self._size == 0 or not self.held:
            return False
        self.held = False
        self._path.unlink(missing_ok=True)
        log.error(
            "The disk of %s is full: the reserve of %d bytes is given up for outcomes, and nothing new is "
            "taken in until there is room again.",
            *(self._path.parent, self._size),
        )
        return True

    def check(self) -> None:
        """Let pass while something new may be taken in.

        Raises
        ------
        StorageFull
            If the reserve is gone, or so little is free that it would soon be.
        """
        now = time.monotonic()
        if now - self._looked > _LOOK_S:
            self._looked = now
            self._room = self._size == 0 or self._free(self._path.parent) >= self._size
        if not (self._room and self.held):
            raise StorageFull(
                f"The hub service's disk is full: less than {self._size / 1e6:.0f} MB are free, and they "
                "are kept for results. Nothing was accepted; free space and send it again.",
                details={"retry_after_s": RETRY_AFTER_S},
            )
