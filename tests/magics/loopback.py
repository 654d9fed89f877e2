"""A client whose endpoint is a thread here: packs and unpacks for real, no service, no processes."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from types import SimpleNamespace
from typing import Any

from funcx_lab import serialize
from funcx_lab.environments.book import EnvironmentBook
from funcx_lab.errors import EndpointNotFound, FuncxLabError, TaskCancelled, TaskNotFound
from funcx_lab.events import EventQueue
from funcx_lab.futures import TaskFuture
from funcx_lab.identifiers import new_id
from funcx_lab.protocol.messages import Event
from funcx_lab.serialize.warm import WarmSpace


class LoopbackClient:
    """Runs each task at once in a thread; endpoint ``held`` only starts a task when ``release`` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.records: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[Event]] = {}
        self.futures: dict[str, LoopbackFuture] = {}
        self.changed = threading.Condition()
        self.submitted: list[dict[str, Any]] = []
        self.sessions: dict[str, WarmSpace] = {}
        self.threads: list[threading.Thread] = []
        self.environments: dict[str, dict[str, Any]] = {}
        self.connection = SimpleNamespace(
            environments=EnvironmentBook(lambda name: self.environments.get(name, {})),
            record=self._record,
            group_records=lambda group_id: [],
            cancel=lambda task_id: task_id in self._cancel([task_id]),
            stream=SimpleNamespace(cancel=self._cancel),
            transport=SimpleNamespace(json=self._json),
        )

    def submit_packed(
        self, function: Any, arguments: Any, endpoint: str, *, options: Any, task_id: str | None = None
    ) -> Any:
        task_id = task_id or new_id()
        future = LoopbackFuture(task_id, self)
        if endpoint not in ("local", "held"):
            future.refusal = EndpointNotFound(f"No endpoint {endpoint!r} here, or it is not yours.")
            return future
        self.submitted.append({"function": function, "arguments": arguments, "options": options})
        self.records[task_id] = {
            "task_id": task_id,
            "state": "received",
            "reason": "",
            "endpoint_name": endpoint,
            "label": options.label,
            "session": options.session,
            "received": time.time(),
            "worker": {"host": "here"},
        }
        self.logs[task_id] = []
        self.futures[task_id] = future
        args = (future, bytes(function.body), arguments.tobytes(), endpoint)
        thread = threading.Thread(target=self._run, args=args, daemon=True)
        thread.start()
        self.threads.append(thread)
        return future

    def task(self, task_id: str) -> LoopbackFuture:
        return self.futures[task_id]

    def follow(self, task_id: str, after: int = 0) -> EventQueue:
        events = EventQueue(lambda queue: None)

        def push() -> None:
            seen = after
            while True:
                with self.changed:
                    while len(self.logs[task_id]) <= seen and not self._ended(task_id):
                        self.changed.wait()
                    new = list(enumerate(self.logs[task_id][seen:], start=seen + 1))
                    seen += len(new)
                    last = self._ended(task_id) and seen == len(self.logs[task_id])
                events.push(new, last)
                if last:
                    return

        thread = threading.Thread(target=push, daemon=True)
        thread.start()  # an interrupt may fall in here
        self.threads.append(thread)
        return events

    def get_tasks(self, *, state: Any = None, limit: int = 100, group: str = "") -> list[dict[str, Any]]:
        if group:
            return []
        records = [record for record in self.records.values() if not state or record["state"] in state]
        return list(reversed(records))[:limit]

    def get_endpoints(self) -> list[dict[str, Any]]:
        return [
            {
                "name": "local",
                "endpoint_id": "e-1",
                "state": "online",
                "since": 1.0,
                "details": {"workers": 2},
            },
            {"name": "held", "endpoint_id": "e-2", "state": "offline", "reason": "offline since 10:42"},
        ]

    def close(self) -> None:
        self.release.set()
        for thread in self.threads:
            thread.join(10)

    def add(self, task_id: str, kind: str, data: Any) -> None:
        with self.changed:
            self.logs[task_id].append(Event(time.time(), kind, data))
            if kind == "state":
                self.records[task_id]["state"] = data["state"]
            self.changed.notify_all()

    def _run(self, future: Any, body: bytes, arguments: bytes, endpoint: str) -> None:
        task_id = future.task_id
        if endpoint == "held":
            self.add(task_id, "state", {"state": "waiting-for-ep", "reason": "offline since 10:42"})
            self.release.wait(30)
        if self._ended(task_id):
            return
        self.add(task_id, "state", {"state": "running"})
        written = io.StringIO()
        try:
            with contextlib.redirect_stdout(written):
                result = self._call(task_id, body, arguments)
            packed = serialize.pack_value(result).tobytes()
        except Exception as err:
            payload, error = serialize.pack_exception(err)
            self.records[task_id]["error"] = {
                "code": error.code,
                "message": error.message,
                "type": error.type,
                "traceback": error.traceback,
            }
            future.error = serialize.unpack_exception(
                payload.tobytes() if payload else None, error, trusted=True
            )
            self._end(task_id, written.getvalue(), "failed")
        else:
            future.value = serialize.unpack_value(packed)
            self._end(task_id, written.getvalue(), "success")
        future.ended.set()

    def _call(self, task_id: str, body: bytes, arguments: bytes) -> Any:
        name = self.records[task_id]["session"]
        if name is None:
            args, kwargs = serialize.unpack_arguments(arguments)
            return serialize.unpack_function(body, task_id=task_id)(*args, **kwargs)
        is_new = name not in self.sessions
        space = self.sessions.setdefault(name, WarmSpace())
        try:
            with space.entered():
                with space.opening():
                    args, kwargs = serialize.unpack_arguments(arguments)
                    function = serialize.unpack_function(body, task_id=task_id)
                space.bring(kwargs)
                return function(*args, **kwargs)
        finally:
            told = {"name": name, "is_new": is_new, "names": space.names}
            self.records[task_id]["worker"]["session"] = told

    def _end(self, task_id: str, text: str, state: str) -> None:
        self.records[task_id]["ended"] = time.time()
        if text:
            self.add(task_id, "stdout", text)
        self.add(task_id, "state", {"state": state})

    def _ended(self, task_id: str) -> bool:
        return self.records[task_id]["state"] in ("success", "failed", "cancelled")

    def _record(self, task_id: str) -> dict[str, Any]:
        if task_id not in self.records:
            raise TaskNotFound(f"No task {task_id} of yours.")
        return dict(self.records[task_id])

    def _cancel(self, task_ids: list[str]) -> frozenset[str]:
        known = [task_id for task_id in task_ids if task_id in self.records]
        cancelled = {task_id for task_id in known if not self._ended(task_id)}
        for task_id in cancelled:
            self.add(task_id, "state", {"state": "cancelled"})
        return frozenset(cancelled)

    def _json(self, method: str, path: str, body: Any = None, *, query: Any = None) -> Any:
        task_id = path.split("/")[3]
        events = list(enumerate(self.logs[task_id], start=1))[query["after"] :]
        return {
            "events": [(seq, {"time": e.time, "kind": e.kind, "data": e.data}) for seq, e in events],
            "ended": self._ended(task_id),
        }


class LoopbackFuture:
    """The part of `TaskFuture` that the magics use."""

    outcome_bytes = 0

    def __init__(self, task_id: str, client: LoopbackClient) -> None:
        self.task_id = task_id
        self.refusal: FuncxLabError | None = None
        self.ended = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self._client = client

    wait_accepted = TaskFuture.wait_accepted
    _is_accepted = True
    _acceptance = None

    def done(self) -> bool:
        return self.ended.is_set()

    def result(self, timeout: float | None = None) -> Any:
        if self._client.records[self.task_id]["state"] == "cancelled":
            raise TaskCancelled(f"Task {self.task_id} was cancelled.")
        if not self.ended.wait(timeout):
            raise TimeoutError
        if self.error is not None:
            raise self.error
        return self.value
