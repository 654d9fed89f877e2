"""Where the user's code runs, and who may read the files it writes."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from collections.abc import Iterator
from typing import Any

from funcx_lab import __version__
from funcx_lab.errors import ConfigError


@contextlib.contextmanager
def entered(directory: str, umask: int) -> Iterator[None]:
    """Stand in a directory under the user's own umask; go back at the end.

    Parameters
    ----------
    directory : str
        May start with ``~``; empty for the user's home directory, if there is one on this machine.
    umask : int
        Of whoever started the endpoint; its own is 077.

    Raises
    ------
    ConfigError
        If the directory was named and cannot be entered.
    """
    old_directory, old_umask = os.getcwd(), os.umask(umask)
    try:
        _enter(directory)
        yield
    finally:
        os.umask(old_umask)
        os.chdir(old_directory)


def _enter(directory: str) -> None:
    try:
        os.chdir(os.path.expanduser(directory or "~"))
    except OSError as err:
        if directory:
            raise ConfigError(
                f"The working directory {directory} cannot be entered on {platform.node()} "
                f"({err.strerror}); create it there, or change working_directory in the endpoint's config."
            ) from err


def resident_bytes() -> int:
    """Return how much memory this process uses now; 0 where the system does not tell (Linux does)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def facts() -> dict[str, Any]:
    """Return what a worker tells of itself: host, pid, python, package and its place in Parsl."""
    known: dict[str, Any] = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "package": __version__,
    }
    names = {
        "block": "PARSL_WORKER_BLOCK_ID",
        "manager": "PARSL_WORKER_POOL_ID",
        "worker": "PARSL_WORKER_RANK",
    }
    known.update({key: os.environ[name] for key, name in names.items() if name in os.environ})
    return known
