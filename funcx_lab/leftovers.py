"""Find and end what a stopped local service left running: the workers of a killed agent, for instance.

Every program of the local service inherits a mark in its environment. Whoever carries it when the service
and its endpoint are gone is a left-over.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

#: The variable that the programs of a local service inherit; its value is their home.
MARK = "FUNCX_LAB_EMBEDDED"
_GRACE_S = 3.0
_ENDING_S = 1.0
_POLL_S = 0.05
_ROUNDS = 3


def mark_for(directory: Path) -> dict[str, str]:
    """Return the environment variable that marks the programs of the home ``directory``."""
    return {MARK: os.path.realpath(directory)}


def end_leftovers(directory: Path, *, mark: str = MARK, grace_s: float = _GRACE_S) -> int:
    """End the processes that carry the mark of ``directory``.

    Parameters
    ----------
    directory : Path
        The home of a service that has stopped.
    mark : str
        The variable that carries ``directory``.
    grace_s : float
        Seconds between asking and killing.

    Returns
    -------
    int
        How many there were.
    """
    if importlib.util.find_spec("psutil") is None:
        return 0  # psutil comes with the endpoint: without it, none ran here
    total = 0
    # Whoever has just been told to stop is not a left-over yet.
    found = _wait_until_gone(directory, mark, _ENDING_S)
    for _ in range(_ROUNDS):  # one that is ended last may have started another meanwhile
        if not found:
            break
        total += len(found)
        _each(found, "terminate")
        _each(_wait_until_gone(directory, mark, grace_s), "kill")
        found = _wait_until_gone(directory, mark, grace_s)
    return total


def _wait_until_gone(directory: Path, mark: str, timeout_s: float) -> list[psutil.Process]:
    """Return who is still there when the time is over; zombies are gone, they only wait for a parent."""
    deadline = time.monotonic() + timeout_s
    while (found := find_leftovers(directory, mark)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return found


def find_leftovers(directory: Path, mark: str = MARK) -> list[psutil.Process]:
    """Return the processes that carry the mark of ``directory``, without the calling one."""
    import psutil

    value = os.path.realpath(directory)
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(mark) == value:
                found.append(process)
        except psutil.Error:
            continue  # gone, or another user's
    return found


def _each(processes: list[psutil.Process], action: str) -> None:
    import psutil

    for process in processes:
        act: Callable[[], None] = getattr(process, action)
        try:
            act()
        except psutil.Error:
            continue  # gone by itself
