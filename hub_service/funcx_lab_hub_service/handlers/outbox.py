"""What one stream still has to be sent: coalesced per loop turn, bounded, and aware of a slow reader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from funcx_lab.protocol.messages import Event
from funcx_lab.protocol.stream import (
    STREAM_LIMIT,
    OutcomeItem,
    Outcomes,
    Refusal,
    ServiceMessage,
    Submitted,
    TaskEvents,
    service_codec,
)

#: From so many unsent bytes on, subscriptions read from the store again when the client has caught up.
SLOW = 4 * 1024 * 1024
#: From so many unsent bytes on, the stream is closed; the client resumes from its cursors.
STUCK = 32 * 1024 * 1024
#: A message of outcomes is closed at this weight, well below what a client accepts.
_TARGET = STREAM_LIMIT // 2


def weight(item: OutcomeItem) -> int:
    """Return about how many bytes the outcome takes in a message, at least as many as it does."""
    error = item.error
    text = 0 if error is None else 4 * (len(error.message) + len(error.traceback) + len(error.type))
    return len(item.payload) + text + 512


class Outbox:
    """Sends messages to one client.

    Parameters
    ----------
    write : callable
        Sends one frame; what it returns is done when the frame has left.
    close : callable
        Called once when the client does not read at all, or cannot be told what it asked for.
    """

    #: see `SLOW` and `STUCK`
    slow, stuck = SLOW, STUCK

    def __init__(self, write: Callable[[bytes], Awaitable[None]], close: Callable[[], None]) -> None:
        self._write = write
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._items: list[OutcomeItem] = []
        self._submitted: list[int] = []
        self._queued = 0
        self._unsent = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self._closed = False

    @property
    def is_slow(self) -> bool:
        """Whether the client is behind, so that nothing more should be gathered for it."""
        return self._queued + self._unsent >= self.slow

    async def drained(self) -> None:
        """Wait until the client has taken enough."""
        await self._drained.wait()

    def outcomes(self, items: list[OutcomeItem]) -> None:
        """Send outcomes with all others of this loop turn."""
        if not self._items:
            self._loop.call_soon(self._flush)
        self._items += items
        self._queued += sum(map(weight, items))

    def submitted(self, request: int, refused: list[Refusal]) -> None:
        """Acknowledge a submit, in the message of this loop turn's outcomes if there is one."""
        if self._items and not refused:
            self._submitted.append(request)
        else:
            self.message(Submitted(request, refused))

    def events(self, task_id: str, events: list[tuple[int, Event]], last: bool) -> None:
        """Send events, in as many messages as their size asks for."""
        frame = service_codec.encode(TaskEvents(task_id, events, last))
        if len(frame) <= STREAM_LIMIT or len(events) < 2:
            self._send(frame)
            return
        half = len(events) // 2
        self.events(task_id, events[:half], last=False)
        self.events(task_id, events[half:], last)

    def message(self, message: ServiceMessage) -> None:
        """Send one message at once."""
        self._send(service_codec.encode(message))

    def stop(self) -> None:
        """Send nothing more."""
        self._closed = True
        self._drained.set()

    def give_up(self) -> None:
        """Close the stream; the client comes again and resumes from its cursors."""
        self.stop()
        self._close()

    def _flush(self) -> None:
        items, self._items, self._queued = self._items, [], 0
        submitted, self._submitted = self._submitted, []
        first = total = 0
        for index, item in enumerate(items):
            more = weight(item)
            if total + more > _TARGET and index > first:
                self.message(Outcomes(items[first:index]))
                first, total = index, 0
            total += more
        self.message(Outcomes(items[first:], submitted))

    def _send(self, frame: bytes) -> None:
        if self._closed:
            return
        size = len(frame)
        self._unsent += size
        if self._unsent >= self.slow:
            self._drained.clear()
        if self._unsent > self.stuck:
            self.give_up()
            return
        asyncio.ensure_future(self._write(frame)).add_done_callback(lambda done: self._sent(done, size))

    def _sent(self, done: asyncio.Future[None], size: int) -> None:
        if not done.cancelled():
            done.exception()  # a connection that broke is told by on_close
        self._unsent -= size
        if self._unsent < self.slow:
            self._drained.set()
