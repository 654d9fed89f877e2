"""What the stream says next and what an answer means; no socket, no thread, no clock.

One thread owns a `StreamState`. It is told what callers want (``submit``, ``watch``, ...), that a
connection opened, and what arrived; it hands out messages to send, and calls the sinks it was given.
What was sent and not acknowledged is kept, and `connected` arranges for all that matters to be said
again: unacknowledged submits under the same task ids, groups from their cursor, watches, follows
and cancels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from funcx_lab.errors import (
    FuncxLabError,
    NotAuthenticated,
    NotAuthorized,
    ProtocolError,
    ServiceUnavailable,
    StorageFull,
    TooManyRequests,
    error_from_document,
)
from funcx_lab.protocol.stream import (
    Cancelled,
    CancelTasks,
    ClientMessage,
    Failed,
    Follow,
    NewTask,
    OutcomeItem,
    Outcomes,
    ServiceMessage,
    Submit,
    Submitted,
    Subscribe,
    TaskEvents,
    Unfollow,
    Watch,
)
from funcx_lab.sinks import CancelSink, EventSink, TaskSink
from funcx_lab.submit_queue import Route, SubmitQueue, cost

#: Ids in one `Watch` or `CancelTasks`.
IDS_AT_ONCE = 10_000


@dataclass(slots=True)
class _Task:
    group_id: str
    sink: TaskSink
    sent: bool = False
    accepted: bool = False


@dataclass(slots=True)
class _Group:
    cursor: int = 0
    waiting: int = 0
    subscribed: bool = False


@dataclass(slots=True)
class _Follower:
    position: int
    sink: EventSink


@dataclass(slots=True)
class _CancelCall:
    sink: CancelSink
    task_ids: list[str]
    done: frozenset[str]


@dataclass
class StreamState:
    """Everything one stream knows.

    Attributes
    ----------
    freed : int
        Bytes of tasks that need no more room since the caller last set it to 0.
    resend_pending : bool
        The service was too busy for some submits; call `resend` after a pause.
    """

    freed: int = 0
    resend_pending: bool = False
    _open: bool = False
    _requests: int = 0
    _tasks: dict[str, _Task] = field(default_factory=dict)
    _groups: dict[str, _Group] = field(default_factory=dict)
    _unsent: SubmitQueue = field(default_factory=SubmitQueue)
    _in_flight: dict[int, Submit] = field(default_factory=dict)
    _watched: dict[str, list[TaskSink]] = field(default_factory=dict)
    _followed: dict[str, list[_Follower]] = field(default_factory=dict)
    _cancels: dict[int, _CancelCall] = field(default_factory=dict)
    _outbox: deque[ClientMessage] = field(default_factory=deque)
    _refused_for_now: list[int] = field(default_factory=list)

    # --- what callers want ------------------------------------------------------------------------

    def submit(self, route: Route, task: NewTask, sink: TaskSink) -> None:
        """Take a new task."""
        group = self._groups.get(route.group_id) or self._groups.setdefault(route.group_id, _Group())
        group.waiting += 1
        self._tasks[task.task_id] = _Task(route.group_id, sink)
        self._unsent.put(route, task)
        if not group.subscribed:
            self._subscribe(route.group_id, group)

    def watch(self, task_id: str, sink: TaskSink) -> None:
        """Tell ``sink`` how a task ended that was submitted elsewhere."""
        self._watched.setdefault(task_id, []).append(sink)
        if self._open:
            self._outbox.append(Watch([task_id]))

    def unwatch(self, task_id: str, sink: TaskSink) -> None:
        """Stop telling ``sink``."""
        sinks = [other for other in self._watched.pop(task_id, ()) if other is not sink]
        if sinks:
            self._watched[task_id] = sinks

    def follow(self, task_id: str, after: int, sink: EventSink) -> None:
        """Tell ``sink`` a task's events behind ``after``."""
        self._followed.setdefault(task_id, []).append(_Follower(after, sink))
        if self._open and self._is_known(task_id):
            self._outbox.append(Follow(task_id, after))

    def unfollow(self, task_id: str, sink: EventSink) -> None:
        """Stop telling ``sink``."""
        followers = self._followed.get(task_id, [])
        followers[:] = [follower for follower in followers if follower.sink is not sink]
        if not followers and self._followed.pop(task_id, None) is not None and self._open:
            self._outbox.append(Unfollow(task_id))

    def cancel(self, task_ids: Sequence[str], sink: CancelSink) -> None:
        """Cancel tasks; those that were never sent end here and now."""
        here = frozenset(task_id for task_id in task_ids if self._drop_unsent(task_id))
        elsewhere = [task_id for task_id in task_ids if task_id not in here]
        if not elsewhere:
            sink.answer(here)
            return
        request = self._next_request()
        self._cancels[request] = _CancelCall(sink, elsewhere, here)
        if self._open:
            self._outbox.append(CancelTasks(request, elsewhere))

    # --- the connection ---------------------------------------------------------------------------

    def connected(self) -> None:
        """Say everything again that the other side must know."""
        self._open = True
        self._outbox.clear()
        self._refused_for_now.clear()
        self.resend_pending = False
        for group_id, group in self._groups.items():
            group.subscribed = False
            if group.waiting:
                self._subscribe(group_id, group)
        self._outbox.extend(self._in_flight.values())
        watched = list(self._watched)
        for start in range(0, len(watched), IDS_AT_ONCE):
            self._outbox.append(Watch(watched[start : start + IDS_AT_ONCE]))
        for task_id in self._followed:
            if self._is_known(task_id):
                self._follow(task_id)
        for request, call in self._cancels.items():
            self._outbox.append(CancelTasks(request, call.task_ids))

    def disconnected(self) -> None:
        """Send nothing until `connected`."""
        self._open = False
        self._outbox.clear()
        for group in self._groups.values():
            group.subscribed = False

    def resend(self) -> None:
        """Send again what the service was too busy for."""
        self._outbox.extend(self._in_flight[request] for request in self._refused_for_now)
        self._refused_for_now.clear()
        self.resend_pending = False

    def next_message(self) -> ClientMessage | None:
        """Return what to send now, or None. Runs of tasks with one route leave as one `Submit`."""
        if not self._open:
            return None
        if self._outbox:
            return self._outbox.popleft()
        return self._next_submit()

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not (self._tasks or self._watched or self._followed or self._cancels)

    @property
    def unacknowledged(self) -> bool:
        """Whether some task is not known to be on the service's disk."""
        return bool(self._unsent or self._in_flight)

    # --- what arrived -----------------------------------------------------------------------------

    def receive(self, message: ServiceMessage) -> None:
        """Act on a message.

        Raises
        ------
        NotAuthenticated, NotAuthorized, ProtocolError
            If the service says that this stream cannot go on.
        """
        if isinstance(message, Outcomes):
            for request in message.submitted:
                self._submitted(Submitted(request))
            for item in message.items:
                self._end(item)
        elif isinstance(message, Submitted):
            self._submitted(message)
        elif isinstance(message, TaskEvents):
            self._events(message)
        elif isinstance(message, Cancelled):
            self._cancelled(message)
        else:
            self._failed(message)

    def fail_all(self, error: FuncxLabError) -> None:
        """Tell everyone who waits that nothing will come."""
        tasks, watched = list(self._tasks.values()), list(self._watched.values())
        followed, cancels = list(self._followed.values()), list(self._cancels.values())
        for submit in self._in_flight.values():
            self.freed += sum(cost(task) for task in submit.tasks)
        self.freed += self._unsent.clear()
        for table in (
            self._tasks,
            self._watched,
            self._followed,
            self._cancels,
            self._in_flight,
            self._groups,
        ):
            table.clear()
        self._outbox.clear()
        for sink in [task.sink for task in tasks] + [sink for sinks in watched for sink in sinks]:
            sink.fail(error)
        for follower in [follower for followers in followed for follower in followers]:
            follower.sink.fail(error)
        for call in cancels:
            call.sink.fail(error)

    # --- details ----------------------------------------------------------------------------------

    def _next_request(self) -> int:
        self._requests += 1
        return self._requests

    def _subscribe(self, group_id: str, group: _Group) -> None:
        if self._open:
            group.subscribed = True
            self._outbox.append(Subscribe(group_id, group.cursor))

    def _next_submit(self) -> Submit | None:
        route, tasks, dropped = self._unsent.next_run(self._tasks.__contains__)
        self.freed += dropped
        if route is None:
            return None
        for task in tasks:
            self._tasks[task.task_id].sent = True
        submit = Submit(
            self._next_request(), route.endpoint, route.function_id, route.group_id, tasks, route.options
        )
        self._in_flight[submit.request] = submit
        return submit

    def _is_known(self, task_id: str) -> bool:
        """Whether the service can know the task: it was submitted elsewhere, or acknowledged."""
        entry = self._tasks.get(task_id)
        return entry is None or entry.accepted

    def _follow(self, task_id: str) -> None:
        position = min(follower.position for follower in self._followed[task_id])
        self._outbox.append(Follow(task_id, position))

    def _drop_unsent(self, task_id: str) -> bool:
        entry = self._tasks.get(task_id)
        if entry is None or entry.sent:
            return False
        self._forget(task_id)
        entry.sink.ended_by_cancel()
        for follower in self._followed.pop(task_id, ()):
            follower.sink.push((), last=True)
        return True

    def _forget(self, task_id: str) -> _Task | None:
        entry = self._tasks.pop(task_id, None)
        if entry is not None:
            self._groups[entry.group_id].waiting -= 1
        return entry

    def _end(self, item: OutcomeItem) -> None:
        entry = self._forget(item.task_id)
        if entry is not None:
            # Only tasks of ours move the cursor: a watched task's outcome may overtake its group's.
            group = self._groups[entry.group_id]
            group.cursor = max(group.cursor, item.cursor)
            entry.sink.finish(item)
        for sink in self._watched.pop(item.task_id, ()):
            sink.finish(item)

    def _submitted(self, message: Submitted) -> None:
        submit = self._in_flight.pop(message.request, None)
        if submit is None:
            return
        for refusal in message.refused:
            self._refuse(refusal.task_id, error_from_document(refusal.error))
        for task in submit.tasks:
            self.freed += cost(task)
            if (entry := self._tasks.get(task.task_id)) is not None:
                entry.accepted = True
                entry.sink.accepted()
            if task.task_id in self._followed:
                self._follow(task.task_id)

    def _refuse(self, task_id: str, error: FuncxLabError) -> None:
        if (entry := self._forget(task_id)) is not None:
            entry.sink.fail(error)
        for follower in self._followed.pop(task_id, ()):
            follower.sink.fail(error)

    def _events(self, message: TaskEvents) -> None:
        followers = self._followed.get(message.task_id, [])
        if message.last:
            self._followed.pop(message.task_id, None)
        for follower in followers:
            fresh = [item for item in message.events if item[0] > follower.position]
            if fresh:
                follower.position = fresh[-1][0]
            if fresh or message.last:
                follower.sink.push(fresh, message.last)

    def _cancelled(self, message: Cancelled) -> None:
        call = self._cancels.pop(message.request, None)
        for task_id in message.task_ids:
            if (entry := self._forget(task_id)) is not None:
                entry.sink.ended_by_cancel()
        if call is not None:
            call.sink.answer(call.done.union(message.task_ids))

    def _failed(self, message: Failed) -> None:
        error = error_from_document(message.error)
        if message.request in self._in_flight:
            self._submit_failed(message.request, error)
        elif (call := self._cancels.pop(message.request, None)) is not None:
            call.sink.fail(error)
        elif message.task_id:
            for sink in self._watched.pop(message.task_id, ()):
                sink.fail(error)
            for follower in self._followed.pop(message.task_id, ()):
                follower.sink.fail(error)
        elif isinstance(error, (NotAuthenticated, NotAuthorized, ProtocolError)):
            raise error

    def _submit_failed(self, request: int, error: FuncxLabError) -> None:
        busy = isinstance(error, (TooManyRequests, ServiceUnavailable)) and not isinstance(error, StorageFull)
        if busy:
            self._refused_for_now.append(request)
            self.resend_pending = True
            return
        submit = self._in_flight.pop(request)
        for task in submit.tasks:
            self.freed += cost(task)
            self._refuse(task.task_id, error)
