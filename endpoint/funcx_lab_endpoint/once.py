"""Calls that may run only once: each leaves for the engine after its mark is on disk. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from funcx_lab_endpoint.changes import AT_ONCE_S
from funcx_lab_endpoint.holding import Holding
from funcx_lab_endpoint.holdings import Holdings


@dataclass(frozen=True, slots=True)
class _Mark:
    """A call whose mark is being written; ``write`` is 0 until that is under way."""

    holding: Holding
    path: Path | None
    write: int = 0


class OnceLine:
    """The line of at_most_once calls, and those that are at the engine.

    Parameters
    ----------
    holdings : Holdings
        Where the marks are.
    """

    def __init__(self, holdings: Holdings) -> None:
        #: how many workers serve; no more calls than that are marked, since the agent's death loses them
        self.workers = 1
        self._holdings = holdings
        #: calls without a mark, in order
        self.line: deque[tuple[Holding, Path | None]] = deque()
        self._out: set[str] = set()
        self._unwritten: list[_Mark] = []
        self._written: deque[_Mark] = deque()

    def add(self, holding: Holding, path: Path | None) -> None:
        """Put a call at the end of the line."""
        self.line.append((holding, path))

    def mark_next(self) -> None:
        """Mark as many calls as there are workers to run them."""
        while self.line and len(self._out) < max(1, self.workers):
            holding, path = self.line.popleft()
            if self._is_held(holding) and holding.outcome is None and not holding.handed:
                holding.handed = True
                self._out.add(holding.task_id)
                self._holdings.changed(holding, AT_ONCE_S)
                self._unwritten.append(_Mark(holding, path))

    def saving(self, number: int) -> None:
        """Take note that all marks so far go to the spool as write ``number``."""
        self._written.extend(_Mark(mark.holding, mark.path, number) for mark in self._unwritten)
        self._unwritten.clear()

    def saved(self, number: int) -> Iterator[tuple[Holding, Path | None]]:
        """Yield the calls that may leave now that write ``number`` is on disk."""
        while self._written and self._written[0].write <= number:
            mark = self._written.popleft()
            if mark.holding.handed and self._is_held(mark.holding):
                yield mark.holding, mark.path

    def ended(self, holding: Holding) -> None:
        """Take note that a call is over, or will not be made."""
        self._out.discard(holding.task_id)

    def take_back(self, holding: Holding) -> None:
        """Take back the mark of a call that has not left."""
        holding.handed = False
        self._out.discard(holding.task_id)

    def _is_held(self, holding: Holding) -> bool:
        return self._holdings.get(holding.task_id) is holding
