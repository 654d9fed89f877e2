"""The future of one task: a `concurrent.futures.Future` that knows its task."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import html
import threading
from collections.abc import Generator
from typing import Any, Generic, Protocol, TypeVar

from funcx_lab import looks
from funcx_lab.errors import FuncxLabError, TaskCancelled, TaskError
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import OutcomeItem

T = TypeVar("T")


class Backend(Protocol):
    """What a future needs of whoever made it."""

    @property
    def alias(self) -> str:
        """The hub service's name, for people."""

    def open(self, item: OutcomeItem) -> tuple[Any, BaseException | None]:
        """Return the task's value or its exception; raise only what another try may mend."""

    def cancel(self, task_id: str) -> bool:
        """Ask the hub service to cancel the task; whether it is cancelled now."""

    def state(self, task_id: str) -> TaskState:
        """Ask the hub service for the task's state."""

    def refused(self, error: FuncxLabError) -> None:
        """Hear why the task was not taken."""


class TaskFuture(concurrent.futures.Future[T], Generic[T]):
    """The future of one task.

    It completes in the SDK's stream thread, as do its done-callbacks: keep those short and do not wait
    for other tasks in them. The result is decoded (and fetched, if large) by the first who asks for it.

    Parameters
    ----------
    task_id : str
        The task.
    endpoint : str
        Name or id, for people.
    backend : Backend
        Who cancels and decodes.

    Attributes
    ----------
    task_id : str
        Known at once; any client of the same user can ask for the task by it.
    refusal : FuncxLabError or None
        Why the hub service did not take the task, or why it cannot be heard of any more.
    """

    # Here rather than in __init__, which is called for each task of a loop.
    refusal: FuncxLabError | None = None
    #: bytes of the outcome, 0 while there is none
    outcome_bytes: int = 0
    #: Unix seconds at which the service got the task, it started and it ended; 0 if that is not known
    times: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _seen: str = "pending"
    _item: OutcomeItem | None = None
    _is_accepted: bool = False
    _acceptance: threading.Event | None = None

    def __init__(self, task_id: str, endpoint: str, backend: Backend) -> None:
        super().__init__()
        self.task_id = task_id
        self.endpoint = endpoint
        self._backend = backend
        self._opening = threading.Lock()

    @property
    def backend(self) -> Backend:
        """Who cancels and decodes."""
        return self._backend

    # --- for whoever waits ------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> T:
        """Return the task's value.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for the task to end; for ever if left out.

        Raises
        ------
        concurrent.futures.TimeoutError
            If the task has not ended by then; it goes on.
        TaskCancelled
            If it was cancelled.
        Exception
            What the function raised, as its original type if that can be rebuilt here; a `TaskError`
            if the task was lost; a `TransportError` if a large result cannot be fetched now.
        """
        self._wait_and_open(timeout)
        try:
            return super().result(0)
        finally:
            self = None  # type: ignore[assignment]  # no cycle through the exception's traceback, as in the base class

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what `result` would raise, or None; parameters and errors as there."""
        self._wait_and_open(timeout)
        return super().exception(0)

    def cancel(self) -> bool:
        """Cancel the task, also when it runs.

        Returns
        -------
        bool
            Whether it is cancelled now; False if it had already ended. In a done-callback, which
            cannot wait for the answer, True says that it was asked for.

        Raises
        ------
        TransportError
            If the hub service does not answer.
        """
        if self.done():
            return self.cancelled()
        if not self._backend.cancel(self.task_id):
            return False
        self.ended_by_cancel()
        return self.cancelled()

    def running(self) -> bool:
        """Whether a worker is in the function now (asks the hub service)."""
        return not self.done() and self.state() is TaskState.RUNNING

    def state(self) -> TaskState:
        """Return the task's state, asking the hub service unless the task has ended.

        Raises
        ------
        TransportError
            If the hub service does not answer.
        """
        if not self.done():
            self._seen = self._backend.state(self.task_id).value if self._is_accepted else "received"
        return TaskState(self._seen)

    def wait_accepted(self, timeout: float | None = None) -> bool:
        """Wait until the task is on the hub service's disk, or refused, or ended; False if it takes longer.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if left out.
        """
        if self._acceptance is None:
            self._acceptance = threading.Event()
        # Looked at after the event is in place: whoever sets the flag then sees the event.
        if self._is_accepted or self.done():
            return True
        return self._acceptance.wait(timeout)

    def __await__(self) -> Generator[Any, None, T]:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def tell(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_wake, ended)

        self.add_done_callback(tell)
        yield from ended
        if self._item is not None and self._item.object is not None:
            # A large result: fetch it beside the loop.
            return (yield from loop.run_in_executor(None, self.result).__await__())
        return self.result()

    def __repr__(self) -> str:
        return f"<Task …{self.task_id[-8:]} {self._seen} on {self.endpoint or 'its endpoint'}>"

    def _repr_html_(self) -> str:
        where = html.escape(self.endpoint or "its endpoint")
        return looks.block(
            f"<div>{looks.state_html(self._seen)} on {where} · <code>{html.escape(self.task_id)}</code></div>"
        )

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        facts = {"task_id": self.task_id, "endpoint": self.endpoint}
        shown = {**facts, "state": self._seen, "service": self._backend.alias}
        return looks.task_bundle(repr(self), self._repr_html_(), shown), {"funcx": facts}

    # --- for the stream (a TaskSink) --------------------------------------------------------------

    def accepted(self) -> None:
        """Hear that the hub service has the task on its disk."""
        self._is_accepted = True
        if self._seen == "pending":
            self._seen = TaskState.RECEIVED.value
        if self._acceptance is not None:
            self._acceptance.set()

    def finish(self, item: OutcomeItem) -> None:
        """Hear how the task ended."""
        if item.state == TaskState.CANCELLED.value:
            self.ended_by_cancel()
            return
        self._seen, self._item, self.times = item.state, item, item.times
        self.outcome_bytes = item.object.size if item.object is not None else len(item.payload)
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            if item.state == TaskState.SUCCESS.value:
                self.set_result(None)  # type: ignore[arg-type]  # stands for the value until it is opened
            else:
                self.set_exception(_NOT_OPENED)
        self.accepted()

    def ended_by_cancel(self) -> None:
        """Hear that the task is cancelled."""
        with self._opening:
            if not self.done() and super().cancel():
                self._seen = TaskState.CANCELLED.value
                self.set_running_or_notify_cancel()
        self.accepted()

    def fail(self, error: FuncxLabError) -> None:
        """Hear that no outcome will come."""
        self._seen, self.refusal = TaskState.FAILED.value, error
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.set_exception(error)
        self._backend.refused(error)
        self.accepted()

    # --- details ----------------------------------------------------------------------------------

    def _wait_and_open(self, timeout: float | None) -> None:
        try:
            super().exception(timeout)
        except concurrent.futures.CancelledError:
            raise TaskCancelled(f"Task {self.task_id} was cancelled.") from None
        if self._item is None:
            return
        with self._opening:
            if self._item is not None:
                self._result, self._exception = self._backend.open(self._item)
                self._item = None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


#: Stands for a task's exception until it is opened.
_NOT_OPENED = TaskError()
