"""Acknowledgements of results gather: the agent only frees memory by them. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

#: So many acknowledgements leave without waiting for more.
ACKS_AT_ONCE = 500


class Due(Enum):
    """When what has gathered should leave."""

    NOW = "now"
    #: in a moment; nobody was told so yet
    SOON = "soon"
    #: somebody was told already
    TOLD = "told"


class Acknowledgements:
    """Results of one session that are on disk or void: ``(task_id, execution)``."""

    def __init__(self) -> None:
        self._gathered: list[tuple[str, str]] = []

    def add(self, acked: Sequence[tuple[str, str]]) -> Due:
        """Take more; return when all that has gathered should leave."""
        is_first = not self._gathered
        self._gathered += acked
        if len(self._gathered) >= ACKS_AT_ONCE:
            return Due.NOW
        return Due.SOON if is_first else Due.TOLD

    def take(self) -> list[tuple[str, str]]:
        """Return what has gathered and begin anew."""
        gathered, self._gathered = self._gathered, []
        return gathered
