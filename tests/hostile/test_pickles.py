"""Pickles that run when they are opened: the service opens none, a user only those of his own endpoints."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import pickle
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from funcx_lab import FuncXClient, stream
from funcx_lab.errors import FuncxLabError, HashMismatch, RemoteError, UntrustedResult
from funcx_lab.protocol import payload
from funcx_lab.protocol.messages import (
    ErrorInfo,
    Event,
    EventBatch,
    Events,
    FunctionBody,
    Heartbeat,
    Hello,
    Lost,
    Outcome,
    ResultItem,
    Results,
    Started,
)
from funcx_lab.protocol.stream import NewTask, Submit, client_codec
from funcx_lab_endpoint.function_book import FunctionBook


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self._command = f"touch {proof}"

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (self._command,)


@pytest.fixture
def proof(tmp_path: Path) -> Iterator[Path]:
    """A file that only a bomb makes."""
    path = tmp_path / "it-ran"
    yield path
    assert not path.exists(), "somebody unpickled it"


def bombs(proof: Path) -> list[bytes]:
    return [pickle.dumps(Bomb(proof), protocol) for protocol in (0, 2, 5)]


def test_the_bomb_works(tmp_path: Path) -> None:
    pickle.loads(bombs(tmp_path / "test")[2])
    assert (tmp_path / "test").exists()


# --- T1 -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def agent(ada: Any, agent_of: Callable[..., Any]) -> Any:
    return agent_of(ada, "cluster").connect()


def test_the_service_opens_none_in_any_field(
    hub: Any, ada: Any, nobody: Any, agent: Any, function_id: str, submit: Any, proof: Path
) -> None:
    for bomb in bombs(proof):
        text, packed = bomb.decode("latin-1"), base64.b64encode(bomb).decode()
        for said in (text, packed):
            over_http(ada, nobody, agent, said)
            over_the_stream(ada, function_id, said, bomb)
        over_the_link(ada, agent, submit, function_id, text, bomb)
    assert hub.lives()


def over_http(ada: Any, nobody: Any, agent: Any, said: str) -> None:
    document = {"deep": [said, {said: said}]}
    for path, body in (
        (
            "/v3/functions",
            {"function_name": said, "function_code": said, "meta": document, "description": said},
        ),
        ("/v3/functions", {"function_name": said, "format": "funcx-lab", "body": said}),
        ("/v3/endpoints", {"endpoint_name": "cluster", "metadata": document}),
        ("/v3/endpoints", {"endpoint_name": said, "endpoint_uuid": said}),
        ("/v3/endpoints/cluster/submit", {"tasks": {said: [said]}, "task_group_id": said}),
        ("/v3/tasks/cancel", {"task_ids": [said]}),
        ("/v2/batch_status", {"task_ids": [said]}),
        (f"/v3/endpoints/{agent.endpoint_id}/enrol", {"enrolment_token": said, "public_key": said}),
    ):
        ada("POST", path, body)
        ada("POST", path, body=said.encode("latin-1"), headers={"Content-Type": "application/python-pickle"})
    digest = hashlib.sha256(said.encode()).hexdigest()
    ada("PUT", f"/v3/objects/{digest}", body=said.encode())
    ada("GET", f"/v3/objects/{digest}")
    nobody(
        "GET", "/v3/whoami", headers={"Authorization": f"Bearer {base64.b64encode(said.encode()).decode()}"}
    )
    for path in ("/v3/functions", "/v3/endpoints", "/v3/tasks"):
        assert ada("GET", path).status == 200


def over_the_stream(ada: Any, function_id: str, said: str, bomb: bytes) -> None:
    group, task = str(uuid.uuid4()), NewTask(str(uuid.uuid4()), bomb)
    with ada.stream() as connection, contextlib.suppress(TimeoutError):
        connection.send(client_codec.encode(Submit(1, "cluster", function_id, group, [task])))
        connection.send(client_codec.encode(Submit(2, said, said, said, [task])))
        connection.recv(0.2)
        connection.send(bomb)
        connection.recv(0.2)


def over_the_link(ada: Any, agent: Any, submit: Any, function_id: str, said: str, bomb: bytes) -> None:
    agent.connect(nonce=str(uuid.uuid4()))
    agent.raw(bomb)
    task_id = submit(ada, "cluster", function_id, said)
    while (task := agent.take()).task_id != task_id:
        agent.answer(task, Outcome(True, bomb))
    facts = {said: said, "bytes": bomb}
    agent.send(Hello(1, said, said, said))
    agent.send(Heartbeat(agent.session, facts))
    agent.send(Started(agent.session, [(task_id, task.tag, said, 1.0, facts)]))
    agent.send(Events(agent.session, [EventBatch(task_id, said, 0, [Event(1.0, said, bomb)])]))
    agent.send(Lost(agent.session, [(task_id, task.tag, said + "2", said)]))
    error = ErrorInfo(said, said, said, said, facts)
    agent.send(
        Results(
            agent.session,
            [ResultItem(task_id, task.tag, said, Outcome(False, bomb, None, error, worker=facts))],
        )
    )
    assert ada("GET", f"/v3/tasks/{task_id}?wait=10").document["state"] == "failed"
    for path in ("", "/result", "/events"):
        assert ada("GET", f"/v3/tasks/{task_id}{path}").status == 200
    assert ada("GET", f"/v2/tasks/{task_id}").status == 200


# --- T2 -----------------------------------------------------------------------------------------------


@pytest.fixture
def client(hub: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FuncXClient]:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))
    client = FuncXClient(funcx_service_address=hub.url, token=hub.tokens["ada"])
    yield client
    stream.close_streams(hub.url)
    client.connection.transport.close()


def give_away(hub: Any, agent: Any) -> None:
    """Make the endpoint eve's while ada's task is on it: as one that is shared with her would be."""
    with contextlib.closing(sqlite3.connect(hub.data / "hub.db", timeout=10)) as other, other:
        changed = other.execute(
            "UPDATE endpoints SET owner = (SELECT id FROM users WHERE name = 'eve') WHERE endpoint_id = ?",
            (agent.endpoint_id,),
        ).rowcount
    assert changed == 1


def evil_outcomes(proof: Path) -> list[Outcome]:
    """Return results and errors that each carry the bomb where the client might open it."""
    bomb = bombs(proof)[2]
    blocks = [
        payload.pack(form, [bomb]).tobytes()
        for form in ("dill", "pickle", "values", "source", "cell", "exception")
    ]
    items = msgspec.msgpack.encode([True, {}, {}, [["_", "dill", 1], ["name", "pickle", 1]]])
    blocks.append(payload.pack("cell-result", [items, bomb, bomb]).tobytes())
    blocks += [bomb, b"00\n" + base64.b64encode(bomb), b"01\n" + base64.b64encode(bomb)]
    error = ErrorInfo("TASK_FAILED", "no", "ValueError", "Traceback: no")
    return [Outcome(True, block) for block in blocks] + [
        Outcome(False, block, None, error) for block in blocks
    ]


def square(x: int) -> int:
    return x * x


@pytest.mark.parametrize("number", range(20))
def test_a_result_of_anothers_endpoint_is_not_unpickled(
    hub: Any, ada: Any, eve: Any, agent_of: Callable[..., Any], client: FuncXClient, proof: Path, number: int
) -> None:
    eve(
        "POST", "/v3/functions", {"function_name": "f", "function_code": "x"}
    )  # so that she is in the database
    agent = agent_of(ada, f"given{number}").connect()
    future = client.submit(square, 3, endpoint=f"given{number}")
    task = agent.take()
    give_away(hub, agent)
    agent.answer(task, evil_outcomes(proof)[number])
    try:
        shown = future.result(20)
    except (FuncxLabError, RemoteError) as err:
        shown = err
    repr(shown), str(shown)
    assert not proof.exists()
    record = client.get_task(future.task_id)
    repr(record)
    if number in (0, 1):
        assert isinstance(shown, UntrustedResult)
        assert "eve" in str(shown) or "endpoint" in str(shown)


# --- T3 -----------------------------------------------------------------------------------------------


def test_a_function_with_any_bit_flipped_is_not_learned() -> None:
    body = payload.pack("source", [b"def f(): return 1", b"more of it"]).tobytes()
    digest = hashlib.sha256(body).hexdigest()
    good = FunctionBody("id", digest, "funcx-lab", "f", body)
    book = FunctionBook()
    for place in range(len(body)):
        for bit in range(8):
            changed = bytearray(body)
            changed[place] ^= 1 << bit
            assert not book.take(msgspec.structs.replace(good, body=bytes(changed)))
            problem = book.problem("id")
            assert problem is not None
            assert problem.code == HashMismatch.code
    for body_ in (body + b"\0", body[:-1], b"", body * 2):
        assert not book.take(msgspec.structs.replace(good, body=body_))
    assert book.take(good)
    assert book.problem("id") is None
