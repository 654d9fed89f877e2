"""What a stream keeps of each group, task and cancel call that somebody waits for."""

from __future__ import annotations

from dataclasses import dataclass

from funcx_lab.protocol.stream import NewTask
from funcx_lab.sinks import CancelSink, TaskSink
from funcx_lab.stream.submit_queue import Route


@dataclass(slots=True)
class GroupEntry:
    """A task group."""

    cursor: int = 0
    waiting: int = 0
    subscribed: bool = False


@dataclass(slots=True)
class TaskEntry:
    """A task that has not ended.

    Attributes
    ----------
    group : GroupEntry or None
        None: nobody waits for its outcome.
    doubtful : bool
        Sent by an earlier process or connection, and not answered: the service may have it.
    """

    group: GroupEntry | None
    route: Route
    task: NewTask
    sink: TaskSink
    sent: bool = False
    doubtful: bool = False
    accepted: bool = False

    @property
    def runs_once(self) -> bool:
        """Whether it must not run again."""
        return self.route.options is not None and self.route.options.at_most_once


@dataclass(slots=True)
class CancelEntry:
    """A call that cancels tasks; those in ``done`` are cancelled already."""

    sink: CancelSink
    task_ids: list[str]
    done: frozenset[str]
