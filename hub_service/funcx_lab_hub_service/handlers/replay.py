"""Subscriptions of a stream: from a cursor to now out of the store, from then on live, no gap, nothing twice.

A commit is visible to the store's reader before the feed tells it. So when a page read from the store
ends below its limit, everything behind it is still to be told by the feed, and what the feed tells
again lies at or below the cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from funcx_lab_hub_service.handlers.outbox import SLOW, Outbox, weight

if TYPE_CHECKING:
    from funcx_lab.protocol.stream import OutcomeItem
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.handlers.services import Services

logger = logging.getLogger(__name__)

_FIRST_PAGE = 64
_LARGEST_PAGE = 256
_EVENTS_PAGE = 256


class Replay:
    """One subscription; `stop` ends it.

    Parameters
    ----------
    services : Services
        Where pages and news come from.
    principal : Principal
        Who asks.
    outbox : Outbox
        Where it goes.
    after : int
        What the client has already.
    """

    def __init__(self, services: Services, principal: Principal, outbox: Outbox, after: int) -> None:
        self.services, self.principal, self.outbox = services, principal, outbox
        self.cursor = after
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []

    def stop(self) -> None:
        """Send nothing more."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        if self._task is not None:
            self._task.cancel()

    def read_page(self) -> bool:
        """Send the next page; whether it was the last one for now."""
        raise NotImplementedError

    def _read_on(self) -> None:
        """Read pages in the background, as fast as the client takes them."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._read_pages())

    async def _read_pages(self) -> None:
        try:
            while True:
                await self.outbox.drained()
                if self.read_page():
                    return
                await asyncio.sleep(0)  # others have their turn between two pages
        except Exception:
            logger.exception("A subscription broke")
            self.outbox.give_up()


class GroupReplay(Replay):
    """The outcomes of a task group."""

    def __init__(
        self, services: Services, principal: Principal, outbox: Outbox, group_id: str, after: int
    ) -> None:
        super().__init__(services, principal, outbox, after)
        self._group_id = group_id
        self._page = _FIRST_PAGE
        self._live = False
        self._unsubscribe.append(services.feed.group(principal.user, group_id, self._tell))
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            done = self.read_page()
            undo.pop_all()
        if not done:
            self._read_on()

    def read_page(self) -> bool:
        """Send the next page of outcomes."""
        limit = self._page
        items = self.services.tasks.outcomes_after(self.principal, self._group_id, self.cursor, limit)
        fitting = _fitting(items)
        self._send(fitting)
        self._page = min(2 * limit, _LARGEST_PAGE) if fitting is items else max(limit // 2, 1)
        self._live = fitting is items and len(items) < limit
        return self._live

    def _tell(self, items: list[OutcomeItem]) -> None:
        if not self._live:
            return  # the pages reach them
        if self.outbox.is_slow or _fitting(items) is not items:
            self._live = False
            self._read_on()
            return
        self._send([item for item in items if item.cursor > self.cursor])

    def _send(self, items: list[OutcomeItem]) -> None:
        if items:
            self.cursor = items[-1].cursor
            self.outbox.outcomes(items)


def _fitting(items: list[OutcomeItem]) -> list[OutcomeItem]:
    """Return as many of the first items as may be sent at once, but one at least."""
    total = 0
    for index, item in enumerate(items):
        total += weight(item)
        if total > SLOW and index:
            return items[:index]
    return items


class EventReplay(Replay):
    """The events of a task; the feed only says that there is something to read."""

    def __init__(
        self,
        services: Services,
        principal: Principal,
        outbox: Outbox,
        task_id: str,
        after: int,
    ) -> None:
        super().__init__(services, principal, outbox, after)
        self._task_id = task_id
        self._more = False
        self._unsubscribe.append(services.feed.events(task_id, self._wake))
        self._unsubscribe.append(services.feed.task(task_id, self._wake))
        self._read_on()

    def read_page(self) -> bool:
        """Send the next page of events; ends the subscription behind the last one."""
        self._more = False
        # Asked first: what is read after the end is known is complete.
        ended = self.services.tasks.record(self.principal, self._task_id).state.is_final
        events = self.services.tasks.events_after(self.principal, self._task_id, self.cursor, _EVENTS_PAGE)
        complete = len(events) < _EVENTS_PAGE
        if events:
            self.cursor = events[-1][0]
        last = ended and complete
        if events or last:
            self.outbox.events(self._task_id, events, last)
        if last:
            for unsubscribe in self._unsubscribe:
                unsubscribe()
        return last or (complete and not self._more)

    def _wake(self, *_news: object) -> None:
        self._more = True
        self._read_on()
