"""A stand-in hub service: its HTTP routes for agents and a real ROUTER with CURVE and ZAP."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zmq
import zmq.auth.thread

from funcx_lab.protocol.messages import (
    FunctionBody,
    Hello,
    Inventory,
    ObjectRef,
    Reconciled,
    Refused,
    ResultAck,
    Results,
    TaskItem,
    TaskOptions,
    Tasks,
    Welcome,
    agent_codec,
)

DEADLINE_S = 40.0
BODY = b"an order"
FUNCTION = FunctionBody("f", hashlib.sha256(BODY).hexdigest(), "funcx-lab", "order", BODY)


def wait_for(what: Callable[[], Any], text: str = "it never happened") -> Any:
    """Return the first true answer of ``what``."""
    deadline = time.monotonic() + DEADLINE_S
    while not (answer := what()):
        assert time.monotonic() < deadline, text
        time.sleep(0.01)
    return answer


class StandInForwarder:
    """Grants sessions, keeps every message, and sends what the test wants."""

    def __init__(self, known: Callable[[str], bool], port: int = 0) -> None:
        self.known = known
        self.messages: list[Any] = []
        self.acknowledge = True
        self.greet = True
        #: answer every hello so: another agent of this endpoint is there
        self.busy = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._authenticator = zmq.auth.thread.ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(credentials_provider=self)
        public, self._secret = zmq.curve_keypair()
        self.public_key = public.decode()
        self._public = public
        self._sessions = 0
        self._to_send: list[tuple[bytes, bytes]] = []
        self._peer = b""
        self._closing = threading.Event()
        self._bind(port)

    def callback(self, domain: str, key: bytes) -> bool:
        return self.known(key.decode() if isinstance(key, bytes) else key)

    def _bind(self, port: int) -> None:
        socket = self._context.socket(zmq.ROUTER)
        socket.curve_server = True
        socket.curve_secretkey, socket.curve_publickey = self._secret, self._public
        socket.setsockopt(zmq.LINGER, 0)
        self.port = port or socket.bind_to_random_port("tcp://127.0.0.1")
        if port:
            socket.bind(f"tcp://127.0.0.1:{port}")
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._closing.clear()
        self._thread = threading.Thread(target=self._serve, args=(socket,))
        self._thread.start()

    def _serve(self, socket: zmq.Socket[bytes]) -> None:
        while not self._closing.is_set():
            while self._to_send:
                socket.send_multipart(list(self._to_send.pop(0)))
            if socket.poll(5):
                peer, frame = socket.recv_multipart()
                self._take(peer, agent_codec.decode(frame))
        socket.close(0)

    def _take(self, peer: bytes, message: Any) -> None:
        self.messages.append(message)
        if isinstance(message, Hello) and self.busy:
            self._peer = peer
            self.send(Refused(message.nonce, "ENDPOINT_BUSY", "another agent"))
        elif isinstance(message, Hello) and self.greet:
            self._sessions += 1
            self._peer = peer
            self.send(Welcome(self._sessions, message.nonce))
        elif isinstance(message, Inventory):
            self.send(Reconciled(message.session, [], []))
        elif isinstance(message, Results) and self.acknowledge:
            self.send(ResultAck(message.session, [(r.task_id, r.execution) for r in message.results]))

    @property
    def session(self) -> int:
        return self._sessions

    def send(self, message: Any) -> None:
        self._to_send.append((self._peer, agent_codec.encode(message)))

    def task(
        self,
        task_id: str,
        tag: int,
        order: dict[str, Any],
        reference: ObjectRef | None = None,
        options: TaskOptions | None = None,
    ) -> None:
        payload = b"" if reference else json.dumps(order).encode()
        item = TaskItem(task_id, tag, "f", payload, reference, options)
        self.send(Tasks(self.session, [FUNCTION], [item]))

    def got(self, kind: type) -> list[Any]:
        return [each for each in self.messages if isinstance(each, kind)]

    def results(self) -> list[Any]:
        return [item for message in self.got(Results) for item in message.results]

    def pause(self) -> None:
        """Go away, as a killed hub service does; `resume` listens on the same port."""
        self._closing.set()
        self._thread.join()

    def resume(self) -> None:
        self._bind(self.port)

    def close(self) -> None:
        self.pause()
        self._authenticator.stop()
        self._context.term()


class StandInHub:
    """The HTTP routes that an endpoint uses, and a forwarder."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.deleted: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.agent_token = "agent-token-1"
        self.forwarder = StandInForwarder(lambda key: key in self.keys)
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                hub.requests.append((self.command, self.path, token))
                status, answer = hub.answer(self.command, self.path, token, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = do  # noqa: N815  # http.server's names

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        if path.startswith("/v3/objects/"):
            return self._object(method, path.rpartition("/")[2], body)
        document = json.loads(body) if body else {}
        link = {"forwarder_address": self.forwarder.address, "forwarder_key": self.forwarder.public_key}
        if path == "/v3/endpoints" and token == "user-token":
            return self._json({"endpoint_id": "id-1", "enrolment_token": "once"})
        if path == "/v3/endpoints/id-1/enrol" and document["enrolment_token"] == "once":
            self.keys[document["public_key"]] = "id-1"
            return self._json({"agent_token": self.agent_token, **link})
        if path == "/v3/link" and token == self.agent_token:
            return self._json(link)
        if path == "/v2/endpoints/id-1/status" and token == "user-token":
            return self._json({"status": "online", "reason": "", "since": 1.0, "details": {}})
        if path == "/v2/endpoints/id-1" and method == "DELETE" and token == "user-token":
            self.deleted.append("id-1")
            return self._json({"result": 200})
        return self._json({"code": "NOT_AUTHENTICATED", "message": "wrong token"}, 401)

    def _object(self, method: str, sha256: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT":
            self.objects[sha256] = body
            return 201, b"{}"
        if sha256 not in self.objects:
            return self._json({"code": "OBJECT_NOT_FOUND", "message": "no such object"}, 404)
        return 200, self.objects[sha256]

    @staticmethod
    def _json(document: dict[str, Any], status: int = 200) -> tuple[int, bytes]:
        return status, json.dumps(document).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.forwarder.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("FUNCX_LAB_HOME", str(path))
    for name in list(os.environ):
        if name.startswith(("FUNCX_LAB_", "JUPYTERHUB_")) and name != "FUNCX_LAB_HOME":
            monkeypatch.delenv(name)
    return path


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    stand_in = StandInHub()
    yield stand_in
    stand_in.close()


@pytest.fixture
def forwarder(hub: StandInHub) -> StandInForwarder:
    return hub.forwarder


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    return wait_for


@pytest.fixture(scope="session")
def engine() -> ModuleType:
    """The module with the stand-in engine host."""
    spec = importlib.util.spec_from_file_location(
        "stand_in_engine", Path(__file__).with_name("stand_in_engine.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``funcx-endpoint`` with these arguments."""

    def command(
        *arguments: str, text: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "funcx_lab_endpoint.cli", *arguments],
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment},
        )

    return command
