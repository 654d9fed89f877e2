"""What a watching page and the service say to each other: JSON, one message a frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from funcx_lab.protocol.messages import Number
from funcx_lab.protocol.stream import STREAM_LIMIT
from funcx_lab_hub_service.handlers.base import as_json
from funcx_lab_hub_service.handlers.outbox import Outbox

if TYPE_CHECKING:
    from funcx_lab.protocol.messages import Event


#: A page that is behind and takes nothing for so many seconds is closed; it comes again.
STUCK_S = 30.0


class _Message(msgspec.Struct, tag_field="type", frozen=True):
    """Anything that a page says."""


class Follow(_Message, tag="follow", frozen=True):
    """Tell the task's events behind ``after``, from now on too."""

    task_id: str
    after: Number = 0


class Unfollow(_Message, tag="unfollow", frozen=True):
    """No more events of this task."""

    task_id: str


class Pause(_Message, tag="pause", frozen=True):
    """Nobody looks: tell nothing."""


class Resume(_Message, tag="resume", frozen=True):
    """Somebody looks again."""


decode = msgspec.json.Decoder(Follow | Unfollow | Pause | Resume).decode


class PageOutbox(Outbox):
    """An outbox of JSON; ``ended`` is called with a followed task whose last event was sent."""

    slow, stuck = 256 * 1024, 4 * STREAM_LIMIT
    _timer: asyncio.TimerHandle | None = None
    _left = 0

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        close: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        super().__init__(write, close)
        self._on_ended = ended

    def stop(self) -> None:
        """Send nothing more."""
        super().stop()
        if self._timer is not None:
            self._timer.cancel()

    def _send(self, frame: bytes) -> None:
        super()._send(frame)
        if self.is_slow and self._timer is None and not self._closed:
            self._look_later()

    def _sent(self, done: asyncio.Future[None], size: int) -> None:
        super()._sent(done, size)
        self._left += size

    def _look_later(self) -> None:
        """Close the page if it takes nothing until then."""
        self._timer = self._loop.call_later(STUCK_S, self._look, self._left)

    def _look(self, left: int) -> None:
        self._timer = None
        if self._left == left:
            self.give_up()
        elif self.is_slow:
            self._look_later()

    def tell(self, type: str, **fields: Any) -> None:
        """Send one message."""
        self._send(as_json({"type": type, **fields}))

    def tell_list(self, type: str, name: str, entries: Iterable[bytes]) -> None:
        """Send one message of entries that are JSON already."""
        self._send(b'{"type":"%b","%b":[%b]}' % (type.encode(), name.encode(), b",".join(entries)))

    def events(self, task_id: str, events: list[tuple[int, Event]], last: bool) -> None:
        """Send events, in as many messages as their size asks for."""
        shown = [[seq, {"time": event.time, "kind": event.kind, "data": event.data}] for seq, event in events]
        frame = as_json({"type": "events", "task_id": task_id, "events": shown, "ended": last})
        if len(frame) > self.slow and len(events) > 1:
            half = len(events) // 2
            self.events(task_id, events[:half], last=False)
            self.events(task_id, events[half:], last)
            return
        self._send(frame)
        if last:
            self._on_ended(task_id)
