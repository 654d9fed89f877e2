"""What the stream says next and what an answer means; no socket, no thread, no clock.

One thread owns a `StreamState`. It is told what callers want (``submit``, ``watch``, ...), that a
connection opened, and what arrived; it hands out messages to send, and calls the sinks it was given.
What was sent and not acknowledged is kept, and `connected` arranges for all that matters to be said
again: unacknowledged submits under the same task ids, groups from their cursor, watches, follows
and cancels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from funcx_lab.errors import (
    EndpointLost,
    FuncxLabError,
    NotAuthenticated,
    NotAuthorized,
    ProtocolError,
    ServiceUnavailable,
    StoreDamaged,
    TaskGone,
    TaskNotFound,
    TooManyRequests,
    error_from_document,
)
from funcx_lab.protocol.stream import (
    Cancelled,
    CancelTasks,
    Check,
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
from funcx_lab.stream.entries import CancelEntry, GroupEntry, TaskEntry
from funcx_lab.stream.listeners import IDS_AT_ONCE, Listeners
from funcx_lab.stream.submit_queue import Route, SubmitQueue

__all__ = ["IDS_AT_ONCE", "StreamState"]


_FORGOTTEN = (
    "The hub service had acknowledged the task and has lost it, and nobody can say whether it ran; "
    "at_most_once forbids another run."
)


@dataclass
class StreamState:
    """Everything one stream knows.

    Attributes
    ----------
    taken : list of (Route, NewTask)
        Submitted since the caller last emptied the list; for the journal.
    settled : list of NewTask
        Acknowledged, refused for good or cancelled before they were sent, since the caller last emptied
        the list: they need no room and no journal any more.
    missing : list of (Route, NewTask)
        Acknowledged once and not known to the service any more, since the caller last emptied the list:
        they are sent again.
    doubts : bool
        The service may have been started again since: `connected` asks whether it has what it acknowledged.
    resend_pending : bool
        The service takes no tasks for now: none are sent until `resend`, which is called after a pause.
    refusal : FuncxLabError or None
        Its words, while that lasts. ``details["retry_after_s"]`` says how long the pause is to be at least.
    clock : callable
        Seconds, for how long tasks waited here.
    """

    taken: list[tuple[Route, NewTask]] = field(default_factory=list)
    settled: list[NewTask] = field(default_factory=list)
    missing: list[tuple[Route, NewTask]] = field(default_factory=list)
    doubts: bool = False
    resend_pending: bool = False
    refusal: FuncxLabError | None = None
    clock: Callable[[], float] = lambda: 0.0
    _open: bool = False
    _requests: int = 0
    _tasks: dict[str, TaskEntry] = field(default_factory=dict)
    _groups: dict[str, GroupEntry] = field(default_factory=dict)
    _unsent: SubmitQueue = field(default_factory=SubmitQueue)
    _in_flight: dict[int, Submit] = field(default_factory=dict)
    _listeners: Listeners = field(default_factory=Listeners)
    _cancels: dict[int, CancelEntry] = field(default_factory=dict)
    _outbox: deque[ClientMessage] = field(default_factory=deque)

    # --- what callers want ------------------------------------------------------------------------

    def submit(self, route: Route, task: NewTask, sink: TaskSink) -> None:
        """Take a new task."""
        group = self._groups.get(route.group_id) or self._groups.setdefault(route.group_id, GroupEntry())
        group.waiting += 1
        self._tasks[task.task_id] = TaskEntry(group, route, task, sink)
        self._unsent.put(route, task, self.clock())
        self.taken.append((route, task))
        if not group.subscribed:
            self._subscribe(route.group_id, group)

    def hand_over(self, route: Route, task: NewTask, sink: TaskSink) -> None:
        """Take a task that is in the journal; ``sink`` hears whether it is taken, not how it ends."""
        if task.task_id not in self._tasks:
            self._tasks[task.task_id] = TaskEntry(None, route, task, sink, doubtful=True)
            self._unsent.put(route, task, self.clock())

    def watch(self, task_id: str, sink: TaskSink) -> None:
        """Tell ``sink`` how a task ended that was submitted elsewhere."""
        self._listeners.watch(task_id, sink)
        if self._open and self._is_known(task_id):
            self._outbox.append(Watch([task_id]))

    def unwatch(self, task_id: str, sink: TaskSink) -> None:
        """Stop telling ``sink``."""
        self._listeners.unwatch(task_id, sink)

    def follow(self, task_id: str, after: int, sink: EventSink) -> None:
        """Tell ``sink`` a task's events behind ``after``."""
        self._listeners.follow(task_id, after, sink)
        if self._open and self._is_known(task_id):
            self._outbox.append(Follow(task_id, after))

    def unfollow(self, task_id: str, sink: EventSink) -> None:
        """Stop telling ``sink``."""
        if self._listeners.unfollow(task_id, sink) and self._open:
            self._outbox.append(Unfollow(task_id))

    def cancel(self, task_ids: Sequence[str], sink: CancelSink) -> None:
        """Cancel tasks; those that the service has not got end here and now."""
        here = frozenset(task_id for task_id in task_ids if self._drop_unsent(task_id))
        elsewhere = [task_id for task_id in task_ids if task_id not in here]
        if not elsewhere:
            sink.answer(here)
            return
        request = self._next_request()
        self._cancels[request] = CancelEntry(sink, elsewhere, here)
        if self._open:
            self._outbox.append(CancelTasks(request, elsewhere))

    # --- the connection ---------------------------------------------------------------------------

    def connected(self) -> None:
        """Say everything again that the other side must know."""
        self._open = True
        self._outbox.clear()
        for group_id, group in self._groups.items():
            group.subscribed = False
            if group.waiting:
                self._subscribe(group_id, group)
        self._outbox.extend(self._in_flight.values())
        if self.doubts:
            self.doubts = False
            self._check()
        self._outbox.extend(self._listeners.messages(self._is_known))
        for request, call in self._cancels.items():
            self._outbox.append(CancelTasks(request, call.task_ids))

    def disconnected(self) -> None:
        """Send nothing until `connected`."""
        self._open = False
        self._outbox.clear()
        for submit in self._in_flight.values():
            for task in submit.tasks:
                if (entry := self._tasks.get(task.task_id)) is not None:
                    entry.doubtful = True
        for group in self._groups.values():
            group.subscribed = False

    def resend(self) -> None:
        """Try again what the service refused for now: one message, and more when it takes that."""
        self.resend_pending = False

    def next_message(self) -> ClientMessage | None:
        """Return what to send now, or None. Runs of tasks with one route leave as one `Submit`."""
        if not self._open:
            return None
        if self._outbox:
            return self._outbox.popleft()
        if self.resend_pending or (self.refusal is not None and self._in_flight):
            return None
        return self._next_submit() if self._unsent else None

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not (self._tasks or self._in_flight or self._listeners or self._cancels)

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
                self._submitted(request, {})
            for item in message.items:
                self._end(item)
        elif isinstance(message, Submitted):
            refused = {item.task_id: error_from_document(item.error) for item in message.refused}
            self._submitted(message.request, refused)
        elif isinstance(message, TaskEvents):
            self._listeners.events(message)
        elif isinstance(message, Cancelled):
            self._cancelled(message)
        else:
            self._failed(message)

    def fail_all(self, error: FuncxLabError) -> None:
        """Tell everyone who waits that nothing will come."""
        tasks, cancels = list(self._tasks.values()), list(self._cancels.values())
        for submit in self._in_flight.values():
            self.settled += submit.tasks
        self.settled += self._unsent.clear()
        for table in (self._tasks, self._cancels, self._in_flight, self._groups):
            table.clear()
        self._outbox.clear()
        for task in tasks:
            task.sink.fail(error)
        self._listeners.fail_all(error)
        for call in cancels:
            call.sink.fail(error)

    # --- details ----------------------------------------------------------------------------------

    def _next_request(self) -> int:
        self._requests += 1
        return self._requests

    def _subscribe(self, group_id: str, group: GroupEntry) -> None:
        if self._open:
            group.subscribed = True
            self._outbox.append(Subscribe(group_id, group.cursor))

    def _check(self) -> None:
        """Ask whether the service has what it acknowledged: its disk may have been hurt meanwhile."""
        accepted = [task_id for task_id, entry in self._tasks.items() if entry.accepted]
        for start in range(0, len(accepted), IDS_AT_ONCE):
            self._outbox.append(Check(accepted[start : start + IDS_AT_ONCE]))

    def _next_submit(self) -> Submit | None:
        route, tasks, dropped = self._unsent.next_run(self._tasks.__contains__)
        self.settled += dropped
        if route is None:
            return None
        for task in tasks:
            self._tasks[task.task_id].sent = True
        submit = Submit(
            *(self._next_request(), route.endpoint, route.function_id, route.group_id, tasks, route.options),
            waited_s=self.clock() - self._unsent.first_put,
        )
        self._in_flight[submit.request] = submit
        return submit

    def _is_known(self, task_id: str) -> bool:
        """Whether the service can know the task: it was submitted elsewhere, or acknowledged."""
        entry = self._tasks.get(task_id)
        return entry is None or entry.accepted

    def _drop_unsent(self, task_id: str) -> bool:
        entry = self._tasks.get(task_id)
        if entry is None or entry.sent or entry.doubtful:
            return False
        self._forget(task_id)
        self._unsent.withdraw(task_id)
        self.settled.append(entry.task)  # now, not when its turn comes: the journal must not keep it
        entry.sink.ended_by_cancel()
        self._listeners.cancelled(task_id)
        return True

    def _forget(self, task_id: str) -> TaskEntry | None:
        entry = self._tasks.pop(task_id, None)
        if entry is not None and entry.group is not None:
            entry.group.waiting -= 1
        return entry

    def _end(self, item: OutcomeItem) -> None:
        entry = self._forget(item.task_id)
        if entry is not None:
            if entry.group is not None:
                # Only tasks of ours move the cursor: a watched task's outcome may overtake its group's.
                entry.group.cursor = max(entry.group.cursor, item.cursor)
            entry.sink.finish(item)
        self._listeners.ended(item)

    def _submitted(self, request: int, refused: dict[str, FuncxLabError]) -> None:
        submit = self._in_flight.pop(request, None)
        if submit is None:
            return
        accepted = submit.tasks
        if refused:
            accepted = [task for task in accepted if task.task_id not in refused]
            self._sort_out(submit, refused)
        elif self.refusal is not None and not self.resend_pending:
            self.refusal = None  # it takes tasks again
        self.settled += accepted
        for task in accepted:
            if (entry := self._tasks.get(task.task_id)) is not None:
                entry.accepted = True
                entry.sink.accepted()
                if entry.group is None:
                    self._forget(task.task_id)
        if self._open and self._listeners:
            for task in accepted:
                self._outbox.extend(self._listeners.messages_for(task.task_id))

    def _sort_out(self, submit: Submit, refused: dict[str, FuncxLabError]) -> None:
        """Fail what is refused for good; keep what is refused for now as if it had never been sent."""
        later: list[NewTask] = []
        for task in submit.tasks:
            error = refused.get(task.task_id)
            if error is None:
                continue
            if not _is_for_now(error):
                self.settled.append(task)
                self._refuse(task.task_id, error)
                continue
            later.append(task)
            self.refusal, self.resend_pending = error, True
            if (entry := self._tasks.get(task.task_id)) is not None:
                entry.sent = False
        route = Route(submit.endpoint, submit.function_id, submit.group_id, submit.options)
        self._unsent.put_back(route, later, self.clock())

    def _refuse(self, task_id: str, error: FuncxLabError) -> None:
        if (entry := self._forget(task_id)) is not None:
            entry.sink.fail(error)
        self._listeners.fail(task_id, error)

    def _cancelled(self, message: Cancelled) -> None:
        call = self._cancels.pop(message.request, None)
        for task_id in message.task_ids:
            if (entry := self._forget(task_id)) is not None:
                entry.sink.ended_by_cancel()
        if call is not None:
            # The service may not know a task because it has refused it for now.
            here = [task_id for task_id in call.task_ids if self._drop_unsent(task_id)]
            call.sink.answer(call.done.union(message.task_ids, here))

    def _failed(self, message: Failed) -> None:
        error = error_from_document(message.error)
        if (submit := self._in_flight.get(message.request)) is not None:
            self._submitted(message.request, dict.fromkeys((task.task_id for task in submit.tasks), error))
        elif (call := self._cancels.pop(message.request, None)) is not None:
            call.sink.fail(error)
        elif isinstance(error, TaskNotFound) and (entry := self._tasks.get(message.task_id)) is not None:
            if entry.accepted:
                self._missed(entry)
        elif isinstance(error, TaskGone):
            self._refuse(message.task_id, error)
        elif message.task_id:
            self._listeners.fail(message.task_id, error)
        elif isinstance(error, (NotAuthenticated, NotAuthorized, ProtocolError)):
            raise error

    def _missed(self, entry: TaskEntry) -> None:
        """Send a task again that the service has acknowledged and lost, unless it may run only once."""
        if entry.runs_once:
            self._refuse(entry.task.task_id, EndpointLost(_FORGOTTEN))
            return
        entry.accepted = entry.sent = False
        self._unsent.put(entry.route, entry.task, self.clock())
        self.missing.append((entry.route, entry.task))


def _is_for_now(error: FuncxLabError) -> bool:
    """Whether the service may take the task later. A damaged store waits for people."""
    return isinstance(error, (TooManyRequests, ServiceUnavailable)) and not isinstance(error, StoreDamaged)
