"""What `FuncXClient` and `Executor` share: submitting packed tasks and opening their outcomes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from funcx_lab.config import Service
from funcx_lab.environments.book import book_of
from funcx_lab.errors import (
    FunctionNotFound,
    FuncxLabError,
    MalformedMessage,
    RemoteError,
    TaskExpired,
    UsageError,
    error_from_document,
)
from funcx_lab.events import EventQueue
from funcx_lab.functions import Functions
from funcx_lab.futures import TaskFuture
from funcx_lab.identifiers import new_id
from funcx_lab.objects import download, upload
from funcx_lab.options import KEY_TO_COME
from funcx_lab.protocol.messages import ErrorInfo
from funcx_lab.protocol.payload import INLINE_LIMIT, Payload
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask, OutcomeItem, TaskCall
from funcx_lab.serialize import unpack_exception, unpack_value
from funcx_lab.stream import ANSWER_TIMEOUT_S, Stream, open_stream
from funcx_lab.stream.submit_queue import Route
from funcx_lab.transport import READ_TIMEOUT_S, Transport

#: The endpoint of a hub service that one person runs on a laptop.
LOCAL = "local"
_decode_outcome = msgspec.msgpack.Decoder(OutcomeItem).decode
_decode_call = msgspec.msgpack.Decoder(TaskCall).decode


class Connection:
    """One hub service as a client sees it: HTTP, stream, registered functions. Backend of its futures.

    Parameters
    ----------
    service : Service
        Which one.
    timeout : float, optional
        Seconds to wait for each piece of an HTTP answer.
    trust : bool
        Unpickle results of endpoints that other people own, too.
    """

    def __init__(self, service: Service, timeout: float | None = None, *, trust: bool = False) -> None:
        self.transport = Transport(service, READ_TIMEOUT_S if timeout is None else timeout)
        self.functions = Functions(self.transport)
        self.environments = book_of(self.transport)
        self.trust = trust
        self._stream: Stream | None = None

    @property
    def alias(self) -> str:
        """The hub service's name, for people."""
        return self.transport.service.alias

    @property
    def stream(self) -> Stream:
        """The process's stream to the service; a new one if the last ended for good."""
        stream = self._stream
        if stream is None or stream.error is not None:
            stream = self._stream = open_stream(self.transport.service)
        return stream

    def endpoint(self, name: str | None) -> str:
        """Return ``name``, or the one that needs no naming: ``local``, or the only one there is.

        Raises
        ------
        UsageError
            If it must be named; the message lists the endpoints.
        """
        if name:
            return str(name)
        if self.transport.service.embedded:
            return LOCAL
        names = sorted(str(endpoint["name"]) for endpoint in self.endpoints())
        if LOCAL in names or len(names) == 1:
            return LOCAL if LOCAL in names else names[0]
        known = ", ".join(names) or "none yet"
        raise UsageError(f"Say where to run: the name or id of an endpoint. Yours are: {known}.")

    def endpoints(self) -> list[dict[str, Any]]:
        """Ask for the user's endpoints."""
        return list(self.transport.json("GET", "/v3/endpoints")["endpoints"])

    def submit(self, route: Route, payload: Payload, task_id: str | None = None) -> TaskFuture[Any]:
        """Send a task, under a new id if none is given; the future is there at once.

        Raises
        ------
        PayloadTooLarge, TransportError, ServiceError
            If arguments that need an upload cannot be uploaded, or the stream has ended for good.
        """
        task_id = task_id or new_id()
        if payload.nbytes > INLINE_LIMIT:
            task = NewTask(task_id, b"", upload(self.transport, payload))
        else:
            task = NewTask(task_id, payload.tobytes())
        return self.send(route, task)

    def send(self, route: Route, task: NewTask) -> TaskFuture[Any]:
        """Send a task whose arguments are packed, and uploaded if need be; the future is there at once."""
        options = route.options
        if options is not None and options.memo == KEY_TO_COME:
            code = self.functions.code(route.function_id)
            route = route._replace(options=msgspec.structs.replace(options, memo=code))
        future: TaskFuture[Any] = TaskFuture(task.task_id, route.endpoint, self)
        self.stream.submit(route, task, future)
        return future

    def watch(self, task_id: str) -> TaskFuture[Any]:
        """Return a future for a task that was submitted elsewhere."""
        future: TaskFuture[Any] = TaskFuture(task_id, "", self)
        future.accepted()
        self.stream.watch(task_id, future)
        return future

    def hand_over(self) -> None:
        """Hand over what this process and those that are gone have submitted; waits half a minute at most."""
        self.stream.flush(ANSWER_TIMEOUT_S)

    def follow(self, task_id: str, after: int = 0) -> EventQueue:
        """Return a task's events behind ``after``, as they come."""
        stream = self.stream
        events = EventQueue(lambda queue: stream.unfollow(task_id, queue))
        stream.follow(task_id, after, events)
        return events

    def outcome(self, task_id: str) -> OutcomeItem:
        """Ask for a task's outcome.

        Raises
        ------
        TaskPending
            If it has not ended.
        TaskNotFound
            If there is no such task.
        """
        response = self.transport.request("GET", f"/v3/tasks/{task_id}/result")
        try:
            return _decode_outcome(response.data)
        except msgspec.DecodeError as err:
            raise MalformedMessage(f"The outcome of task {task_id} cannot be read: {err}.") from err

    def call(self, task_id: str) -> TaskCall:
        """Ask for what a task calls.

        Raises
        ------
        TaskNotFound
            If there is no such task.
        TaskGone
            If it ended so long ago that it was purged.
        """
        response = self.transport.request("GET", f"/v3/tasks/{quote(task_id, safe='')}/call")
        try:
            return _decode_call(response.data)
        except msgspec.DecodeError as err:
            raise MalformedMessage(f"The call of task {task_id} cannot be read: {err}.") from err

    def group(self, group_id: str, state: str | None = None) -> list[str]:
        """Ask for the ids of a group's tasks, of those in ``state`` if one is given; oldest first."""
        return [str(record["task_id"]) for record in self.group_records(group_id, state)]

    def group_records(self, group_id: str, state: str | None = None) -> list[dict[str, Any]]:
        """Ask for the records of a group's tasks, of those in ``state`` if one is given; oldest first."""
        records: list[dict[str, Any]] = []
        query: dict[str, Any] = {"group": group_id, "state": state, "limit": 1000}
        while True:
            page = self.transport.json("GET", "/v3/tasks", query=query)
            records += page["tasks"]
            if not page.get("next"):
                return records[::-1]
            query["before"] = page["next"]

    # --- futures.Backend --------------------------------------------------------------------------

    def open(self, item: OutcomeItem) -> tuple[Any, BaseException | None]:
        """Return the task's value or its exception; a large payload is fetched first."""
        payload = item.payload if item.object is None else download(self.transport, item.object)
        trusted = item.owned or self.trust
        try:
            if item.state == TaskState.SUCCESS.value:
                return unpack_value(payload, trusted=trusted), None
            return None, self._exception(item, payload, trusted)
        except FuncxLabError as err:
            return None, err

    def cancel(self, task_id: str) -> bool:
        """Cancel a task; whether it is cancelled now."""
        return task_id in self.stream.cancel([task_id])

    def state(self, task_id: str) -> TaskState:
        """Ask for a task's state."""
        return TaskState(self.record(task_id)["state"])

    def refused(self, error: FuncxLabError) -> None:
        """Hear why a task was not taken; a function that the service has lost is registered anew."""
        if isinstance(error, FunctionNotFound):
            self.functions.forget()

    def record(self, task_id: str) -> dict[str, Any]:
        """Ask for a task's record."""
        return dict(self.transport.json("GET", f"/v3/tasks/{task_id}"))

    def _exception(self, item: OutcomeItem, payload: bytes | bytearray, trusted: bool) -> BaseException:
        if item.state == TaskState.EXPIRED.value and item.error is None:
            return TaskExpired()
        error = item.error or ErrorInfo(RemoteError.code, "The task failed without saying why.")
        if error.code == RemoteError.code:
            return unpack_exception(payload or None, error, trusted=trusted)
        return error_from_document({"code": error.code, "message": error.message, "details": error.details})
