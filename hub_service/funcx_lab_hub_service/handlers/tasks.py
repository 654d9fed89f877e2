"""Tasks: list, look at, wait, result, events, cancel."""

from __future__ import annotations

import msgspec

from funcx_lab.errors import InvalidRequest, TaskPending
from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.handlers.base import Handler
from funcx_lab_hub_service.searching import TaskQuery

#: A request may wait this many seconds for a task to end.
WAIT_LIMIT_S = 60.0
_PAGE, _TEXT_LIMIT = 1000, 200


class CancelRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which tasks to cancel."""

    task_ids: list[str]


class TaskListHandler(Handler):
    """A user's tasks, newest first."""

    async def get(self) -> None:
        """Answer one page; ``before`` is the ``next`` of the page before."""
        limit = int(self.number("limit", 100, 1, _PAGE))
        before = int(self.number("before", 0, 0, 2**53))
        order = self.get_query_argument("order", "newest")
        if order not in ("newest", "oldest"):
            raise InvalidRequest(f"order={order[:40]!r} must be newest or oldest.")
        endpoint = self.get_query_argument("endpoint", "") or None
        if endpoint is not None:
            endpoint = self.services.endpoints.resolve(self.principal, endpoint).endpoint_id
        query = TaskQuery(
            self.principal.user,
            group_id=self.get_query_argument("group", "") or None,
            endpoint_id=endpoint,
            states=self._states(),
            text=self.get_query_argument("text", "")[:_TEXT_LIMIT],
            oldest=order == "oldest",
        )
        records, following = await self.services.tasks.page(query, limit, before or None)
        self.answer({"tasks": [record.as_document() for record in records], "next": following})

    def _states(self) -> frozenset[TaskState] | None:
        names = self.get_query_arguments("state")
        try:
            return frozenset(TaskState(name) for entry in names for name in entry.split(",")) or None
        except ValueError as err:
            known = ", ".join(state.value for state in TaskState)
            raise InvalidRequest(f"{err}; the states are {known}.") from err


class TaskHandler(Handler):
    """One task."""

    async def get(self, task_id: str) -> None:
        """Answer the task's record, at its end or after ``wait`` seconds if that is asked for."""
        wait_s = self.number("wait", 0.0, 0.0, WAIT_LIMIT_S)
        tasks = self.services.tasks
        record = tasks.record(self.principal, task_id)
        if wait_s:
            await tasks.wait(self.principal, [task_id], wait_s)
            record = tasks.record(self.principal, task_id)
        self.answer(record.as_document())


class ResultHandler(Handler):
    """The outcome of one task, as the stream would tell it."""

    def get(self, task_id: str) -> None:
        """Answer the outcome in msgpack."""
        tasks = self.services.tasks
        state = tasks.record(self.principal, task_id).state
        outcome = tasks.outcome(self.principal, task_id)
        if outcome is None:
            raise TaskPending(f"Task {task_id} has not ended; it is {state}.")
        self.set_header("Content-Type", "application/msgpack")
        self.finish(msgspec.msgpack.encode(outcome))


class EventsHandler(Handler):
    """The log of one task."""

    def get(self, task_id: str) -> None:
        """Answer a page of events behind ``after``, and whether the log is complete with it."""
        after = int(self.number("after", 0, 0, 2**53))
        tasks = self.services.tasks
        ended = tasks.record(self.principal, task_id).state.is_final
        events = tasks.events_after(self.principal, task_id, after, _PAGE)
        self.answer(
            {
                "events": [
                    [seq, {"time": event.time, "kind": event.kind, "data": event.data}]
                    for seq, event in events
                ],
                "ended": ended and len(events) < _PAGE,
            }
        )


class CancelHandler(Handler):
    """Cancel tasks."""

    async def post(self) -> None:
        """Answer which of the tasks are cancelled now; the others had ended."""
        request = self.body(CancelRequest)
        cancelled = await self.services.tasks.cancel(self.principal, request.task_ids)
        self.services.audit.cancelled(self.principal.user, cancelled)
        self.answer({"cancelled": cancelled})


routes = [
    ("/v3/tasks", TaskListHandler),
    ("/v3/tasks/cancel", CancelHandler),
    ("/v3/tasks/{task_id}", TaskHandler),
    ("/v3/tasks/{task_id}/result", ResultHandler),
    ("/v3/tasks/{task_id}/events", EventsHandler),
]
