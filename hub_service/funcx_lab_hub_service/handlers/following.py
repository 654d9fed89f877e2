"""The logs that a watching page follows: from the place it names to now, from then on live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import InvalidRequest, TaskNotFound
from funcx_lab_hub_service.handlers.replay import EventReplay

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.handlers.page_outbox import PageOutbox
    from funcx_lab_hub_service.handlers.services import Services

#: So many logs are followed at once.
MOST_FOLLOWED = 64
#: A task may be on its way into the database: it is looked for again after so many seconds.
_LOOK_AGAIN_S = (0.1, 1.0)


class _PageReplay(EventReplay):
    """A log of which an error is told, too; the page's other logs go on."""

    def __init__(self, *args: Any, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        super().__init__(*args)

    def read_page(self) -> bool:
        """Send the next page of events; whether it was the last one for now."""
        try:
            return super().read_page()
        except Exception as err:  # as in `Following._why_not`
            self._failed(err)
            return True


class Following:
    """What one page follows; `stop` ends it.

    Parameters
    ----------
    services : Services
        Where logs and news come from.
    principal : Principal
        Whose page it is.
    outbox : PageOutbox
        Where events go.
    refuse : callable
        Told ``(error, task_id)`` of what cannot be followed.
    """

    def __init__(
        self,
        services: Services,
        principal: Principal,
        outbox: PageOutbox,
        refuse: Callable[[Exception, str], None],
    ) -> None:
        self._services, self._principal, self._outbox = services, principal, outbox
        self._refuse = refuse
        self._replays: dict[str, EventReplay] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        #: while the page pauses: where each log goes on
        self._paused: dict[str, int] | None = None

    def follow(self, task_id: str, after: int) -> None:
        """Tell the task's events behind ``after``, from now on too."""
        self.unfollow(task_id)
        if len(self._replays) + len(self._looking) + len(self._paused or ()) >= MOST_FOLLOWED:
            why = f"A page follows {MOST_FOLLOWED} tasks at once; unfollow another one first."
            self._refuse(InvalidRequest(why), task_id)
        elif self._paused is not None:
            self._paused[task_id] = after
        else:
            self._looking[task_id] = asyncio.ensure_future(self._begin(task_id, after))

    def unfollow(self, task_id: str) -> None:
        """Tell no more events of this task."""
        if (replay := self._replays.pop(task_id, None)) is not None:
            replay.stop()
        if (looking := self._looking.pop(task_id, None)) is not None:
            looking.cancel()
        if self._paused is not None:
            self._paused.pop(task_id, None)

    def pause(self) -> None:
        """Tell nothing until `resume`."""
        if self._paused is not None:
            return
        self._paused = {task_id: replay.cursor for task_id, replay in self._replays.items()}
        for replay in self._replays.values():
            replay.stop()
        self._replays.clear()

    def resume(self) -> None:
        """Go on where each log was left."""
        paused, self._paused = self._paused or {}, None
        for task_id, cursor in paused.items():
            self.follow(task_id, cursor)

    def ended(self, task_id: str) -> None:
        """Forget a log whose last event was told."""
        self._replays.pop(task_id, None)

    def stop(self) -> None:
        """Follow nothing any more."""
        for task_id in [*self._replays, *self._looking]:
            self.unfollow(task_id)

    async def _begin(self, task_id: str, after: int) -> None:
        error = self._why_not(task_id)
        for wait_s in _LOOK_AGAIN_S:
            if not isinstance(error, TaskNotFound):
                break
            await asyncio.sleep(wait_s)
            error = self._why_not(task_id)
        del self._looking[task_id]
        if error is not None:
            self._refuse(error, task_id)
        elif self._paused is not None:
            self._paused[task_id] = after
        else:
            self._replays[task_id] = _PageReplay(
                *(self._services, self._principal, self._outbox, task_id, after),
                failed=lambda error: self._failed(task_id, error),
            )

    def _failed(self, task_id: str, error: Exception) -> None:
        self.unfollow(task_id)
        self._refuse(error, task_id)

    def _why_not(self, task_id: str) -> Exception | None:
        try:
            self._services.tasks.record(self._principal, task_id)
        except Exception as err:  # a damaged database fails in many ways; each is told
            return err
        return None
