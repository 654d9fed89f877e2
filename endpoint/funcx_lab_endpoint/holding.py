"""One task at the agent, the output of its execution, and a lost execution."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from funcx_lab.protocol.messages import Event, EventBatch, Outcome, TaskItem, TaskOptions
from funcx_lab_endpoint.engine.contract import CallStarted

_NO_OPTIONS = TaskOptions()


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


@dataclass(frozen=True, slots=True)
class Transfer:
    """A result whose payload is a file; it stays until the hub service has acknowledged the outcome."""

    path: Path
    outcome: Outcome
    #: whether the file would outlive a power cut
    is_safe: bool = False


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
        The lease under which the engine was given the call; None while it has not got it.
    handed : bool
        An at_most_once call that may have left for the engine, in this life or an earlier one.
    tries : int
        Runs that ended in a failure and were followed by another one.
    deaths : list of str
        Executions that were in the user's function when their agent died.
    upload : Transfer or None
        The engine is done; until there is an outcome, the file is on its way to the hub service.
    orphan_since : float or None
        When the hub service said that it does not know this task (monotonic seconds).
    """

    item: TaskItem
    tag: int
    task_id: str = field(init=False)
    #: what the user asked of the call
    options: TaskOptions = field(init=False)
    call_tag: int | None = None
    handed: bool = False
    tries: int = 0
    deaths: list[str] = field(default_factory=list)
    started: CallStarted | None = None
    log: EventLog | None = None
    upload: Transfer | None = None
    outcome: Outcome | None = None
    orphan_since: float | None = None
    #: when it came, monotonic seconds; None if that was in an earlier life of the agent
    came: float | None = None

    def __post_init__(self) -> None:
        self.task_id = self.item.task_id
        self.options = self.item.options or _NO_OPTIONS

    @property
    def execution(self) -> str | None:
        """The last execution, None before the first."""
        return self.log.execution if self.log is not None else None

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
