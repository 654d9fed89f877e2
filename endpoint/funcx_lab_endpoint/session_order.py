"""Calls of one session leave for the engine in the order in which they came, however long arguments take.

No I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from funcx_lab_endpoint.holding import Holding


class SessionOrder:
    """The calls of sessions that have begun and not left."""

    def __init__(self) -> None:
        #: by session and task, in order; None while the arguments are fetched
        self._lines: dict[str, dict[str, tuple[Holding, Path | None] | None]] = {}

    def begin(self, holding: Holding) -> None:
        """Take note that a call has begun: those of its session that begin later leave later."""
        if holding.options.session is not None:
            self._lines.setdefault(holding.options.session, {})[holding.task_id] = None

    def ready(self, holding: Holding, path: Path | None) -> Iterator[tuple[Holding, Path | None]]:
        """Take note that a call's arguments are here; yield the calls that may leave now."""
        line = self._lines.get(holding.options.session or "")
        if line is None or holding.task_id not in line:
            yield holding, path
            return
        line[holding.task_id] = (holding, path)
        yield from self._leave(holding.options.session or "")

    def drop(self, holding: Holding) -> Iterator[tuple[Holding, Path | None]]:
        """Forget a call that will not leave; yield those that may leave now."""
        name = holding.options.session or ""
        if self._lines.get(name, {}).pop(holding.task_id, self) is not self:
            yield from self._leave(name)

    def _leave(self, name: str) -> Iterator[tuple[Holding, Path | None]]:
        line = self._lines[name]
        while line and (first := next(iter(line.values()))) is not None:
            del line[first[0].task_id]
            yield first
        if not line:
            del self._lines[name]
