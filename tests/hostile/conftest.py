"""A hub service as a program of its own, and the means of whoever wants to harm it or its users."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
import zmq
from websockets.sync.client import ClientConnection, connect

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    Accepted,
    Heartbeat,
    Hello,
    Inventory,
    Outcome,
    Reconciled,
    ResultItem,
    Results,
    TaskItem,
    Tasks,
    Welcome,
    agent_codec,
    forwarder_codec,
)
from funcx_lab.protocol.stream import STREAM_LIMIT
from funcx_lab_hub_service.auth.tokens import Tokens
from funcx_lab_hub_service.store.database import Database

MODULE = [sys.executable, "-m", "funcx_lab_hub_service"]
#: ada is the victim, eve a user like any other who means harm
USERS = ("ada", "eve")


class Hub:
    """The program, its files, and what it wrote to its log."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "hub"
        self.log = home / "hub.log"
        home.mkdir(mode=0o700)
        self.tokens = asyncio.run(self._make_tokens())
        self.start()

    async def _make_tokens(self) -> dict[str, str]:
        """Return a token of each user, made as ``token create`` makes them, but in this process."""
        self.data.mkdir(mode=0o700)
        database = Database(self.data / "hub.db")
        await database.start()
        try:
            return {user: await Tokens(database).create(user) for user in USERS}
        finally:
            await database.close()

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [*MODULE, "--data", str(self.data), *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout

    def start(self) -> None:
        read_end, write_end = os.pipe()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(*MODULE, "--data", str(self.data), "--ready-fd", str(write_end)),
                    *("--log-level", "debug", "--request-rate", "0"),  # an attack at full speed
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                env=self._environment(),
            )
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            self.url = str(json.loads(pipe.readline())["url"])
        self.process = psutil.Process(self._process.pid)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "FUNCX_LAB_HOME": str(self.home)}

    @property
    def address(self) -> tuple[str, int]:
        """Where HTTP listens."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    @property
    def forwarder(self) -> tuple[str, int]:
        """Where agents dial."""
        return "127.0.0.1", int(json.loads((self.data / "ports.json").read_text())["forwarder"])

    @property
    def rss(self) -> int:
        """Bytes of memory the process occupies."""
        return int(self.process.memory_info().rss)

    def lives(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.lives():
            self._process.send_signal(number)
        try:
            return self._process.wait(15)
        finally:
            self._process.kill()
            self._process.wait()

    def raw(self, request: bytes, *, timeout: float = 10.0) -> bytes:
        """Send bytes to the HTTP port and return all that comes until the service hangs up or is silent."""
        answer = b""
        with socket.create_connection(self.address, timeout=timeout) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(request)
            connection.settimeout(0.5 if timeout > 0.5 else timeout)
            with contextlib.suppress(ConnectionError, TimeoutError):
                while chunk := connection.recv(65536):
                    answer += chunk
        return answer


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
    """HTTP and the stream with one token, or none."""

    def __init__(self, hub: Hub, token: str | None) -> None:
        self.hub, self.token = hub, token
        self._pool = urllib3.PoolManager(retries=False, timeout=20)

    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def __call__(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = self.headers()
        if document is not None:
            body = json.dumps(document).encode()
        if body is not None:
            sent["Content-Type"] = "application/json"
        url = self.hub.url + path
        return Answer(self._pool.request(method, url, body=body, headers=sent | (headers or {})))

    @contextlib.contextmanager
    def stream(self, **headers: str) -> Iterator[ClientConnection]:
        with connect(
            self.hub.url.replace("http", "ws", 1) + "/v3/stream",
            additional_headers=self.headers() | headers,
            compression=None,
            max_size=STREAM_LIMIT,
            proxy=None,
        ) as connection:
            yield connection

    def close(self) -> None:
        self._pool.clear()


class Agent:
    """An endpoint's agent as its owner may write it: enrolled, and free to send any bytes."""

    def __init__(self, owner: Client, name: str, metadata: dict[str, Any] | None = None) -> None:
        self.owner = owner
        document = {"endpoint_name": name, "metadata": metadata or {}}
        registered = owner("POST", "/v3/endpoints", document).document
        self.endpoint_id = registered["endpoint_id"]
        public, secret = zmq.curve_keypair()
        self.keys = public, secret
        about = owner(
            "POST",
            f"/v3/endpoints/{self.endpoint_id}/enrol",
            {"enrolment_token": registered["enrolment_token"], "public_key": public.decode()},
        ).document
        self.enrolment_token = registered["enrolment_token"]
        self.token = about["agent_token"]
        self.address, self.server_key = about["forwarder_address"], about["forwarder_key"].encode()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket: Any = None
        self.session = 0

    def dial(self, *, identity: bytes = b"", keys: tuple[bytes, bytes] | None = None) -> Any:
        """Open a connection; `connect` also asks for a session on it."""
        socket_ = self.context.socket(zmq.DEALER)
        socket_.setsockopt(zmq.LINGER, 0)
        if identity:
            socket_.setsockopt(zmq.IDENTITY, identity)
        socket_.curve_publickey, socket_.curve_secretkey = keys or self.keys
        socket_.curve_serverkey = self.server_key
        socket_.connect(self.address)
        return socket_

    def connect(self, nonce: str = "nonce", instance: str = "instance", *, credit: int = 1000) -> Agent:
        """Ask for a session, tell an empty inventory and the credit."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self.dial()
        self.send(Hello(PROTOCOL_VERSION, nonce, instance, "spool", takeover=True))
        self.session = self.wait_for(Welcome).session
        self.send(Inventory(self.session, []))
        self.wait_for(Reconciled)
        self.send(Heartbeat(self.session, {"credit": credit}))
        return self

    def send(self, message: Any) -> None:
        self.raw(agent_codec.encode(message))

    def raw(self, frame: bytes) -> None:
        self.socket.send(frame)

    def told(self, timeout_s: float = 30.0) -> Any:
        """Return the next message, or None in silence."""
        if not self.socket.poll(int(1000 * timeout_s)):
            return None
        return forwarder_codec.decode(self.socket.recv())

    def wait_for(self, kind: type, timeout_s: float = 30.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            message = self.told(max(0.0, deadline - time.monotonic()))
            assert message is not None, f"no {kind.__name__} came"
            if isinstance(message, kind):
                return message

    def take(self) -> TaskItem:
        """Accept the next task."""
        tasks = self.wait_for(Tasks).tasks
        self.send(Accepted(self.session, [(task.task_id, task.tag) for task in tasks]))
        item: TaskItem = tasks[0]
        return item

    def answer(self, task: TaskItem, outcome: Outcome) -> None:
        self.send(Results(self.session, [ResultItem(task.task_id, task.tag, task.task_id, outcome)]))

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.context.destroy(linger=0)


def until(condition: Callable[[], object], timeout_s: float = 30.0, text: str = "it never came true") -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, text
        time.sleep(0.02)


@pytest.fixture(scope="session", name="until")
def _until() -> Callable[..., None]:
    return until


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One service for the attacks of a file: it survives them, and none is an error of its own."""
    hub = Hub(tmp_path_factory.mktemp("hostile") / "home")
    try:
        yield hub
        assert hub.lives()
        said = hub.said()
        assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:3000]
    finally:
        hub.end()


@pytest.fixture(scope="module")
def client_for(hub: Hub) -> Iterator[Callable[[str | None], Client]]:
    clients: list[Client] = []

    def make(token: str | None) -> Client:
        clients.append(Client(hub, token))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def ada(hub: Hub, client_for: Callable[..., Client]) -> Client:
    return client_for(hub.tokens["ada"])


@pytest.fixture(scope="module")
def eve(hub: Hub, client_for: Callable[..., Client]) -> Client:
    return client_for(hub.tokens["eve"])


@pytest.fixture(scope="module")
def nobody(client_for: Callable[..., Client]) -> Client:
    return client_for(None)


@pytest.fixture(scope="module")
def agent_of(hub: Hub) -> Iterator[Callable[..., Agent]]:
    """Register an endpoint of a client's user and return its agent."""
    agents: list[Agent] = []

    def make(owner: Client, name: str, metadata: dict[str, Any] | None = None) -> Agent:
        agents.append(Agent(owner, name, metadata))
        return agents[-1]

    yield make
    for agent in agents:
        agent.close()


@pytest.fixture(scope="module")
def function_id(ada: Client) -> str:
    document = {"function_name": "f", "function_code": "3\nabc"}
    return str(ada("POST", "/v3/functions", document).document["function_uuid"])


@pytest.fixture
def submit() -> Callable[..., str]:
    """Submit one task over REST and return its id."""

    def one(client: Client, endpoint: str, function_id: str, argument: str = "x") -> str:
        document = {"tasks": {function_id: [argument]}}
        answer = client("POST", f"/v3/endpoints/{endpoint}/submit", document)
        assert answer.status == 200, answer.content
        return str(answer.document["tasks"][function_id][0])

    return one
