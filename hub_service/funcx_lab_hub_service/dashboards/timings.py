"""Where the time of a call goes: one task of each message is timed through all stages.

Every stage is the difference of two readings of one clock, or of two such differences, so clocks that
disagree do no harm: the client and the agent tell how long they *held* the task, never when.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from funcx_lab.protocol.messages import ResultItem, TaskItem
    from funcx_lab_hub_service.store.outcomes import Ended

#: The stages, in the order in which a call passes them, with what each is.
STAGES = {
    "SDK": "waiting at the client until it was sent",
    "service": "from the client's message to the dispatch",
    "link": "between service and agent, both ways",
    "engine": "at the endpoint, but not in the function",
    "execution": "in the function",
    "return": "from the result's coming, through its commit, to the client's socket",
}
#: So many tasks are timed at once; while there are more, new ones are not. One that is out for longer
#: than so many seconds makes room for another.
OPEN_LIMIT, OPEN_S = 5000, 3600.0
#: Timed calls that are kept for each owner, and owners.
KEPT, OWNERS = 500, 500


@dataclass(frozen=True, slots=True)
class Timed:
    """One call: ``stages`` in seconds, in the order of `STAGES`; ``ended`` in Unix seconds."""

    task_id: str
    endpoint_id: str
    ended: float
    stages: tuple[float, ...]

    @property
    def total(self) -> float:
        """Seconds from the client to the client."""
        return sum(self.stages)


@dataclass(slots=True)
class _Open:
    came: float
    waited: float
    left: float | None = None
    back: float | None = None
    held: float = 0.0


class Timings:
    """Times tasks on their way."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._done: OrderedDict[str, deque[Timed]] = OrderedDict()

    def submitted(self, task_id: str, waited_s: float) -> None:
        """Begin to time a task that has just come."""
        now = time.monotonic()
        if len(self._open) >= OPEN_LIMIT:
            oldest = next(iter(self._open))
            if now - self._open[oldest].came < OPEN_S:
                return
            del self._open[oldest]
        self._open[task_id] = _Open(now, waited_s if 0 < waited_s < OPEN_S else 0.0)

    def dispatched(self, items: Sequence[TaskItem]) -> None:
        """Note when timed tasks leave for their endpoint; a second time counts, the first was for nothing."""
        if self._open:
            now = time.monotonic()
            for item in items:
                if (timed := self._open.get(item.task_id)) is not None:
                    timed.left = now

    def arrived(self, results: Sequence[ResultItem]) -> None:
        """Note when results of timed tasks come."""
        if self._open:
            now = time.monotonic()
            for result in results:
                if (timed := self._open.get(result.task_id)) is not None and timed.back is None:
                    timed.back, timed.held = now, result.held_s

    def ended(self, ended: Sequence[Ended]) -> list[tuple[Ended, _Open]]:
        """Take out the tasks that ended; hand them to `told` when their clients were told."""
        if not self._open:
            return []
        opened = ((end, self._open.pop(end.item.task_id, None)) for end in ended)
        return [(end, timed) for end, timed in opened if timed is not None]

    def told(self, ended: list[tuple[Ended, _Open]]) -> None:
        """Keep the times of tasks whose clients have just been told."""
        now = time.monotonic()
        for end, timed in ended:
            stages = _stages(end, timed, now)
            if stages is None:
                continue
            kept = self._done.setdefault(end.owner, deque(maxlen=KEPT))
            self._done.move_to_end(end.owner)
            kept.append(Timed(end.item.task_id, end.item.endpoint_id, end.item.times[2], stages))
        while len(self._done) > OWNERS:
            self._done.popitem(last=False)

    def of(self, owner: str, endpoint_id: str | None) -> list[Timed]:
        """Return the owner's timed calls, oldest first."""
        kept = self._done.get(owner, ())
        return [timed for timed in kept if endpoint_id is None or timed.endpoint_id == endpoint_id]


def _stages(end: Ended, timed: _Open, told: float) -> tuple[float, ...] | None:
    """Return the stages; None of a task that did not run through them (cancelled, reused, an old agent)."""
    _, started, ended = end.item.times
    if timed.left is None or timed.back is None or not timed.held > 0 or not 0 < started <= ended:
        return None
    execution = ended - started
    away = timed.back - timed.left
    held = min(timed.held, away)
    engine = max(0.0, held - execution)
    stages = (timed.waited, timed.left - timed.came, away - held, engine, held - engine, told - timed.back)
    return tuple(max(0.0, stage) for stage in stages)
