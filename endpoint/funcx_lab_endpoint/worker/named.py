"""The named sessions that live in this process."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from funcx_lab.serialize.warm import WarmSpace


class NamedSpaces:
    """Their namespaces by name.

    Parameters
    ----------
    add_event : callable
        Takes ``(kind, data)`` of an event of the call that runs.
    """

    def __init__(self, add_event: Callable[[str, Any], None]) -> None:
        self._add_event = add_event
        self._spaces: dict[str, WarmSpace] = {}

    def enter(self, name: str, lost: str) -> tuple[WarmSpace, bool]:
        """Return a session's namespace and whether it is new, which the call's stderr then says.

        Parameters
        ----------
        name : str
            Of the session.
        lost : str
            How an earlier one of this name was lost, if it was.
        """
        space = self._spaces.get(name)
        if space is not None:
            return space, False
        self._spaces[name] = space = WarmSpace()
        self._add_event("stderr", f"{_announcement(name, lost)}\n")
        return space, True

    def end(self, name: str) -> None:
        """Forget a session."""
        self._spaces.pop(name, None)


def _announcement(name: str, lost: str) -> str:
    host = socket.gethostname()
    if not lost:
        return f"session {name} is new on {host}"
    return f"session {name} is new on {host}, and the names of its earlier cells are lost: {lost}"
