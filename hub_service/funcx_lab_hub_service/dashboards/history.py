"""What the dashboards show without asking the store: in memory, bounded, gathered all the time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from funcx_lab.protocol.states import EndpointState
from funcx_lab_hub_service.dashboards.scaling_log import ScalingLog
from funcx_lab_hub_service.dashboards.tallies import Tallies, Tally
from funcx_lab_hub_service.dashboards.timings import Timings
from funcx_lab_hub_service.observer import Observer

if TYPE_CHECKING:
    from funcx_lab.protocol.messages import ErrorInfo, ResultItem, TaskItem
    from funcx_lab.protocol.stream import NewTask
    from funcx_lab_hub_service.conditions import Condition
    from funcx_lab_hub_service.store.outcomes import Ended

#: Ids of ended tasks that wait to be looked up for an owner who looks; of more only the newest count.
NEWS_LIMIT = 2000


#: Characters of an exception's name that count.
_NAME = 60


def kind_of(error: ErrorInfo) -> str:
    """Return what a failure counts as: the exception's type if the function raised one, else our code."""
    return error.type[:_NAME] if error.code == "TASK_FAILED" and error.type else error.code


class History(Observer):
    """Looks on, and remembers for the dashboards.

    Parameters
    ----------
    clock : callable
        Unix seconds.

    Attributes
    ----------
    news : dict
        Ids of tasks that have ended, for each owner who looks; whoever takes them empties the deque.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.tallies = Tallies()
        self.scaling = ScalingLog()
        self.timings = Timings()
        self.news: dict[str, deque[str]] = {}

    def submitted(self, tasks: Sequence[NewTask], waited_s: float) -> None:
        """Time the first task of each message."""
        if tasks:
            self.timings.submitted(tasks[0].task_id, waited_s)

    def dispatched(self, items: Sequence[TaskItem]) -> None:
        """Note when the timed ones leave."""
        self.timings.dispatched(items)

    def arrived(self, results: Sequence[ResultItem]) -> None:
        """Note when the timed ones are back."""
        self.timings.arrived(results)

    def ended(self, ended: Sequence[Ended]) -> None:
        """Count them."""
        now = self._clock()
        tallies: dict[tuple[str, str], Tally] = {}
        for end in ended:
            item = end.item
            key = (end.owner, item.endpoint_id)
            tally = tallies.get(key)
            if tally is None:
                tally = tallies[key] = self.tallies.now(*key, now)
            code = "" if item.error is None else kind_of(item.error)
            returned = len(item.payload) if item.object is None else item.object.size
            tally.count(item.state, code, end.size, returned)
            if end.owner in self.news:
                self.news[end.owner].append(item.task_id)
        if timed := self.timings.ended(ended):
            # Streams flush in callbacks of this turn that stand in line before this one.
            asyncio.get_running_loop().call_soon(self.timings.told, timed)

    def conditioned(self, endpoint_id: str, condition: Condition) -> None:
        """Note how large the endpoint is."""
        self.scaling.note(
            endpoint_id,
            self._clock(),
            online=condition.state is EndpointState.ONLINE,
            reason=condition.reason or condition.waiting_reason,
            status=condition.details,
        )
