"""What a user sees who asks for something that cannot be: what, where, why, what to do next, and the code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from funcx_lab import Executor, FuncXClient
from funcx_lab.errors import (
    CannotSerialize,
    ConfigError,
    EndpointNotFound,
    FunctionNotFound,
    HashMismatch,
    InvalidName,
    NotAuthenticated,
    PythonMismatch,
    RemoteError,
    TaskNotFound,
    TaskPoisoned,
)
from funcx_lab.protocol import payload
from funcx_lab.serialize import PackedFunction, pack_arguments

NOBODY = "00000000-0000-7000-8000-000000000000"
LOCK = threading.Lock()


def square(x: int) -> int:
    return x * x


def guarded(x: int) -> int:
    with LOCK:
        return x


def give_a_generator() -> Any:
    return (number for number in range(3))


def leave() -> None:
    import sys

    sys.exit(3)


def vanish() -> None:
    import os

    os._exit(3)


def crash() -> None:
    import ctypes

    ctypes.string_at(0)


# --- names, ids, tokens -------------------------------------------------------------------------------


def test_an_unknown_endpoint(client: FuncXClient, fails: Any) -> None:
    for action in (
        lambda: client.run(1, function=square, endpoint="nowhere"),
        lambda: client.submit(square, 1, endpoint="nowhere").result(20),
        lambda: Executor("nowhere", client).submit(square, 1).result(20),
        lambda: client.get_endpoint_status("nowhere"),
    ):
        said = str(fails(EndpointNotFound, "ENDPOINT_NOT_FOUND", action))
        assert "'nowhere'" in said
        assert "funcx-lab status" in said


def test_an_unknown_function_and_task(client: FuncXClient, fails: Any) -> None:
    run = lambda: client.run(1, function_id=NOBODY, endpoint="local")  # noqa: E731  # read beside the next
    assert "register it first" in str(fails(FunctionNotFound, "FUNCTION_NOT_FOUND", run))
    assert NOBODY in str(fails(TaskNotFound, "TASK_NOT_FOUND", lambda: client.get_result(NOBODY)))


def test_a_wrong_token(lab: Any, fails: Any) -> None:
    stranger = FuncXClient(funcx_service_address=lab.url, token="fxl_wrong")
    for action in (
        lambda: stranger.run(1, function=square, endpoint="local"),
        lambda: Executor("local", stranger).submit(square, 1).result(20),
    ):
        assert "funcx-lab login" in str(fails(NotAuthenticated, "NOT_AUTHENTICATED", action))
    stranger.connection.transport.close()


@pytest.mark.parametrize("name", ["../x", "Upper", "", "a" * 64])
def test_an_invalid_endpoint_name(lab: Any, client: FuncXClient, fails: Any, name: str) -> None:
    said = str(fails(InvalidName, "INVALID_NAME", lambda: client.register_endpoint(name)))
    assert repr(name) in said
    assert "a-z0-9" in said
    assert "not a valid name" in lab.endpoint("configure", name, code=2)
    assert not (lab.home / "x").exists()


# --- what cannot be sent ------------------------------------------------------------------------------


def test_a_function_that_cannot_be_sent(client: FuncXClient, fails: Any) -> None:
    said = str(fails(CannotSerialize, "CANNOT_SERIALIZE", lambda: client.submit(guarded, 1)))
    line = guarded.__code__.co_firstlineno + 1
    assert f"`guarded` uses `LOCK` at line {line}" in said
    assert f"line {line}:  with LOCK:" in said
    assert "why:  _thread.lock: a lock belongs to one process" in said
    assert "try:  create `LOCK` inside the function" in said


def test_an_argument_that_cannot_be_sent(client: FuncXClient, fails: Any) -> None:
    by_place = fails(CannotSerialize, "CANNOT_SERIALIZE", lambda: client.submit(square, LOCK))
    assert "Argument 1 (lock) cannot be sent" in str(by_place)
    by_name = fails(CannotSerialize, "CANNOT_SERIALIZE", lambda: client.submit(square, x={"a": [LOCK]}))
    assert "Argument `x` (dict) cannot be sent: a lock belongs to one process" in str(by_name)


def test_a_result_that_cannot_be_sent(client: FuncXClient, fails: Any) -> None:
    future = client.submit(give_a_generator)
    said = str(fails(CannotSerialize, "CANNOT_SERIALIZE", lambda: future.result(30)))
    assert "The result (generator) cannot be sent back" in said
    assert "send a list of its items" in said


def test_bytecode_of_another_python_never_runs(client: FuncXClient, fails: Any, tmp_path: Path) -> None:
    proof = tmp_path / "it-ran"
    script = f"open({str(proof)!r}, 'w')"
    poison = b"cbuiltins\nexec\n(V" + script.encode() + b"\ntR."
    body = payload.pack("dill", [poison], python="3.9").tobytes()
    function = PackedFunction("foreign", body, hashlib.sha256(body).hexdigest())
    future = client.submit_packed(function, pack_arguments((), {}), "local")
    said = str(fails(PythonMismatch, "PYTHON_MISMATCH", lambda: future.result(30)))
    assert "3.9" in said
    assert not proof.exists()


# --- functions that end their worker ------------------------------------------------------------------


def test_sys_exit_is_an_error_like_any_other(client: FuncXClient, fails: Any) -> None:
    future = client.submit(leave)
    said = str(fails(RemoteError, "TASK_FAILED", lambda: future.result(30)))
    assert "SystemExit: 3" in said
    assert "sys.exit(3)" in said


@pytest.mark.parametrize(("function", "evidence"), [(vanish, "died"), (crash, "Segmentation fault")])
def test_a_function_that_ends_its_worker_is_given_up(
    client: FuncXClient, fails: Any, function: Callable[[], None], evidence: str
) -> None:
    others = [client.submit(square, n) for n in range(10)]
    future = client.submit(function)
    others += [client.submit(square, n) for n in range(10, 20)]
    said = str(fails(TaskPoisoned, "TASK_POISONED", lambda: future.result(60)))
    assert "3 workers died" in said
    assert evidence in said
    assert [other.result(30) for other in others] == [n * n for n in range(20)]


# --- over HTTP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "words"),
    [
        ("POST", "/v3/functions", b"this is not json", 400, "INVALID_REQUEST", "JSON is malformed"),
        ("POST", "/v3/functions", b"[1]", 400, "INVALID_REQUEST", "Expected `object`"),
        ("POST", "/v3/endpoints", b'{"endpoint_name": "../x"}', 400, "INVALID_NAME", "'../x'"),
        ("POST", "/v3/functions", b" " * 11_000_000, 413, "TASK_PAYLOAD_TOO_LARGE", "11000000 bytes"),
        ("PUT", "/v3/objects/" + "a" * 64, b"hello", 422, "PAYLOAD_HASH_MISMATCH", "nothing was stored"),
    ],
)
def test_a_request_that_is_refused(
    lab: Any, method: str, path: str, body: bytes, status: int, code: str, words: str
) -> None:
    token = (lab.home / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        answer = pool.request(method, lab.url + path, body=body, headers=headers)
    document = answer.json()
    assert (answer.status, document["code"]) == (status, code)
    assert words in document["message"]


def test_a_function_whose_bytes_were_changed_on_the_service(
    lab: Any, client: FuncXClient, fails: Any
) -> None:
    function_id = client.register_function(lambda: "a function of this test alone")
    with sqlite3.connect(lab.home / "hub" / "hub.db", timeout=10) as other:
        changed = other.execute(
            "UPDATE functions SET body = CAST(body || ' ' AS BLOB) WHERE function_id = ?", (function_id,)
        ).rowcount
    other.close()
    assert changed == 1
    lab.lab("stop")  # or it would still know the bytes
    future = client.task(client.run(function_id=function_id, endpoint="local"))
    said = str(fails(HashMismatch, "PAYLOAD_HASH_MISMATCH", lambda: future.result(60)))
    assert "was changed on its way" in said
    assert "It was not run" in said


# --- files of the service -----------------------------------------------------------------------------


def test_a_damaged_file_is_named_with_its_line(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = lab.home / "profile.json"
    profile.write_text('{\n"url": "https://example.org",\noops}\n')
    try:
        assert f"{profile}, line 3: not JSON" in lab.lab("status", code=1)
        with pytest.raises(ConfigError, match="line 3"):
            FuncXClient()
    finally:
        profile.unlink()


def test_taken_ports_are_left_to_their_owner(lab: Any, client: FuncXClient) -> None:
    lab.lab("stop")
    ports = json.loads((lab.home / "hub" / "ports.json").read_text())
    others = [socket.create_server(("127.0.0.1", port)) for port in ports.values()]
    try:
        began = time.monotonic()
        assert client.submit(square, 5).result(60) == 25
        assert time.monotonic() - began < 20
        # Nor does that owner get to see the token.
        for other in others:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.accept()
        now = json.loads((lab.home / "hub" / "ports.json").read_text())
        assert set(now.values()).isdisjoint(ports.values())
    finally:
        for other in others:
            other.close()
    said = lab.run("funcx_lab_hub_service", "--data", "other", "--port", str(now["http"]), code=1)
    assert f"port {now['http']}: Address already in use. Choose another with --port" in said


def test_garbage_on_the_forwarders_port_disturbs_nobody(lab: Any, client: FuncXClient) -> None:
    address = "127.0.0.1", json.loads((lab.home / "hub" / "ports.json").read_text())["forwarder"]
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
    announced = greeting + b"\x06" + (10**9).to_bytes(8, "big")
    hub = lab.find("hub")
    before = hub.memory_info().rss
    chance = random.Random(7)
    connections = []
    for number in range(150):
        frame = (chance.randbytes(200), greeting[: number % 64], announced)[number % 3]
        connections.append(socket.create_connection(address))
        connections[-1].sendall(frame)
    futures = [client.submit(square, n) for n in range(100)]
    assert [future.result(30) for future in futures] == [n * n for n in range(100)]
    for connection in connections:
        connection.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):  # it is hung up on, in the end
                pass
        connection.close()
    assert hub.memory_info().rss - before < 64e6
