"""A user who means harm, on the stream: neither the service nor another's stream takes damage."""

from __future__ import annotations

import base64
import contextlib
import math
import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from funcx_lab.errors import MalformedMessage
from funcx_lab.protocol.messages import ObjectRef, TaskOptions
from funcx_lab.protocol.stream import (
    CancelTasks,
    Failed,
    Follow,
    NewTask,
    Submit,
    Submitted,
    Subscribe,
    Unfollow,
    Watch,
    client_codec,
    service_codec,
)

HUGE, LOW = 2**64 - 1, -(2**63)
GROUP = "11111111-1111-4111-8111-111111111111"
NAMES = [
    "",
    "\0",
    "../" * 30,
    "'; DROP TABLE tasks; --",
    "x" * 100_000,
    "\u202e\U0001f4a9",
    "a\r\nb",
    "%s%n{0}",
]


@pytest.fixture(scope="module")
def endpoint(eve: Any, agent_of: Callable[..., Any]) -> Any:
    return agent_of(eve, "cluster").connect()


@pytest.fixture(scope="module")
def own_function(eve: Any) -> str:
    document = {"function_name": "f", "format": "funcx-lab", "body": base64.b64encode(b"body").decode()}
    return str(eve("POST", "/v3/functions", document).document["function_uuid"])


def odd_messages(function_id: str) -> list[Any]:
    """Return requests that are well-formed and ask for what cannot be."""
    one = lambda: [NewTask(str(uuid.uuid4()), b"x")]  # noqa: E731  # read beside what uses it
    options = [TaskOptions(walltime_s=value) for value in (math.nan, math.inf, -1.0, 0.0, 1e308)]
    options += [TaskOptions(ttl_s=value) for value in (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308)]
    options += [TaskOptions(retries=value) for value in (-1, HUGE, LOW, 2**31)]
    options += [TaskOptions(label=name) for name in NAMES]
    options += [TaskOptions(retries=3, at_most_once=True)]
    references = [ObjectRef(name, size) for name in NAMES for size in (HUGE, LOW, 0)]
    return [
        *(Submit(n, "cluster", function_id, GROUP, one()) for n in (0, HUGE, LOW)),
        *(Submit(1, name, function_id, GROUP, one()) for name in NAMES),
        *(Submit(2, "cluster", name, GROUP, one()) for name in NAMES),
        *(Submit(3, "cluster", function_id, name, one()) for name in NAMES),
        *(Submit(4, "cluster", function_id, GROUP, [NewTask(name)]) for name in NAMES),
        *(Submit(5, "cluster", function_id, GROUP, one(), option) for option in options),
        Submit(
            6, "cluster", function_id, GROUP, [NewTask(one()[0].task_id, b"", each) for each in references]
        ),
        Submit(7, "cluster", function_id, GROUP, []),
        Submit(8, "cluster", function_id, GROUP, one() * 1000),
        *(Subscribe(name, after) for name in (*NAMES, GROUP) for after in (0, HUGE, LOW, 2**63)),
        *(Follow(name, after) for name in NAMES for after in (HUGE, LOW, 2**63)),
        *(Unfollow(name) for name in NAMES),
        Watch(NAMES),
        Watch([]),
        *(CancelTasks(n, NAMES) for n in (0, HUGE, LOW)),
    ]


def errors(connection: Any, quiet_s: float = 0.3) -> list[str]:
    """Return the codes of what is refused until nothing more is said."""
    codes = []
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        while True:
            message = service_codec.decode(connection.recv(quiet_s))
            if isinstance(message, Failed):
                codes.append(message.error["code"])
            elif isinstance(message, Submitted):
                codes += [refusal.error["code"] for refusal in message.refused]
    return codes


def test_requests_that_cannot_be_granted(hub: Any, eve: Any, endpoint: Any, own_function: str) -> None:
    for message in odd_messages(own_function):
        with eve.stream() as connection:
            connection.send(client_codec.encode(message))
            said = errors(connection, 0.05)
            assert "INTERNAL_ERROR" not in said, message
    for path in ("/v3/tasks?limit=1000", "/v3/stats", f"/v2/taskgroup/{GROUP}"):
        assert eve("GET", path).status == 200
    assert hub.lives()


def test_all_of_them_on_one_stream(eve: Any, endpoint: Any, own_function: str) -> None:
    with eve.stream() as connection:
        for message in odd_messages(own_function):
            frame = client_codec.encode(message)
            with contextlib.suppress(MalformedMessage):  # it would end the stream
                client_codec.decode(frame)
                connection.send(frame)
        said = errors(connection, 1.0)
    assert len(said) > 30
    assert "INTERNAL_ERROR" not in said


def test_damaged_requests_end_the_stream_and_nothing_else(
    hub: Any, eve: Any, ada: Any, endpoint: Any, own_function: str
) -> None:
    """Each is either understood, refused, or the last word on its stream; ada's stream stays."""
    good = [client_codec.encode(message) for message in odd_messages(own_function)]
    good = [frame for frame in good if len(frame) < 3000]
    chance = random.Random(13)
    with ada.stream() as bystander:
        for _ in range(60):
            with eve.stream() as connection, contextlib.suppress(ConnectionClosed):
                for _ in range(50):
                    block = bytearray(chance.choice(good))
                    block[chance.randrange(len(block))] ^= 1 << chance.randrange(8)
                    connection.send(bytes(block))
                assert "INTERNAL_ERROR" not in errors(connection, 0.01)
        bystander.send(client_codec.encode(CancelTasks(77, [])))
        assert service_codec.decode(bystander.recv(10)).request == 77
    assert hub.lives()


def told_all(connection: Any) -> None:
    while True:
        connection.recv(10)


@pytest.mark.parametrize("message", ["text", b"", b"\xc1", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff"])
def test_what_is_no_message_closes_the_stream(eve: Any, message: str | bytes) -> None:
    with eve.stream() as connection:
        connection.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            told_all(connection)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code in (1003, 1007)


def test_a_client_that_never_reads_costs_little(hub: Any, eve: Any, ada: Any) -> None:
    """It asks and asks, and takes no answer: it is hung up on before they fill the memory."""
    before = hub.rss
    frame = client_codec.encode(Watch([str(uuid.uuid4()) for _ in range(5000)]))
    with eve.stream() as connection:
        connection.socket.settimeout(5)
        with contextlib.suppress(ConnectionClosed, TimeoutError, OSError):
            for _ in range(100):
                connection.socket.sendall(b"\x82\xff" + len(frame).to_bytes(8, "big") + bytes(4) + frame)
        assert hub.rss - before < 128e6
        assert ada("GET", "/v3/whoami").status == 200
        connection.socket.close()
