"""Who waits for what a stream hears. All of it is called in the stream's thread and must return soon."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from funcx_lab.errors import FuncxLabError, ServiceTimeout
from funcx_lab.protocol.messages import Event
from funcx_lab.protocol.stream import OutcomeItem


class TaskSink(Protocol):
    """Who waits for a task."""

    def accepted(self) -> None:
        """Hear that the hub service has the task on its disk."""

    def finish(self, item: OutcomeItem) -> None:
        """Hear how the task ended."""

    def ended_by_cancel(self) -> None:
        """Hear that the task was cancelled by us."""

    def fail(self, error: FuncxLabError) -> None:
        """Hear that no outcome will come: the task was refused, or the stream cannot go on."""


class EventSink(Protocol):
    """Who follows a task's events."""

    def push(self, events: Sequence[tuple[int, Event]], last: bool) -> None:
        """Take events in order; ``last``: nothing more will come."""

    def fail(self, error: FuncxLabError) -> None:
        """Hear why nothing more will come."""


class CancelSink(Protocol):
    """Who asked to cancel."""

    def answer(self, task_ids: frozenset[str]) -> None:
        """Hear which of the tasks are cancelled now."""

    def fail(self, error: FuncxLabError) -> None:
        """Hear why no answer will come."""


class CancelAnswer:
    """Waits for the answer to a cancel (a `CancelSink`)."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._task_ids: frozenset[str] = frozenset()
        self._error: FuncxLabError | None = None

    def answer(self, task_ids: frozenset[str]) -> None:
        """Hear which of the tasks are cancelled now."""
        self._task_ids = task_ids
        self._ready.set()

    def fail(self, error: FuncxLabError) -> None:
        """Hear why no answer will come."""
        self._error = error
        self._ready.set()

    def wait(self, timeout: float) -> frozenset[str]:
        """Return the ids of the tasks that are cancelled now.

        Raises
        ------
        ServiceTimeout
            If there is no answer within ``timeout`` seconds.
        FuncxLabError
            Why there is none.
        """
        if not self._ready.wait(timeout):
            raise ServiceTimeout(
                "The hub service did not answer a cancel in time; try again when it is back."
            )
        if self._error is not None:
            raise self._error
        return self._task_ids
