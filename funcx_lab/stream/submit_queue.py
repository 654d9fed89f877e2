"""Tasks on their way to the stream, taken out in runs that travel together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.stream import NewTask

#: A run ends at this many bytes or tasks. Far below STREAM_LIMIT: one is read while the next is made.
RUN_BYTES = 1024 * 1024
RUN_TASKS = 2000
#: What a task costs beside its payload, in bytes.
TASK_BYTES = 200


class Route(NamedTuple):
    """What tasks must share to travel together."""

    endpoint: str
    function_id: str
    group_id: str
    options: TaskOptions | None = None


class SubmitQueue:
    """Tasks that were never sent, in order."""

    def __init__(self) -> None:
        self._tasks: deque[tuple[Route, NewTask, float]] = deque()
        self._withdrawn: set[str] = set()
        #: when the first task of the last run was put in
        self.first_put = 0.0

    def __len__(self) -> int:
        return len(self._tasks)

    def put(self, route: Route, task: NewTask, now: float = 0.0) -> None:
        """Append a task at ``now`` (seconds by the clock of `first_put`)."""
        self._tasks.append((route, task, now))

    def put_back(self, route: Route, tasks: Sequence[NewTask], now: float = 0.0) -> None:
        """Put tasks before all others."""
        self._tasks.extendleft((route, task, now) for task in reversed(tasks))

    def withdraw(self, task_id: str) -> None:
        """Take out a task that is in line; it comes out nowhere."""
        self._withdrawn.add(task_id)

    def next_run(self, is_wanted: Callable[[str], bool]) -> tuple[Route | None, list[NewTask], list[NewTask]]:
        """Take out the next tasks that share a route.

        Parameters
        ----------
        is_wanted : callable
            Whether the task of an id is still to be sent.

        Returns
        -------
        route, tasks, dropped
            ``route`` is None if there are no tasks; ``dropped`` are those that are not wanted any more.
        """
        route: Route | None = None
        run: list[NewTask] = []
        dropped: list[NewTask] = []
        nbytes = 0
        while self._tasks and len(run) < RUN_TASKS:
            next_route, task, put = self._tasks[0]
            if task.task_id in self._withdrawn:
                self._withdrawn.remove(task.task_id)
            elif not is_wanted(task.task_id):
                dropped.append(task)
            elif route is None or (
                (next_route is route or next_route == route) and nbytes + cost(task) <= RUN_BYTES
            ):
                if route is None:
                    self.first_put = put
                route = next_route
                nbytes += cost(task)
                run.append(task)
            else:
                break
            self._tasks.popleft()
        return route, run, dropped

    def clear(self) -> list[NewTask]:
        """Forget all tasks and return them."""
        tasks = [task for _, task, _ in self._tasks if task.task_id not in self._withdrawn]
        self._tasks.clear()
        self._withdrawn.clear()
        return tasks


def cost(task: NewTask) -> int:
    """Return how much room a task takes until it is acknowledged, in bytes."""
    return len(task.payload) + TASK_BYTES
