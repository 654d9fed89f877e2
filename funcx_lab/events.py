"""A task's events, as they come."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol.messages import Event

NumberedEvent: TypeAlias = tuple[int, Event]


class EventQueue:
    """The events of one followed task; iterate, or `get` with a timeout. Ends after the task's last event.

    Parameters
    ----------
    stop : callable
        Called with the queue when nobody wants more.
    """

    def __init__(self, stop: Callable[[EventQueue], None]) -> None:
        # Plain get() of a SimpleQueue lets Ctrl-C through in the main thread.
        self._queue: queue.SimpleQueue[NumberedEvent | FuncxLabError | None] = queue.SimpleQueue()
        self._stop = stop
        self.ended = False

    def get(self, timeout: float | None = None) -> NumberedEvent | None:
        """Return the next ``(seq, event)``, or None when there will be no more.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; for ever if left out.

        Raises
        ------
        queue.Empty
            If nothing came in time.
        FuncxLabError
            Why the task cannot be followed any more.
        """
        if self.ended:
            return None
        item = self._queue.get(timeout=timeout)
        if isinstance(item, tuple):
            return item
        self.ended = True
        if item is not None:
            raise item
        return None

    def __iter__(self) -> Iterator[NumberedEvent]:
        while (item := self.get()) is not None:
            yield item

    def close(self) -> None:
        """Want no more events."""
        if not self.ended:
            self.ended = True
            self._stop(self)
            self._queue.put(None)

    def __enter__(self) -> EventQueue:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def push(self, events: Sequence[NumberedEvent], last: bool) -> None:
        """Take events from the stream."""
        for item in events:
            self._queue.put(item)
        if last:
            self._queue.put(None)

    def fail(self, error: FuncxLabError) -> None:
        """Hear from the stream why nothing more will come."""
        self._queue.put(error)
