"""A real hub service on a loop of its own thread, and a plain client for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import urllib3
import zmq
from websockets.sync.client import ClientConnection, connect

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    Accepted,
    Bye,
    Cancel,
    Event,
    EventBatch,
    Events,
    FunctionBody,
    Heartbeat,
    Hello,
    Inventory,
    Outcome,
    Reconciled,
    ResultItem,
    Results,
    Started,
    TaskItem,
    Tasks,
    Welcome,
    agent_codec,
    forwarder_codec,
)
from funcx_lab.protocol.stream import STREAM_LIMIT, service_codec
from funcx_lab_hub_service.app import HubService
from funcx_lab_hub_service.config import ServiceConfig

T = TypeVar("T")


class Running:
    """A hub service that runs, with one user and that user's token."""

    def __init__(self, config: ServiceConfig) -> None:
        self.config = config
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="hub-service")
        self._thread.start()
        self.service = self.run(self._make(config))
        try:
            self.run(self.service.start())
            self.token = "" if self.service.damage else self.new_token("ada")
        except BaseException:
            self.stop()
            raise

    async def _make(self, config: ServiceConfig) -> HubService:
        return HubService(config)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def do(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self.run(call())

    def new_token(self, user: str) -> str:
        return self.run(self.service.tokens.create(user))

    @property
    def url(self) -> str:
        return self.service.url

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        with contextlib.suppress(AttributeError):
            self.run(self.service.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Answer:
    """A response, read whole."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content = response.data

    @property
    def document(self) -> Any:
        return json.loads(self.content)


class Client:
    """HTTP with one token."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.token = token
        self._pool = urllib3.PoolManager(retries=False, timeout=20)

    def __call__(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        if document is not None:
            body = json.dumps(document).encode()
            sent["Content-Type"] = "application/json"
        return Answer(self._pool.request(method, self.url + path, body=body, headers=sent | (headers or {})))

    @contextlib.contextmanager
    def stream(self, **headers: str) -> Iterator[ClientConnection]:
        sent = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        with connect(
            self.url.replace("http", "ws", 1) + "/v3/stream",
            additional_headers=sent | headers,
            compression=None,
            max_size=STREAM_LIMIT,
            proxy=None,
        ) as connection:
            yield connection

    def close(self) -> None:
        self._pool.clear()


def told(connection: ClientConnection, timeout: float = 10) -> Any:
    """Return the next message of the service."""
    frame = connection.recv(timeout)
    assert isinstance(frame, bytes)
    return service_codec.decode(frame)


class FakeAgent:
    """Stands for an endpoint's agent: takes tasks over the real link and answers them from a function.

    It keeps nothing and knows no lost sessions; the real one is tested in tests/endpoint.
    """

    def __init__(self, user: Client, anybody: Client, name: str) -> None:
        public, secret = zmq.curve_keypair()
        self.name = name
        registered = user("POST", "/v3/endpoints", {"endpoint_name": name}).document
        self.endpoint_id = registered["endpoint_id"]
        enrolment = {"enrolment_token": registered["enrolment_token"], "public_key": public.decode()}
        self.about = anybody("POST", f"/v3/endpoints/{self.endpoint_id}/enrol", enrolment).document
        #: what becomes of a task; None keeps it running
        self.answer: Callable[[TaskItem], Outcome | None] = lambda task: Outcome(True, task.payload)
        #: results in one message
        self.batch = 1000
        self.functions: dict[str, FunctionBody] = {}
        self.cancelled: list[str] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.curve_publickey, self._socket.curve_secretkey = public, secret
        self._socket.curve_serverkey = self.about["forwarder_key"].encode()
        self._socket.connect(self.about["forwarder_address"])
        self._stopping = threading.Event()
        self.online = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="fake-agent")
        self._thread.start()
        assert self.online.wait(10), "the forwarder did not answer"

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._socket.close()
        self._context.term()

    def _send(self, message: Any) -> None:
        self._socket.send(agent_codec.encode(message))

    def _serve(self) -> None:
        self._send(Hello(PROTOCOL_VERSION, "nonce", "instance", "spool"))
        while not self._stopping.is_set():
            if self._socket.poll(50):
                self._take(forwarder_codec.decode(self._socket.recv()))

    def _take(self, message: Any) -> None:
        match message:
            case Welcome():
                self.session = message.session
                self._send(Inventory(message.session, []))
            case Reconciled():
                self._send(Heartbeat(message.session, {"credit": 10_000}))
                self.online.set()
            case Tasks():
                self.functions |= {function.function_id: function for function in message.functions}
                self._run(message.tasks)
            case Cancel():
                self.cancelled += [task_id for task_id, _ in message.tasks]

    def _run(self, tasks: list[TaskItem]) -> None:
        self._send(Accepted(self.session, [(task.task_id, task.tag) for task in tasks]))
        ended = [(task, self.answer(task)) for task in tasks]
        running = [
            (task.task_id, task.tag, task.task_id, time.time(), {"host": "here"})
            for task, outcome in ended
            if outcome is None
        ]
        if running:
            self._send(Started(self.session, running))
        results = [
            ResultItem(task.task_id, task.tag, task.task_id, outcome)
            for task, outcome in ended
            if outcome is not None
        ]
        for first in range(0, len(results), self.batch):
            self._send(Results(self.session, results[first : first + self.batch]))

    def report(self, status: dict[str, Any]) -> None:
        """Send a heartbeat with these facts; only while nothing else is sent."""
        self._send(Heartbeat(self.session, status))

    def bye(self, reason: str) -> None:
        """Leave on purpose; only while nothing else is sent."""
        self._send(Bye(self.session, reason))

    def say(self, task_id: str, first: int, events: list[Event]) -> None:
        """Report output of a running task; only while nothing else is sent."""
        self._send(Events(self.session, [EventBatch(task_id, task_id, first, events)]))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))
    return tmp_path / "hub"


@pytest.fixture
def start(data: Path) -> Iterator[Callable[..., Running]]:
    """Start hub services; the same data directory each time unless told otherwise."""
    running: list[Running] = []

    def start_one(**settings: Any) -> Running:
        running.append(Running(ServiceConfig(**{"data": data, **settings})))
        return running[-1]

    yield start_one
    for one in running:
        one.stop()


@pytest.fixture
def hub(start: Callable[..., Running]) -> Running:
    return start()


@pytest.fixture
def ask(hub: Running) -> Iterator[Client]:
    client = Client(hub.url, hub.token)
    yield client
    client.close()


@pytest.fixture
def clients() -> Iterator[Callable[[str, str | None], Client]]:
    """Make clients of any service."""
    made: list[Client] = []

    def make(url: str, token: str | None) -> Client:
        made.append(Client(url, token))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client_for(hub: Running, clients: Callable[[str, str | None], Client]) -> Callable[[str | None], Client]:
    """Make clients with other tokens, or none."""
    return lambda token: clients(hub.url, token)


@pytest.fixture
def agent_of() -> Iterator[Callable[[Client, Client, str], FakeAgent]]:
    """Make agents at any service."""
    made: list[FakeAgent] = []

    def make(user: Client, anybody: Client, name: str) -> FakeAgent:
        made.append(FakeAgent(user, anybody, name))
        return made[-1]

    yield make
    for fake in made:
        fake.stop()


@pytest.fixture
def agent(ask: Client, client_for: Callable[[str | None], Client]) -> Iterator[FakeAgent]:
    fake = FakeAgent(ask, client_for(None), "cluster")
    yield fake
    fake.stop()


@pytest.fixture
def listen() -> Callable[..., Any]:
    return told
