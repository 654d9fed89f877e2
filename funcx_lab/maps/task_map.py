"""A map over items at an endpoint: futures of its items, and the map as a whole."""

from __future__ import annotations

import concurrent.futures
import html
import time
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from funcx_lab.looks import short
from funcx_lab.maps.items import Calls, ItemFuture, MapTask
from funcx_lab.maps.progress import Failures, Progress
from funcx_lab.maps.watch import MapWatch

T = TypeVar("T")
M = TypeVar("M", bound="TaskMap[Any]")


class TaskMap(Sequence["concurrent.futures.Future[T]"], Generic[T]):
    """A function mapped over items: a sequence of the items' futures, in order.

    Its tasks belong to the hub service; ``FuncXClient.get_map`` finds them again by ``group_id``.

    Parameters
    ----------
    calls : Calls
        What computes items.
    group_id : str
        The group of its tasks, which has no others.
    tasks : sequence of MapTask
        The tasks; each item has one that answers for it.
    label, endpoint : str
        For people.
    created : float, optional
        When it began (Unix seconds); now if left out.
    """

    def __init__(
        self,
        calls: Calls,
        group_id: str,
        tasks: Sequence[MapTask],
        *,
        label: str = "",
        endpoint: str = "",
        created: float | None = None,
    ) -> None:
        self.group_id = group_id
        self.label = label
        self.endpoint = endpoint
        self.created = time.time() if created is None else created
        self._calls = calls
        self._tasks = list(tasks)
        self._task_of = {item: task for task in tasks for item in task.items}
        self._futures: dict[int, concurrent.futures.Future[T]] = {}
        self._watch = MapWatch(calls.connection, group_id)

    # --- the items --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._task_of)

    @overload
    def __getitem__(self, index: int) -> concurrent.futures.Future[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[concurrent.futures.Future[T]]: ...
    def __getitem__(
        self, index: int | slice
    ) -> concurrent.futures.Future[T] | Sequence[concurrent.futures.Future[T]]:
        if isinstance(index, slice):
            return [self[item] for item in range(*index.indices(len(self)))]
        item = range(len(self))[index]
        future = self._futures.get(item)
        if future is None:
            task = self._task_of[item]
            future = task.future if task.span.size == 1 else ItemFuture(task, item)
            self._futures[item] = future
        return future

    @property
    def tasks(self) -> list[MapTask]:
        """The tasks that answer for the items."""
        return list(self._tasks)

    def task_of(self, item: int) -> MapTask:
        """Return the task that answers for an item."""
        return self._task_of[item]

    def value(self, raw: Any) -> T:
        """Return the value of an item of what its call returned."""
        return raw  # type: ignore[no-any-return]  # a cell's map makes something else of it

    def done_results(self) -> dict[int, T]:
        """Return the values of the items that have ended well so far, by their numbers; does not wait."""
        return {item: self.value(raw) for item, raw in self.raw_results().items()}

    def raw_results(self) -> dict[int, Any]:
        """Return what the calls of those items returned."""
        return {item: raw for item, (raw, error) in self._outcomes() if error is None}

    def failures(self) -> Failures:
        """Return the items that have failed so far, to their exceptions; does not wait."""
        return Failures(
            (item, error)
            for task in list(self._tasks)
            for item in task.failed()
            if (error := task.outcome(item)[1]) is not None
        )

    def describe(self, failures: Failures) -> str:
        """Return in words and lines what failed: counts by type, the first in full."""
        return repr(failures)

    def results(self, timeout: float | None = None, *, no_raise: bool = False) -> list[T]:
        """Wait for all items and return their values, in order.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; for ever if left out.
        no_raise : bool
            Put the exception of a failed item in the place of its value.

        Raises
        ------
        concurrent.futures.TimeoutError
            If not all have ended by then; they go on.
        TransportError
            If a large result cannot be fetched now.
        Exception
            What the first failed item raised; a note on it counts the others.
        """
        if not self.wait(timeout):
            ended = self.tally().ended
            raise concurrent.futures.TimeoutError(
                f"{ended} of {len(self)} items have ended within {timeout:g} s; the others go on. "
                "done_results() gives those."
            )
        outcomes = dict(self._outcomes())
        failures = Failures((item, error) for item, (_, error) in outcomes.items() if error is not None)
        if failures and not no_raise:
            raise self._noted(failures)
        return [
            cast("T", self.value(raw) if error is None else error)
            for _, (raw, error) in sorted(outcomes.items())
        ]

    def _outcomes(self) -> Iterator[tuple[int, tuple[Any, BaseException | None]]]:
        for task in list(self._tasks):
            if task.done():
                for item in task.items:
                    yield item, task.outcome(item)

    def _noted(self, failures: Failures) -> BaseException:
        first = min(failures)
        error = failures[first]
        note = (
            f"item {first} of a map; of {len(self)} items {len(failures)} failed: {failures.words()}. "
            "failures() has all, done_results() what ended well, retry_failed() runs those again."
        )
        if hasattr(error, "add_note") and note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        return error

    # --- the whole --------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether all items have ended."""
        return all(task.done() for task in self._tasks)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all items have ended; False if that takes longer than ``timeout`` seconds."""
        return not concurrent.futures.wait([task.future for task in self._tasks], timeout).not_done

    def as_completed(self, timeout: float | None = None) -> Iterator[concurrent.futures.Future[T]]:
        """Yield the items' futures as they end; ``index`` of the map gives an item's number.

        Raises
        ------
        concurrent.futures.TimeoutError
            If not all have ended after ``timeout`` seconds.
        """
        return concurrent.futures.as_completed(self, timeout)

    def wait_accepted(self, timeout: float | None = None) -> bool:
        """Wait until its tasks are on the hub service's disk, or refused; False if it takes longer.

        Raises
        ------
        FuncxLabError
            Why the hub service refused one.
        """
        end = None if timeout is None else time.monotonic() + timeout
        for task in list(self._tasks):
            left = None if end is None else max(0.0, end - time.monotonic())
            if not task.future.wait_accepted(left):
                return False
            if task.future.refusal is not None:
                raise task.future.refusal
        return True

    def cancel(self) -> int:
        """Cancel the items that have not ended, also those that run; return how many are cancelled now.

        Raises
        ------
        TransportError
            If the hub service does not answer.
        """
        open_tasks = {task.future.task_id: task for task in self._tasks if not task.done()}
        if not open_tasks:
            return 0
        cancelled = self._calls.connection.stream.cancel(list(open_tasks))
        for task_id in cancelled:
            open_tasks[task_id].future.ended_by_cancel()
        return sum(len(open_tasks[task_id].items) for task_id in cancelled)

    def retry_failed(self: M) -> M:
        """Compute the items again that have failed so far, as new tasks of the same map; return the map.

        Raises
        ------
        TaskNotFound
            If the hub service does not have the calls any more.
        TransportError
            If the hub service does not answer.
        """
        failed = sorted(item for task in self._tasks for item in task.failed())
        for task in self._calls.again(self.group_id, failed, len(self)):
            moved = frozenset(task.items)
            for old in {self._task_of[item] for item in moved}:
                old.items = [item for item in old.items if item not in moved]
            for item in moved:
                self._task_of[item] = task
                self._futures.pop(item, None)
            self._tasks.append(task)
        self._tasks = [task for task in self._tasks if task.items]
        return self

    # --- how it looks -----------------------------------------------------------------------------

    @property
    def progress(self) -> Progress:
        """How many items are where; asks the hub service what runs, at most once a second."""
        self._watch.ask([task for task in self._tasks if not task.done()])
        return self.tally()

    def tally(self) -> Progress:
        """Return how many items are where, as far as is known here."""
        ended: list[MapTask] = []
        unfinished: list[MapTask] = []
        for task in list(self._tasks):
            (ended if task.done() else unfinished).append(task)
        failed = sum(len(task.failed()) for task in ended)
        done = sum(len(task.items) for task in ended) - failed
        running = [task for task in unfinished if task.future.task_id in self._watch.running]
        return Progress(done, failed, sum(len(task.items) for task in running), len(self))

    @property
    def seconds(self) -> float:
        """Seconds from its beginning to its end, or to now."""
        tasks = list(self._tasks)
        end = max((task.ended for task in tasks), default=self.created) if self.done() else time.time()
        return end - self.created

    def line(self) -> str:
        """Return its progress as one line."""
        return self.progress.line(self.seconds, self.note())

    def note(self) -> str:
        """Return what failed, or what it waits for; ``""`` if there is nothing to say."""
        failures = self.failures()
        return failures.words() if failures else "" if self.done() else self._watch.note

    def __repr__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        where = f" on {self.endpoint}" if self.endpoint else ""
        return f"<TaskMap {short(self.group_id)} {self.line()}{where}{label}>"

    def _repr_html_(self) -> str:
        failures = self.failures()
        details = f"<pre>{html.escape(self.describe(failures))}</pre>" if failures else ""
        note = "" if failures else self.note()
        about = " · ".join(filter(None, [self.label, f"on {self.endpoint}", f"map {self.group_id}", note]))
        return self.progress.html(self.seconds, about, details)
