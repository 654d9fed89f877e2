"""A notebook's tasks: the object that a background cell gives, and how a word finds one."""

from __future__ import annotations

import concurrent.futures
import logging
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import FuncxLabError, TaskNotFound, UsageError
from funcx_lab.protocol.messages import Event
from funcx_lab.protocol.states import TaskState
from funcx_lab_magics.page.display import TaskView, short
from funcx_lab_magics.page.failures import remote
from funcx_lab_magics.results import deliver

if TYPE_CHECKING:
    from funcx_lab import FuncXClient, TaskFuture

log = logging.getLogger(__name__)

#: A follower of a silent task is woken this often (seconds).
TICK_S = 0.25
#: A cell waits so long to hear that the hub service has its task (seconds).
ACCEPTANCE_S = 60.0
#: Hex digits that an output's metadata give of a SHA-256.
HASH_SHOWN = 12
#: The outcome of a task that has ended is waited for so long, for its size (seconds).
OUTCOME_S = 2.0
#: A beginning or end of a task id is looked up among so many of the newest tasks.
LOOKED_UP = 1000


@dataclass(frozen=True)
class Home:
    """The notebook that tasks belong to.

    Attributes
    ----------
    namespace : dict
        Its names.
    say : callable
        Shows one line in it.
    """

    namespace: dict[str, Any]
    say: Callable[[str], None]


class Task:
    """One cell at an endpoint: what ``%%funcx -b`` gives and ``%funcx`` works on.

    Parameters
    ----------
    client : FuncXClient
        Where it was submitted.
    view : TaskView
        What is known of it.
    home : Home
        The notebook its names go to when its result is fetched.
    future : TaskFuture, optional
        Its future, when this notebook submitted it.
    """

    def __init__(
        self,
        client: FuncXClient,
        view: TaskView,
        home: Home,
        future: TaskFuture[Any] | None = None,
    ) -> None:
        self.client = client
        self.view = view
        self._home = home
        self._future = future

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.view.task_id

    @property
    def endpoint(self) -> str:
        """Name of the endpoint."""
        return self.view.endpoint

    @property
    def state(self) -> str:
        """Where the task is, in funcX's spelling; asks the hub service unless the task has ended."""
        self.refresh()
        return self.view.state

    @property
    def reason(self) -> str:
        """Why it is there, for people."""
        self.refresh()
        return self.view.reason

    def refresh(self) -> None:
        """Ask the hub service how the task is, unless it has ended."""
        if not self.view.is_final:
            self.view.update(self.record())

    def learn_ending(self) -> None:
        """Take in the hub service's record of a task that has ended, if the service answers."""
        try:
            self.view.update(self.record())
        except FuncxLabError:
            log.debug("No record of task %s", self.task_id, exc_info=True)
        environment = self.client.connection.environments.get(self.endpoint).environment
        if environment is not None:
            self.view.hashes["environment"] = environment.hash[:HASH_SHOWN]
        if self._future is not None and self.view.is_final:
            # Its outcome may be a moment behind its last event.
            if not self._future.done():
                concurrent.futures.wait([self._future], OUTCOME_S)
            self.view.size = self._future.outcome_bytes

    def record(self) -> dict[str, Any]:
        """Return the hub service's record of the task."""
        return self.client.connection.record(self.task_id)

    @property
    def is_refused(self) -> bool:
        """Whether the hub service never took the task."""
        return self._future is not None and self._future.refusal is not None

    def done(self) -> bool:
        """Return whether the task has ended."""
        self.refresh()
        return self.view.is_final

    def wait_accepted(self) -> None:
        """Wait, but not for ever, until the hub service has the task.

        Raises
        ------
        FuncxLabError
            Why it refused the task.
        """
        if self._future is not None:
            self._future.wait_accepted(ACCEPTANCE_S)
            if self._future.refusal is not None:
                raise self._future.refusal

    def follow(self) -> Iterator[Event | None]:
        """Yield the task's events from its first until it ends; None now and then while it is silent."""
        with self.client.follow(self.task_id) as events:
            while True:
                try:
                    item = events.get(timeout=TICK_S)
                except queue.Empty:
                    yield None
                    continue
                if item is None:
                    return
                yield item[1]

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the task, bring its names into the notebook and return its value.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; for ever if left out.

        Raises
        ------
        concurrent.futures.TimeoutError
            If it has not ended by then; it goes on.
        Exception
            What the cell raised, or a `TaskError` that says why there is no value.
        """
        try:
            outcome = self._outcome(timeout)
        except Exception as err:  # shown as it happened there; whatever the cell raised
            raise self._explained(err) from None
        self.view.move(TaskState.SUCCESS, time.time())
        return deliver(outcome, self._home.namespace, self._home.say)

    def _outcome(self, timeout: float | None) -> Any:
        if self._future is not None:
            return self._future.result(timeout)
        return self.client.task(self.task_id).result(timeout)

    def _explained(self, error: Exception) -> BaseException:
        if self.done():
            record = self.record()
            failure = record.get("error") or {}
            host = (record.get("worker") or {}).get("host")
            where = f"on {self.endpoint}{f' ({host})' if host else ''}, task {short(self.task_id)}"
            return remote(error, str(failure.get("traceback") or ""), where)
        return error

    def logs(self) -> str:
        """Return what the task has written so far, stdout and stderr together."""
        texts: list[str] = []
        after = 0
        while True:
            path, query = f"/v3/tasks/{self.task_id}/events", {"after": after}
            events = self.client.connection.transport.json("GET", path, query=query)["events"]
            texts += [str(event["data"]) for _, event in events if event["kind"] in ("stdout", "stderr")]
            if not events:
                return "".join(texts)
            after = events[-1][0]

    def cancel(self) -> bool:
        """Cancel the task, also while it runs; return False if it had already ended."""
        return self.client.connection.cancel(self.task_id)

    def __repr__(self) -> str:
        return self.view.line()

    def _repr_html_(self) -> str:
        return self.view.card()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        return self.view.bundle(), self.view.metadata()


class NotebookTasks:
    """The tasks of one notebook since its kernel started, and the way to any other of the user's.

    Parameters
    ----------
    home : Home
        The notebook.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._tasks: dict[str, Task] = {}

    def __iter__(self) -> Iterator[Task]:
        return iter([task for task in self._tasks.values() if not task.is_refused])

    def add(
        self,
        client: FuncXClient,
        future: TaskFuture[Any],
        endpoint: str,
        label: str,
        outputs: Sequence[str] = (),
    ) -> Task:
        """Remember a task that was just submitted, and the names it is expected to leave."""
        view = TaskView(future.task_id, endpoint, label, outputs=outputs)
        task = Task(client, view, self._home, future)
        self._tasks[task.task_id] = task
        return task

    def find(self, client: FuncXClient, word: str) -> Task:
        """Return the task that ``last``, an id, its beginning or its end stands for.

        Raises
        ------
        UsageError
            If the word fits several tasks, or there is no last one.
        TaskNotFound
            If it fits none.
        """
        if word == "last":
            mine = list(self)
            if not mine:
                raise UsageError(
                    "No cell ran at an endpoint since this kernel started, and no output in the notebook's "
                    "file names an earlier task. %funcx tasks lists yours; give the id of one, or its end."
                )
            return mine[-1]
        word = word.strip("…")
        found = [task for task in self if fits(word, task.task_id)]
        if len(found) == 1:
            return found[0]
        return self._elsewhere(client, word)

    def _elsewhere(self, client: FuncXClient, word: str) -> Task:
        """Look among all of the user's tasks."""
        is_whole = len(word) == 36
        records = [client.connection.record(word)] if is_whole else client.get_tasks(limit=LOOKED_UP)
        records = [record for record in records if fits(word, record["task_id"])]
        if not records:
            raise TaskNotFound(f"None of your last {LOOKED_UP} tasks is {word!r}; %funcx tasks lists them.")
        if len(records) > 1:
            raise UsageError(f"{len(records)} tasks fit {word!r}; give more of the id.")
        return self._of(client, records[0])

    def _of(self, client: FuncXClient, record: Mapping[str, Any]) -> Task:
        view = TaskView(record["task_id"], "")
        view.update(record)
        return Task(client, view, self._home)

    def remember(self, client: FuncXClient, records: Sequence[Mapping[str, Any]]) -> None:
        """Take in tasks from before the kernel started, oldest first; they come before all others."""
        earlier = {str(record["task_id"]): self._of(client, record) for record in records}
        self._tasks = {**earlier, **self._tasks}


def fits(word: str, task_id: str) -> bool:
    """Whether a word is the beginning or the end of an id."""
    return bool(word) and (task_id.startswith(word) or task_id.endswith(word))
