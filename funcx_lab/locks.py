"""File locks that say who lives: a lock ends with its process, whatever ended the process.

A process id in a file says nothing, since ids are used again; so everything that must exist once per
directory holds a lock there for life, and others ask the lock. While it is held, its file says by whom.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_S = 0.02


def take_lock(path: Path, *, wait_s: float = 0.0) -> int | None:
    """Take the lock ``path`` for as long as the returned descriptor is open.

    Parameters
    ----------
    path : Path
        The lock file; created with mode 0600, never removed.
    wait_s : float
        Seconds to wait for another holder. Whoever will hold it for life should wait a second, because
        :func:`is_held` holds it for an instant.

    Returns
    -------
    int or None
        An open descriptor, not inherited by children; None if another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(_POLL_S)
        except BaseException:
            os.close(descriptor)
            raise
        else:
            with contextlib.suppress(OSError):  # a full disk; the lock holds all the same
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            return descriptor


def holder_of(path: Path) -> int | None:
    """Return the process id that whoever holds the lock ``path`` wrote; means nothing unless it is held."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdecimal() else None


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock ``path``."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def wait_released(path: Path, timeout_s: float) -> bool:
    """Wait until nobody holds the lock ``path``; False if somebody still does after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while is_held(path):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float) -> Iterator[bool]:
    """Hold the lock ``path`` for a ``with`` block; gives False if it was not free in time."""
    descriptor = take_lock(path, wait_s=wait_s)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)
