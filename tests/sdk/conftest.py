"""A stand-in for the hub service: speaks the stream's messages and a few routes, runs tasks itself.

It is no test of the hub service; `test_real_*.py` runs against that.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket

from funcx_lab import serialize, stream
from funcx_lab.client import FuncXClient
from funcx_lab.errors import (
    FuncxLabError,
    NotAuthenticated,
    ObjectNotFound,
    TaskNotFound,
    TaskPending,
)
from funcx_lab.protocol.messages import FunctionBody, ObjectRef
from funcx_lab.protocol.payload import INLINE_LIMIT
from funcx_lab.protocol.stream import (
    Cancelled,
    CancelTasks,
    Failed,
    Follow,
    NewTask,
    OutcomeItem,
    Outcomes,
    Refusal,
    Submit,
    Submitted,
    Subscribe,
    TaskCall,
    TaskEvents,
    Watch,
    client_codec,
    service_codec,
)

TOKEN = "fxl_stand-in"


class StandIn:
    """What the stand-in remembers, and switches for the trouble it makes.

    ``hold`` keeps tasks from ending, ``mute`` keeps submits from being acknowledged, ``refuse`` names an
    error that every task is refused with.
    """

    def __init__(self) -> None:
        self.functions: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.tasks: dict[str, tuple[Submit, NewTask]] = {}
        self.outcomes: dict[str, OutcomeItem] = {}
        self.events: dict[str, list[Any]] = {}
        self.received: list[Any] = []
        self.connections: list[Any] = []
        self.connected = 0
        self.posts = 0
        self.hold = False
        self.mute = False
        self.workers = 0
        self.refuse: FuncxLabError | None = None
        self.token = TOKEN
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.loop: asyncio.AbstractEventLoop
        self.servers: list[tornado.httpserver.HTTPServer] = []
        self.url: str

    def listen(self, port: int) -> None:
        """Take connections; in the loop."""
        own = {"standin": self}
        app = tornado.web.Application([("/v3/stream", StreamHandler, own), ("/(.*)", RestHandler, own)])
        (socket,) = tornado.netutil.bind_sockets(port, "127.0.0.1")
        self.servers.append(tornado.httpserver.HTTPServer(app, max_buffer_size=2**30))
        self.servers[-1].add_sockets([socket])
        self.url = f"http://127.0.0.1:{socket.getsockname()[1]}"

    # --- called by tests --------------------------------------------------------------------------

    def messages(self, kind: type) -> list[Any]:
        return [message for message in self.received if isinstance(message, kind)]

    def do(self, action: Callable[..., Any], *args: Any) -> Any:
        """Run ``action`` in the stand-in's loop."""
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(action(*args))
            except BaseException as err:
                done.set_exception(err)

        self.loop.call_soon_threadsafe(run)
        return done.result(10)

    def drop_connections(self) -> None:
        def drop() -> None:
            for connection in list(self.connections):
                connection.cut()

        self.do(drop)

    def close_connections(self, code: int, reason: str) -> None:
        self.do(lambda: [connection.close(code, reason) for connection in list(self.connections)])

    def go_down(self) -> None:
        """Take no connections until `come_up`."""

        def stop() -> None:
            self.servers[-1].stop()
            for connection in list(self.connections):
                connection.cut()

        self.do(stop)

    def come_up(self) -> None:
        self.do(self.listen, int(self.url.rpartition(":")[2]))

    def tell(self, message: Any) -> None:
        self.do(lambda: [connection.say(message) for connection in self.connections])

    def release(self) -> None:
        """Let everything end that was held."""

        def run() -> None:
            self.hold = False
            ended = [
                self.run(submit, task) for submit, task in self.tasks.values() if self.is_open(task.task_id)
            ]
            for connection in self.connections:
                connection.say(Outcomes(ended))

        self.do(run)

    # --- the work ---------------------------------------------------------------------------------

    def is_open(self, task_id: str) -> bool:
        return task_id not in self.outcomes

    def run(self, submit: Submit, task: NewTask) -> OutcomeItem:
        payload = self.objects[task.object.sha256] if task.object else task.payload
        body = self.functions[submit.function_id]
        error, ref = None, None
        try:
            function = serialize.unpack_function(body, task_id=task.task_id)
            args, kwargs = serialize.unpack_arguments(payload)
            packed = serialize.pack_value(function(*args, **kwargs))
            state = "success"
        except Exception as err:
            packed, error = serialize.pack_exception(err)
            state = "failed"
        result = packed.tobytes()
        if len(result) > INLINE_LIMIT:
            ref = ObjectRef(hashlib.sha256(result).hexdigest(), len(result))
            self.objects[ref.sha256], result = result, b""
        item = OutcomeItem(len(self.outcomes) + 1, task.task_id, state, result, ref, error, "endpoint")
        self.outcomes[task.task_id] = item
        return item

    def call(self, task_id: str) -> TaskCall:
        submit, task = self.tasks[task_id]
        key = submit.function_id
        body = self.functions[key]
        sha256 = hashlib.sha256(body).hexdigest()
        function = FunctionBody(key, sha256, "funcx-lab", self.names[key], body)
        call = TaskCall(task_id, submit.group_id, "1", submit.endpoint, function, task.payload, task.object)
        return msgspec.structs.replace(call, options=submit.options)

    def cancel(self, task_id: str) -> bool:
        if task_id not in self.tasks:
            return False
        if self.is_open(task_id):
            self.outcomes[task_id] = OutcomeItem(len(self.outcomes) + 1, task_id, "cancelled")
        return self.outcomes[task_id].state == "cancelled"


class StreamHandler(tornado.websocket.WebSocketHandler):
    """The stream."""

    def initialize(self, standin: StandIn) -> None:
        self.standin = standin

    def prepare(self) -> None:
        if self.request.headers.get("Authorization") != f"Bearer {self.standin.token}":
            error = NotAuthenticated()
            self.set_status(error.status)
            self.finish(json.dumps(error.as_document()))

    def check_origin(self, origin: str) -> bool:
        return True

    def open(self, *_: Any) -> None:
        self.set_nodelay(True)
        self.groups: set[str] = set()
        self.standin.connections.append(self)
        self.standin.connected += 1

    def on_close(self) -> None:
        if self in self.standin.connections:
            self.standin.connections.remove(self)

    def cut(self) -> None:
        """Break the connection without a word."""
        if self.ws_connection is not None:
            self.ws_connection.stream.close()

    def say(self, message: Any) -> None:
        if self.ws_connection is not None and not self.ws_connection.is_closing():
            self.write_message(service_codec.encode(message), binary=True)

    def on_message(self, data: str | bytes) -> None:
        message = client_codec.decode(data)
        standin = self.standin
        standin.received.append(message)
        if isinstance(message, Submit):
            self.submit(message)
        elif isinstance(message, Subscribe):
            items = [
                item
                for task_id, item in standin.outcomes.items()
                if standin.tasks[task_id][0].group_id == message.group_id and item.cursor > message.after
            ]
            self.say(Outcomes(items))
        elif isinstance(message, Watch):
            for task_id in message.task_ids:
                if task_id not in standin.tasks:
                    self.say(Failed(0, TaskNotFound().as_document(), task_id))
            self.say(Outcomes([standin.outcomes[t] for t in message.task_ids if t in standin.outcomes]))
        elif isinstance(message, CancelTasks):
            self.say(Cancelled(message.request, [t for t in message.task_ids if standin.cancel(t)]))
        elif isinstance(message, Follow):
            if message.task_id not in standin.tasks:
                self.say(Failed(0, TaskNotFound().as_document(), message.task_id))
                return
            events = [item for item in standin.events.get(message.task_id, []) if item[0] > message.after]
            self.say(TaskEvents(message.task_id, events, message.task_id in standin.outcomes))

    def submit(self, message: Submit) -> None:
        standin = self.standin
        if standin.refuse is not None:
            document = standin.refuse.as_document()
            self.say(Submitted(message.request, [Refusal(task.task_id, document) for task in message.tasks]))
            return
        for task in message.tasks:
            standin.tasks.setdefault(task.task_id, (message, task))
        if standin.mute:
            return
        held = standin.hold
        self.say(Submitted(message.request))
        if not held:
            self.say(Outcomes([standin.run(message, t) for t in message.tasks if standin.is_open(t.task_id)]))


class RestHandler(tornado.web.RequestHandler):
    """The routes that the SDK needs."""

    def initialize(self, standin: StandIn) -> None:
        self.standin = standin

    def prepare(self) -> None:
        if self.request.headers.get("Authorization") != f"Bearer {self.standin.token}":
            self.fail(NotAuthenticated())
        elif self.standin.answers:
            status, headers, document = self.standin.answers.pop(0)
            self.set_status(status)
            for name, value in headers.items():
                self.set_header(name, value)
            self.finish(document)

    def fail(self, error: FuncxLabError) -> None:
        self.set_status(error.status)
        self.finish(json.dumps(error.as_document()))

    def post(self, path: str) -> None:
        self.standin.posts += 1
        document = json.loads(self.request.body)
        if path == "v3/functions":
            body = base64.b64decode(document["body"])
            name = hashlib.sha256(document["function_name"].encode() + body).hexdigest()
            self.standin.functions[name] = body
            self.standin.names[name] = document["function_name"]
            self.finish({"function_uuid": name})
        else:
            self.finish({"endpoint_id": "1", "enrolment_token": "t", "got": document})

    def get(self, path: str) -> None:
        parts = path.split("/")
        task_id = parts[2] if len(parts) > 2 else ""
        outcome = self.standin.outcomes.get(task_id)
        if path == "v3/endpoints":
            self.finish({"endpoints": [{"name": "cluster", "endpoint_id": "1", "state": "online"}]})
        elif path == "v3/tasks":
            self.list_tasks()
        elif parts[1] == "objects":
            self.finish(self.standin.objects[parts[2]])
        elif task_id not in self.standin.tasks:
            self.fail(TaskNotFound())
        elif path.endswith("/call"):
            self.finish(msgspec.msgpack.encode(self.standin.call(task_id)))
        elif path.endswith("/result"):
            if outcome is None:
                self.fail(TaskPending())
            else:
                self.finish(msgspec.msgpack.encode(outcome))
        else:
            state = outcome.state if outcome else "running"
            self.finish({"task_id": task_id, "state": state})

    def list_tasks(self) -> None:
        group = self.get_query_argument("group", "")
        limit = int(self.get_query_argument("limit", "100"))
        before = int(self.get_query_argument("before", "0")) or 10**6
        rows = [
            {
                "task_id": task_id,
                "label": submit.options.label if submit.options else None,
                "items": submit.options.items if submit.options else None,
                "task_group_id": submit.group_id,
                "function_name": "function",
                "endpoint_name": submit.endpoint,
                "ended": 1.0 if task_id in self.standin.outcomes else None,
                "received": float(number),
                "key": number,
            }
            for number, (task_id, (submit, _)) in enumerate(self.standin.tasks.items(), start=1)
            if group in ("", submit.group_id) and number < before
        ]
        if self.get_query_argument("state", "") == "running":
            rows = rows[: self.standin.workers]
        page = rows[::-1][:limit]
        self.finish({"tasks": page, "next": page[-1]["key"] if len(page) == limit else None})

    def head(self, path: str) -> None:
        if path.split("/")[2] not in self.standin.objects:
            self.fail(ObjectNotFound())

    def put(self, path: str) -> None:
        sha256 = path.split("/")[2]
        assert hashlib.sha256(self.request.body).hexdigest() == sha256
        self.standin.objects[sha256] = self.request.body
        self.finish({})


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A running stand-in that the environment points to."""
    standin, ready = StandIn(), threading.Event()

    async def serve() -> None:
        standin.loop = asyncio.get_running_loop()
        standin.listen(0)
        standin.stop = asyncio.Event()
        ready.set()
        await standin.stop.wait()
        standin.servers[-1].stop()
        for connection in list(standin.connections):
            connection.cut()
        for server in standin.servers:
            await server.close_all_connections()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="stand-in")
    thread.start()
    assert ready.wait(10)
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("FUNCX_LAB_URL", standin.url)
    monkeypatch.setenv("FUNCX_LAB_TOKEN", TOKEN)
    yield standin
    stream.close_streams(standin.url)
    standin.loop.call_soon_threadsafe(standin.stop.set)
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def client(standin: StandIn) -> FuncXClient:
    return FuncXClient()


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition that another thread or process brings about."""

    def wait(condition: Callable[[], bool], seconds: float = 10.0) -> None:
        event = threading.Event()
        for _ in range(int(seconds * 200)):
            if condition():
                return
            event.wait(0.005)
        raise AssertionError("the condition did not come true in time")

    return wait
