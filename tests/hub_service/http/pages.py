"""What a browser's page sees of the hub service."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from websockets.sync.client import ClientConnection, connect

#: ends what hangs
LIMIT_S = 60.0


class PageSocket:
    """What a browser's page sees: every message, and from them how everything is."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.counts: dict[str, int] = {}
        self.events: dict[str, list[Any]] = {}

    def say(self, type: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": type, **fields}))

    def next(self, timeout: float = LIMIT_S) -> dict[str, Any]:
        frame = self.connection.recv(timeout)
        assert isinstance(frame, str)
        message: dict[str, Any] = json.loads(frame)
        self.messages.append(message)
        if message["type"] == "tasks":
            self.tasks |= {task["task_id"]: task for task in message["tasks"]}
        elif message["type"] == "endpoints":
            self.endpoints = {endpoint["name"]: endpoint for endpoint in message["endpoints"]}
        elif message["type"] == "counts":
            self.counts = message["tasks"]
        elif message["type"] == "events":
            self.events.setdefault(message["task_id"], []).extend(message["events"])
        elif message["type"] == "gone":
            for task_id in message["task_ids"]:
                self.tasks.pop(task_id, None)
        return message

    def until(self, is_so: Callable[[], Any]) -> None:
        """Read until something is so."""
        end = time.monotonic() + LIMIT_S
        while not is_so():
            self.next(end - time.monotonic())

    def first(self, type: str) -> dict[str, Any]:
        """Read until a message of that type comes."""
        while True:
            message = self.next()
            if message["type"] == type:
                return message


@contextlib.contextmanager
def watching(client: Any, max_queue: int | None = 16) -> Iterator[PageSocket]:
    sent = {} if client.token is None else {"Authorization": f"Bearer {client.token}"}
    url = client.url.replace("http", "ws", 1) + "/v3/watch"
    with connect(
        url,
        additional_headers=sent,
        compression=None,
        max_size=8 * 1024**2,
        max_queue=max_queue,
        proxy=None,
        close_timeout=1,
    ) as one:
        yield PageSocket(one)
