"""The tasks of a map and the futures of its items."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from funcx_lab.connection import Connection
from funcx_lab.errors import FuncxLabError, TaskCancelled, TransportError
from funcx_lab.futures import TaskFuture
from funcx_lab.maps.plan import Span
from funcx_lab.protocol.states import TaskState
from funcx_lab.serialize import ItemOutcomes

T = TypeVar("T")


class MapTask:
    """One task of a map.

    Parameters
    ----------
    span : Span
        The items that it computes.
    future : TaskFuture
        Its future.
    ended : float, optional
        When it ended, if that is long ago (Unix seconds).

    Attributes
    ----------
    items : sequence of int
        The items it answers for; those that a later task computed again are missing.
    ended : float
        When it ended; 0 if it has not.
    """

    def __init__(self, span: Span, future: TaskFuture[Any], ended: float = 0.0) -> None:
        self.span = span
        self.future = future
        self.items: Sequence[int] = range(span.first, span.first + span.size)
        self.ended = ended
        self._opened: ItemOutcomes | None = None
        self._known: dict[int, tuple[Any, BaseException | None]] = {}
        future.add_done_callback(self._note_end)

    def _note_end(self, _: object) -> None:
        self.ended = self.ended or time.time()

    def done(self) -> bool:
        """Whether it has ended."""
        return self.future.done()

    def failed(self) -> list[int]:
        """Return the items that failed, of those it answers for; none before it has ended."""
        if not self.done():
            return []
        if self.span.size == 1:  # known without opening the result, which may be large
            return [] if self.future.state() is TaskState.SUCCESS else list(self.items)
        try:
            errors = self._outcomes().errors
        except TransportError:  # nobody can tell now
            return []
        except Exception:  # the whole task failed, with whatever error
            return list(self.items)
        return [item for item in self.items if errors[item - self.span.first] is not None]

    def outcome(self, item: int, timeout: float | None = 0) -> tuple[Any, BaseException | None]:
        """Return the value of one item, or its exception.

        Raises
        ------
        concurrent.futures.TimeoutError
            If the task has not ended within ``timeout`` seconds.
        TransportError
            If a large result cannot be fetched now.
        """
        concurrent.futures.wait([self.future], timeout)
        if not self.future.done():
            raise concurrent.futures.TimeoutError
        try:
            if self.span.size == 1:
                return self.future.result(0), None
            if item not in self._known:
                self._known[item] = self._outcomes().open(item - self.span.first)
            return self._known[item]
        except TransportError:
            raise
        except Exception as err:  # what the function raised, or became of the task
            return None, err

    def _outcomes(self) -> ItemOutcomes:
        if self._opened is None:
            result = self.future.result(0)
            if not isinstance(result, ItemOutcomes) or len(result) != self.span.size:
                raise FuncxLabError(f"Task {self.future.task_id} did not return its {self.span.size} items.")
            self._opened = result
        return self._opened


class Calls(Protocol):
    """What can compute items of a map again."""

    connection: Connection

    def again(self, group_id: str, items: Sequence[int], total: int) -> Iterable[MapTask]:
        """Send tasks that compute these items again."""


class ItemFuture(concurrent.futures.Future[T], Generic[T]):
    """The future of one item of a map that shares its task with others.

    Parameters
    ----------
    task : MapTask
        The task.
    item : int
        The item's number.
    """

    def __init__(self, task: MapTask, item: int) -> None:
        super().__init__()
        self._task = task
        self.item = item
        task.future.add_done_callback(self._task_ended)

    @property
    def task(self) -> MapTask:
        """The task that computes it."""
        return self._task

    @property
    def task_id(self) -> str:
        """The id of its task."""
        return self._task.future.task_id

    def result(self, timeout: float | None = None) -> T:
        """Return the item's value; parameters and errors as `TaskFuture.result`."""
        value, error = self._task.outcome(self.item, timeout)
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]  # what came back

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what `result` would raise, or None."""
        error = self._task.outcome(self.item, timeout)[1]
        if isinstance(error, TaskCancelled):
            raise error
        return error

    def running(self) -> bool:
        """Whether a worker is in the item's task now (asks the hub service)."""
        return self._task.future.running()

    def cancel(self) -> bool:
        """Return whether the item is cancelled; it shares its task, which ``TaskMap.cancel`` cancels."""
        return self.cancelled()

    def __repr__(self) -> str:
        return f"<Item {self.item} of {self._task.future!r}>"

    def _task_ended(self, task: concurrent.futures.Future[Any]) -> None:
        if task.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
            return
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.set_result(None)  # type: ignore[arg-type]  # stands for the outcome until it is asked for
