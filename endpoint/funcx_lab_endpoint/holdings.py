"""What the agent holds for the hub service: accepted tasks, outcomes and losses until acknowledged.

Kept in memory. With the agent its holdings end, so their identity (`Holdings.spool`) is new in each life.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from funcx_lab.protocol.messages import Event, EventBatch, Outcome, TaskItem
from funcx_lab_endpoint.engine.contract import CallStarted


@dataclass(slots=True)
class EventLog:
    """The events of one execution that the hub service has not acknowledged.

    Attributes
    ----------
    execution : str
        Whose events.
    first : int
        Number of the first event kept.
    sent : int
        Events below this number were sent in the present session.
    """

    execution: str
    first: int = 0
    sent: int = 0
    kept: list[Event] = field(default_factory=list)

    def append(self, first: int, events: list[Event]) -> None:
        """Add events ``first``, ``first + 1``, ...; those already known are skipped."""
        known = self.first + len(self.kept) - first
        self.kept.extend(events[max(known, 0) :])

    def acknowledge(self, below: int) -> None:
        """Forget the events below number ``below``."""
        count = min(max(below - self.first, 0), len(self.kept))
        del self.kept[:count]
        self.first += count
        self.sent = max(self.sent, self.first)

    def batch(self, task_id: str, start: int) -> EventBatch | None:
        """Return the events from number ``start`` on; None if there are none."""
        events = self.kept[start - self.first :]
        return EventBatch(task_id, self.execution, start, events) if events else None


@dataclass(slots=True)
class Holding:
    """One task from its acceptance to the acknowledgement of its outcome.

    Attributes
    ----------
    item : TaskItem
        The task as it came; ``tag`` below may be newer than the one in it.
    tag : int
        The lease under which facts about the task are sent.
    call_tag : int or None
        The lease under which the engine was given the call; None before that.
    orphan_since : float or None
        When the hub service said that it does not know this task (monotonic seconds).
    """

    item: TaskItem
    tag: int
    call_tag: int | None = None
    started: CallStarted | None = None
    log: EventLog | None = None
    outcome: Outcome | None = None
    #: the engine is done, the result's file is on its way to the hub service
    uploading: bool = False
    orphan_since: float | None = None

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.item.task_id

    def log_of(self, execution: str) -> EventLog:
        """Return the event log of ``execution``; the log of an earlier one is dropped for it."""
        if self.log is None or self.log.execution != execution:
            self.log = EventLog(execution)
        return self.log


@dataclass(frozen=True, slots=True)
class Loss:
    """An execution whose worker died; told until acknowledged."""

    task_id: str
    tag: int
    execution: str
    evidence: str


class Holdings:
    """All of the agent's holdings.

    Parameters
    ----------
    spool : str
        Identity of this set of holdings; at-most-once tasks are never run again from another one.
    """

    def __init__(self, spool: str) -> None:
        self.spool = spool
        self.losses: dict[tuple[str, str], Loss] = {}
        self._tasks: dict[str, Holding] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Holding]:
        return iter(list(self._tasks.values()))

    def get(self, task_id: str) -> Holding | None:
        """Return the holding of a task, or None."""
        return self._tasks.get(task_id)

    def add(self, item: TaskItem) -> Holding:
        """Hold a new task."""
        holding = self._tasks[item.task_id] = Holding(item, item.tag)
        return holding

    def rebind(self, holding: Holding, tag: int) -> None:
        """Put a held task under a newer lease."""
        holding.tag = tag
        holding.orphan_since = None

    def finish(self, holding: Holding, outcome: Outcome) -> None:
        """Keep the outcome of a task until `drop`."""
        holding.outcome = outcome

    def lose(self, holding: Holding, execution: str, evidence: str) -> Loss:
        """Replace a task by the report that its execution was lost."""
        loss = Loss(holding.task_id, holding.tag, execution, evidence)
        self.losses[loss.task_id, execution] = loss
        self.drop(holding)
        return loss

    def drop(self, holding: Holding) -> None:
        """Forget a task."""
        self._tasks.pop(holding.task_id, None)

    def inventory(self) -> list[tuple[str, int]]:
        """Return every task held with its lease."""
        return [(holding.task_id, holding.tag) for holding in self._tasks.values()]
