"""The hub service as a program: start, files, signals, ports, tokens, and what it must not do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from funcx_lab.errors import ConfigError
from funcx_lab.locks import is_held, take_lock

MODULE = [sys.executable, "-m", "funcx_lab_hub_service"]


class Program:
    """One run of the program."""

    def __init__(self, *arguments: str, home: Path) -> None:
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [*MODULE, *arguments, "--ready-fd", str(write_end)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
            env={**os.environ, "FUNCX_LAB_HOME": str(home)},
        )
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            line = pipe.readline()
        self.said: dict[str, Any] = json.loads(line) if line else {}

    @property
    def url(self) -> str:
        return str(self.said["url"])

    def end(self, number: int = signal.SIGTERM) -> int:
        if "url" in self.said and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.output = self.process.stdout.read().decode()
            self.process.stdout.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def launch(home: Path, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def start(*arguments: str) -> Program:
        where = () if "--embedded" in arguments else ("--data", str(tmp_path / "data"))
        programs.append(Program(*where, *arguments, home=home))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.stdout is not None and not program.process.stdout.closed:
            program.end()


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, *arguments],
        env={**os.environ, "FUNCX_LAB_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def get(url: str, token: str | None = None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        return pool.request("GET", url, headers=headers).status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_good_order(launch: Callable[..., Program], number: int) -> None:
    program = launch()
    assert get(program.url + "/healthz") == 200
    began = time.monotonic()
    assert program.end(number) == 0, program.output
    assert time.monotonic() - began < 15
    assert "Traceback" not in program.output


def test_open_connections_do_not_hold_it_up(
    launch: Callable[..., Program], home: Path, tmp_path: Path
) -> None:
    token = command(home, "--data", str(tmp_path / "data"), "token", "create", "ada").stdout.strip()
    program = launch()
    address = urllib3.util.parse_url(program.url)
    head = f"Host: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
    beginnings = {
        "idle": f"GET /v3/whoami HTTP/1.1\r\n{head}\r\n",
        "half a head": f"GET /v3/whoami HTTP/1.1\r\n{head}",
        "half a body": f"POST /v3/functions HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\n{{",
        "half an object": f"PUT /v3/objects/{'0' * 64} HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\nx",
        "a stream": f"GET /v3/stream HTTP/1.1\r\n{head}Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    }
    with contextlib.ExitStack() as stack:
        for beginning in beginnings.values():
            connection = stack.enter_context(
                socket.create_connection((str(address.host), int(address.port or 0)))
            )
            connection.sendall(beginning.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 101 ")
        began = time.monotonic()
        assert program.end() == 0, program.output
        assert time.monotonic() - began < 15
    assert "Traceback" not in program.output


def test_the_second_signal_stops_it_at_once(launch: Callable[..., Program], tmp_path: Path) -> None:
    program = launch()
    # A writer that holds the database keeps the stop waiting for its last commit.
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "hub.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        program.process.send_signal(signal.SIGTERM)
        host, port = urllib3.util.parse_url(program.url).host, urllib3.util.parse_url(program.url).port
        deadline = time.monotonic() + 30
        while accepts(str(host), int(port or 0)):
            assert time.monotonic() < deadline, "the first signal did not stop it from accepting"
            time.sleep(0.02)
        assert program.process.poll() is None
        began = time.monotonic()
        assert program.end() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 15


def accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_embedded_service_writes_its_files(launch: Callable[..., Program], home: Path) -> None:
    (home / "endpoints" / "local").mkdir(parents=True)
    # Held as an agent of an earlier life would: so none is started.
    agent_lock = take_lock(home / "endpoints" / "local" / "agent.lock")
    assert agent_lock is not None
    program = launch("--embedded")
    document = json.loads((home / "service.json").read_text())
    assert document["url"] == program.url
    assert document["pid"] == program.process.pid
    assert document["host"] == socket.gethostname()
    assert set(document) == {"url", "host", "pid", "version", "started"}
    assert is_held(home / "service.lock")
    token = (home / "token").read_text().strip()
    assert get(program.url + "/v3/whoami", token) == 200
    for path in home.rglob("*"):
        if path.name not in ("agent.lock", "local", "endpoints"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    os.close(agent_lock)
    program.end()
    assert not (home / "service.json").exists()
    assert not is_held(home / "service.lock")


@pytest.mark.parametrize("kept", ["", "no token", "fxl_" + "x" * 43])
def test_an_embedded_token_that_does_not_work_is_made_anew(start: Any, data: Path, kept: str) -> None:
    home = data.parent / "home"
    (home / "endpoints" / "local").mkdir(parents=True)
    lock = take_lock(home / "endpoints" / "local" / "agent.lock")
    assert lock is not None
    try:
        (home / "token").write_text(kept)
        (home / "token").chmod(0o600)
        hub = start(data=home / "hub", home=home)
        token = (home / "token").read_text().strip()
        assert token != kept
        assert get(hub.url + "/v3/whoami", token) == 200
        hub.stop()
        (home / "token").chmod(0o644)
        with pytest.raises(ConfigError, match="Others can read"):
            start(data=home / "hub", home=home)
    finally:
        os.close(lock)


def test_a_directory_has_one_service(launch: Callable[..., Program], home: Path) -> None:
    launch("--data", str(home / "x"))
    second = launch("--data", str(home / "x"))
    assert second.said["error"]["code"] == "SERVICE_START_FAILED"
    assert second.end() == 1
    assert "already" in second.output


def test_the_data_of_an_embedded_service_are_not_served_twice(
    launch: Callable[..., Program], home: Path
) -> None:
    (home / "endpoints" / "local").mkdir(parents=True)
    agent_lock = take_lock(home / "endpoints" / "local" / "agent.lock")
    assert agent_lock is not None
    launch("--embedded")
    second = launch("--data", str(home / "hub"))
    assert second.end() == 1
    assert f"Another hub service runs on {home / 'hub'} already" in second.output
    os.close(agent_lock)


def test_token_and_ports_stay(launch: Callable[..., Program], tmp_path: Path, home: Path) -> None:
    token = command(home, "--data", str(tmp_path / "data"), "token", "create", "ada").stdout.strip()
    first = launch()
    assert get(first.url + "/v3/whoami", token) == 200
    first.end(signal.SIGKILL)
    second = launch()
    assert second.url == first.url
    assert get(second.url + "/v3/whoami", token) == 200


def test_a_taken_port_is_told(launch: Callable[..., Program]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        program = launch("--port", port)
        assert program.said["error"]["code"] == "SERVICE_START_FAILED"
        assert program.end() == 1
    assert port in program.output
    assert "--port" in program.output
    assert "Traceback" not in program.output


def test_a_taken_last_port_is_left(launch: Callable[..., Program]) -> None:
    first = launch()
    first.end()
    port = int(first.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        second = launch()
        assert second.url != first.url
        assert get(second.url + "/healthz") == 200


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--data", "d", "--host", "0.0.0.0"], "TLS"),
        (["--data", "d", "--host", "example.org"], "TLS"),
        (["--data", "d", "--certfile", "c.pem"], "--keyfile"),
        (["--data", "d", "--certfile", "c.pem", "--keyfile", "k.pem"], "c.pem"),
        ([], "--data"),
        (["--data", "/proc/none"], "/proc/none"),
        (["token", "revoke", "77"], "77"),
    ],
)
def test_bad_settings_are_refused(home: Path, tmp_path: Path, arguments: list[str], word: str) -> None:
    settings = [str(tmp_path / "d") if argument == "d" else argument for argument in arguments]
    done = command(home, *settings)
    assert done.returncode == 1
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_tokens_are_made_listed_and_revoked(
    launch: Callable[..., Program], home: Path, tmp_path: Path
) -> None:
    data = ("--data", str(tmp_path / "data"))
    token = command(home, *data, "token", "create", "ada", "--label", "laptop").stdout.strip()
    assert token.startswith("fxl_")
    assert len(token) == 47
    program = launch()
    assert get(program.url + "/v3/whoami", token) == 200
    listed = command(home, *data, "token", "list").stdout
    assert "ada" in listed
    assert token[4:] not in listed
    assert command(home, *data, "token", "revoke", "1").returncode == 0
    deadline = time.monotonic() + 30
    while get(program.url + "/v3/whoami", token) == 200:
        assert time.monotonic() < deadline, "another process's revocation was not seen"
        time.sleep(0.1)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("hub.db*"))
    assert token.encode() not in stored


def test_a_large_object_costs_little_memory(
    launch: Callable[..., Program], home: Path, tmp_path: Path
) -> None:
    token = command(home, "--data", str(tmp_path / "data"), "token", "create", "ada").stdout.strip()
    program = launch()
    block, count = os.urandom(1024 * 1024), 200
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(block)
    url = f"{program.url}/v3/objects/{digest.hexdigest()}"
    headers = {"Authorization": f"Bearer {token}"}
    service = psutil.Process(program.process.pid)
    before = peak = service.memory_info().rss
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        sent = {**headers, "Content-Length": str(count * len(block))}
        assert pool.request("PUT", url, body=(block for _ in range(count)), headers=sent).status == 201
        peak = max(peak, service.memory_info().rss)
        answer = pool.request("GET", url, headers=headers, preload_content=False)
        received = hashlib.sha256()
        for chunk in answer.stream(len(block)):
            received.update(chunk)
            peak = max(peak, service.memory_info().rss)
        answer.release_conn()
    assert received.hexdigest() == digest.hexdigest()
    assert peak - before < 64 * 1024 * 1024


PLANTED = """
import pickle, _pickle, io
from funcx_lab_hub_service.unpickling import refuse_unpickling
payload = pickle.dumps(print)
refuse_unpickling()
import funcx_lab_hub_service.cli
for load in (pickle.loads, _pickle.loads, lambda data: pickle._Unpickler(io.BytesIO(data)).load()):
    try:
        load(payload)
    except RuntimeError as err:
        assert "never unpickles" in str(err)
    else:
        raise SystemExit("unpickled")
for name in ("dill", "cloudpickle"):
    try:
        __import__(name)
    except ImportError:
        pass
    else:
        raise SystemExit(name + " can be imported")
"""


def test_nothing_is_unpickled_there() -> None:
    done = subprocess.run([sys.executable, "-c", PLANTED], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
