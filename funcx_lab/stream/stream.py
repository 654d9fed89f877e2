"""What callers see of a stream: methods that hand commands to its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol.stream import NewTask
from funcx_lab.sinks import CancelAnswer, EventSink, TaskSink
from funcx_lab.stream.loop import Loop
from funcx_lab.stream.state import IDS_AT_ONCE, StreamState
from funcx_lab.stream.submit_queue import Route, cost
from funcx_lab.transport import Transport

#: How long to wait for an answer to a cancel, in seconds.
ANSWER_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 2.0


class Stream:
    """One stream to one hub service; see `open_stream`. All methods may be called from any thread.

    Callers append to a deque and wake the thread. The thread sends whatever has gathered while it was
    sending, so a loop of submits leaves in few messages and a single one waits for nothing. It keeps
    connecting for as long as somebody waits for something. It never touches an event loop.

    Parameters
    ----------
    transport : Transport
        Knows the service's address and finds it again.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._reset()

    def _reset(self) -> None:
        self._loop = Loop(self.transport)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def error(self) -> FuncxLabError | None:
        """Why the stream ended for good, or None; `open_stream` makes a new one then."""
        return self._loop.error

    @property
    def busy(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self.error is None

    def submit(self, route: Route, task: NewTask, sink: TaskSink) -> None:
        """Send a task; waits only while too much is unacknowledged.

        Raises
        ------
        FuncxLabError
            If the stream has ended for good: why.
        """
        self._loop.room.reserve(cost(task), self._may_not_wait)
        self._say(StreamState.submit, route, task, sink)

    def watch(self, task_id: str, sink: TaskSink) -> None:
        """Tell ``sink`` how a task ends that was submitted elsewhere. Raises as `submit`."""
        self._say(StreamState.watch, task_id, sink)

    def unwatch(self, task_id: str, sink: TaskSink) -> None:
        """Tell ``sink`` no more. Raises as `submit`."""
        self._say(StreamState.unwatch, task_id, sink)

    def follow(self, task_id: str, after: int, sink: EventSink) -> None:
        """Tell ``sink`` the task's events behind ``after``. Raises as `submit`."""
        self._say(StreamState.follow, task_id, after, sink)

    def unfollow(self, task_id: str, sink: EventSink) -> None:
        """Tell ``sink`` no more. Raises as `submit`."""
        self._say(StreamState.unfollow, task_id, sink)

    def cancel(self, task_ids: Sequence[str], timeout: float = ANSWER_TIMEOUT_S) -> frozenset[str]:
        """Cancel tasks and return the ids of those that are cancelled now.

        In the stream's own thread (a done-callback) it cannot wait: all ids are returned.

        Raises
        ------
        ServiceTimeout
            If the service does not answer within ``timeout`` seconds.
        FuncxLabError
            If the stream has ended for good: why.
        """
        deadline = time.monotonic() + timeout
        parts = [task_ids[start : start + IDS_AT_ONCE] for start in range(0, len(task_ids), IDS_AT_ONCE)]
        answers = [CancelAnswer() for _ in parts]
        for part, answer in zip(parts, answers, strict=True):
            self._say(StreamState.cancel, list(part), answer)
        if self._is_own_thread():
            return frozenset(task_ids)
        return frozenset().union(*(answer.wait(deadline - time.monotonic()) for answer in answers))

    def flush(self, timeout: float) -> bool:
        """Wait until every task submitted so far is on the service's disk; False if it takes longer.

        Tasks that a process which is gone had submitted and not handed over count, too. In the stream's
        own thread it cannot wait.
        """
        if self.error is not None:
            return False
        done = threading.Event()
        self._say(self._loop.flush, done)
        return not self._is_own_thread() and done.wait(timeout)

    def close(self) -> None:
        """End the thread and the connection; whoever still waits gets a `UsageError`."""
        self._loop.closing = True
        if (thread := self._thread) is not None:
            self._loop.inbox.ring()
            if not self._is_own_thread():
                thread.join(timeout=_CLOSE_TIMEOUT_S)

    def abandon(self) -> None:
        """Start anew in a forked child; the parent's tasks are the parent's."""
        self._loop.abandon(was_running=self.busy)
        self._reset()

    def _say(self, *command: Any) -> None:
        loop = self._loop
        if loop.error is not None:
            raise loop.error
        loop.inbox.put(command)
        if self._thread is None:
            self._start()
        elif (error := self.error) is not None:  # the thread ended between the first look and the append
            loop.fail_everything(error)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._loop.inbox.open()
                self._thread = threading.Thread(target=self._loop.run, name="funcx-lab-stream", daemon=True)
                self._thread.start()

    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _may_not_wait(self) -> bool:
        # A done-callback must not wait for its own thread.
        return self.error is not None or self._is_own_thread()
