"""One look at the store for all pages of an owner, and no look for pages that nobody sees."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.dashboards.history import NEWS_LIMIT, History
from funcx_lab_hub_service.facts import visible_state
from funcx_lab_hub_service.store import overview, recent
from funcx_lab_hub_service.store.recent import RecentTask
from funcx_lab_hub_service.store.records import STATES

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.dashboards.scaling_log import Size, Step
    from funcx_lab_hub_service.dashboards.tallies import Tally
    from funcx_lab_hub_service.dashboards.timings import Timed
    from funcx_lab_hub_service.endpoints import Endpoints
    from funcx_lab_hub_service.store.database import Database

#: Pages of one owner share what was read so many seconds ago or less.
FRESH_S = 0.45
#: Reading for one owner may take this part of the time: a long queue is counted less often.
SHARE = 0.05
#: Ended tasks kept for an owner who looks, and new ones looked up at once; running ones shown.
TASKS, NEW_AT_ONCE, RUNNING_SHOWN = 1000, 500, 300
#: What is kept for an owner is dropped when nobody has looked for so many seconds.
FORGET_S = 60.0


@dataclass(slots=True)
class _Window:
    """What was read for one owner."""

    ended: deque[RecentTask] = field(default_factory=lambda: deque(maxlen=TASKS))
    running: list[RecentTask] = field(default_factory=list)
    queue: list[tuple[str, int, int]] = field(default_factory=list)
    looked: float = 0.0
    next_read: float = 0.0


class Sampler:
    """Reads for the dashboards.

    Parameters
    ----------
    database : Database
        Where the tasks are.
    endpoints : Endpoints
        Which ones somebody may see.
    history : History
        What was gathered in memory.
    clock : callable
        Unix seconds.

    Attributes
    ----------
    reads : int
        How often the store was read.
    """

    def __init__(
        self,
        database: Database,
        endpoints: Endpoints,
        history: History,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self.history = history
        self.clock = clock
        self.reads = 0
        self._windows: dict[str, _Window] = {}

    def view(self, principal: Principal, endpoint_id: str | None = None) -> View:
        """Return what ``principal`` may see now, of one endpoint or of all."""
        return View(self, principal, endpoint_id, self.clock())

    def window(self, owner: str) -> _Window:
        """Return what is known of an owner's tasks, read anew if that is old."""
        now = time.monotonic()
        window = self._windows.get(owner)
        if window is None:
            window = self._windows[owner] = _Window()
            self.history.news[owner] = deque(maxlen=NEWS_LIMIT)
            found = recent.select_ended(self._database.reader, owner, TASKS)
            window.ended.extend(sorted(found, key=_end))
            asyncio.get_running_loop().call_later(FORGET_S, self._forget, owner)
        window.looked = now
        if now >= window.next_read:
            self._read(owner, window)
            window.next_read = now + max(FRESH_S, (time.monotonic() - now) / SHARE)
        return window

    def _read(self, owner: str, window: _Window) -> None:
        self.reads += 1
        reader, news = self._database.reader, self.history.news[owner]
        if news:
            newest = list(news)[-NEW_AT_ONCE:]
            news.clear()
            known = {task.task_id for task in window.ended}
            found = recent.select_by_ids(reader, [each for each in newest if each not in known])
            window.ended.extend(sorted((task for task in found if task.state.is_final), key=_end))
        window.running = recent.select_running(reader, owner, RUNNING_SHOWN)
        window.queue = overview.live_counts(reader, owner)

    def _forget(self, owner: str) -> None:
        window = self._windows.get(owner)
        if window is None:
            return
        left = window.looked + FORGET_S - time.monotonic()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._forget, owner)
        else:
            del self._windows[owner], self.history.news[owner]

    def names(self, principal: Principal) -> dict[str, str]:
        """Return the endpoints that ``principal`` may see: id and name."""
        records = self._endpoints.list(principal)
        twice = {name for name in (r.name for r in records) if sum(r.name == name for r in records) > 1}
        return {
            record.endpoint_id: f"{record.owner}/{record.name}" if record.name in twice else record.name
            for record in records
        }

    def shown(self, endpoint_id: str, state: int) -> TaskState:
        """Return the state that people see for a stored one."""
        return visible_state(STATES[state], self._endpoints.condition(endpoint_id))[0]


@dataclass(slots=True)
class View:
    """What one page shows at ``now`` (Unix seconds): tasks of the principal's own, endpoints they may see.

    Attributes
    ----------
    endpoint_id : str or None
        Only of this endpoint.
    offset_s : float
        Seconds that the viewer's clock is ahead of UTC.
    """

    sampler: Sampler
    principal: Principal
    endpoint_id: str | None
    now: float
    offset_s: float = 0.0

    def at(self, moment: float) -> float:
        """Return a time (Unix seconds) as plots want it: milliseconds of the viewer's clock."""
        return (moment + self.offset_s) * 1000.0

    def clock(self, moment: float) -> str:
        """Return a time (Unix seconds) by the viewer's clock, with the day unless that is today's."""
        here, now = time.gmtime(moment + self.offset_s), time.gmtime(self.now + self.offset_s)
        return time.strftime("%H:%M:%S" if here[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", here)

    @property
    def ended(self) -> list[RecentTask]:
        """The newest ended tasks, by their end."""
        return [
            task for task in self.sampler.window(self.principal.user).ended if self._fits(task.endpoint_id)
        ]

    @property
    def running(self) -> list[RecentTask]:
        """The running tasks, newest first."""
        tasks = self.sampler.window(self.principal.user).running
        return [task for task in tasks if self._fits(task.endpoint_id)]

    @property
    def queues(self) -> dict[str, dict[TaskState, int]]:
        """How many live tasks are in which state, by endpoint id."""
        queues: dict[str, dict[TaskState, int]] = {}
        for endpoint_id, stored, n in self.sampler.window(self.principal.user).queue:
            if self._fits(endpoint_id):
                states = queues.setdefault(endpoint_id, {})
                state = self.sampler.shown(endpoint_id, stored)
                states[state] = states.get(state, 0) + n
        return queues

    @property
    def endpoints(self) -> dict[str, str]:
        """Id and name of the endpoints that are shown."""
        names = self.sampler.names(self.principal)
        return {key: name for key, name in names.items() if self._fits(key)}

    @property
    def timed(self) -> list[Timed]:
        """The timed calls, oldest first."""
        return self.sampler.history.timings.of(self.principal.user, self.endpoint_id)

    def tallies(self, span_s: float) -> list[Tally]:
        """Return what ended in the last ``span_s`` seconds."""
        tallies = self.sampler.history.tallies
        return tallies.since(self.principal.user, self.endpoint_id, self.now - span_s)

    def sizes(self, endpoint_id: str, span_s: float) -> list[Size]:
        """Return how large an endpoint was in the last ``span_s`` seconds."""
        return self.sampler.history.scaling.sizes(endpoint_id, self.now - span_s)

    def steps(self, endpoint_id: str, span_s: float) -> list[Step]:
        """Return an endpoint's steps of scaling in the last ``span_s`` seconds."""
        return self.sampler.history.scaling.steps(endpoint_id, self.now - span_s)

    def _fits(self, endpoint_id: str) -> bool:
        return self.endpoint_id is None or endpoint_id == self.endpoint_id


def _end(task: RecentTask) -> float:
    return task.ended or task.received
