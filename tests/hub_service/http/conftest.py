"""A real hub service on a loop of its own thread, and a plain client for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import urllib3
from websockets.sync.client import ClientConnection, connect

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
            self.token = self.new_token("ada")
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
def client_for(hub: Running) -> Iterator[Callable[[str | None], Client]]:
    """Make clients with other tokens, or none."""
    clients: list[Client] = []

    def make(token: str | None) -> Client:
        clients.append(Client(hub.url, token))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def listen() -> Callable[..., Any]:
    return told
