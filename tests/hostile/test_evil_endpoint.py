"""An endpoint whose owner means harm: its agent may send what it likes, and harms nobody else."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from funcx_lab.protocol.messages import (
    Accepted,
    ErrorInfo,
    Event,
    EventBatch,
    Events,
    Heartbeat,
    Hello,
    Inventory,
    Lost,
    ObjectRef,
    Outcome,
    ResultItem,
    Results,
    Started,
    agent_codec,
)

ODD_VALUES = [
    {"extension": msgspec.msgpack.Ext(5, b"x")},
    {"date": msgspec.Raw(b"\xd6\xff\x00\x00\x00\x01")},
    {"key": {(1, 2): 1}},
    {"key": {None: 1}},
    {"key": {1.5: 1, b"x": 2}},
    {"number": math.nan, "other": math.inf},
    {"large": 2**64 - 1, "small": -(2**63)},
    {"bytes": b"\xff" * 100},
    {"deep": msgspec.Raw(b"\x91" * 900 + b"\xc0")},
    {"credit": -(2**63)},
    {"credit": 2**64 - 1},
    {"credit": math.nan},
    {"waiting_reason": ["no", "text"]},
    {"workers": "\x1b[2J\r\n" * 10},
]


@pytest.fixture(scope="module")
def agent(ada: Any, agent_of: Callable[..., Any]) -> Any:
    """The agent of ada's endpoint, in eve's hands."""
    return agent_of(ada, "cluster").connect()


def views(client: Any, task_id: str) -> None:
    """Look at everything that may show what an agent sent."""
    for path in (
        "/v3/endpoints",
        "/v2/endpoints/cluster/status",
        "/v3/tasks",
        f"/v3/tasks/{task_id}",
        f"/v3/tasks/{task_id}/events",
        f"/v2/tasks/{task_id}",
        f"/v3/tasks/{task_id}/result",
    ):
        answer = client("GET", path)
        assert answer.status in (200, 409), (path, answer.content)
        if answer.headers["Content-Type"] == "application/json":
            json.loads(answer.content, parse_constant=float)


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: str(next(iter(value))))
def test_strange_facts_break_no_view(
    ada: Any, agent: Any, function_id: str, submit: Any, until: Any, value: dict[str, Any]
) -> None:
    task_id = submit(ada, "cluster", function_id)
    task = agent.take()
    agent.send(Heartbeat(agent.session, value))
    agent.send(Started(agent.session, [(task_id, task.tag, "run", math.nan, value)]))
    strange = [
        Event(math.inf, "stdout", value),
        Event(math.nan, "unheard of", [value]),
        Event(-1e300, "", None),
    ]
    agent.send(Events(agent.session, [EventBatch(task_id, "run", 0, strange)]))
    until(lambda: len(ada("GET", f"/v3/tasks/{task_id}/events").document["events"]) >= len(strange))
    views(ada, task_id)
    agent.send(Heartbeat(agent.session, {"credit": 1000}))
    failed = Outcome(False, error=ErrorInfo("x", "y", details=value), worker=value, started=math.nan)
    agent.send(Results(agent.session, [ResultItem(task_id, task.tag, "run", failed)]))
    assert ada("GET", f"/v3/tasks/{task_id}?wait=10").document["state"] == "failed"
    views(ada, task_id)


@pytest.mark.parametrize("depth", range(940, 1000, 6))
def test_a_report_nested_to_the_decoders_limit_is_shown(ada: Any, agent: Any, until: Any, depth: int) -> None:
    value = {"mark": depth, "deep": msgspec.Raw(b"\x91" * depth + b"\xc0")}
    agent.send(Heartbeat(agent.session, value))
    agent.send(Heartbeat(agent.session, {"seen": depth, "credit": 1000}))
    until(lambda: f'"seen":{depth}' in ada("GET", "/v2/endpoints/cluster/status").content.decode())
    agent.send(Heartbeat(agent.session, value))
    for _ in range(5):
        assert ada("GET", "/v3/endpoints").status == 200


# --- frames -------------------------------------------------------------------------------------------

HUGE, LOW = 2**64 - 1, -(2**63)
NOWHERE = "00000000-0000-4000-8000-000000000000"


def extremes(session: int, task_id: str, tag: int) -> list[Any]:
    """Return messages that are well-formed and say what cannot be."""
    good = Outcome(True, b"x")
    objects = [ObjectRef("0" * 64, HUGE), ObjectRef("0" * 64, -1), ObjectRef("../../etc/passwd", 1)]
    objects += [ObjectRef("\0" * 64, 1), ObjectRef("", 0), ObjectRef("a" * 100_000, 1)]
    results = [ResultItem(task_id, n, "run", good) for n in (HUGE, LOW, 0, tag + 1)]
    results += [ResultItem(NOWHERE, n, "", good) for n in (HUGE, LOW)]
    results += [
        ResultItem(name, tag, "\0", good) for name in ("", "\0", "x" * 100_000, "'; DROP TABLE tasks; --")
    ]
    firsts = [EventBatch(task_id, "run", n, [Event(1.0, "stdout", "x")]) for n in (HUGE, LOW, -1, 2**62)]
    messages: list[Any] = [
        *(Heartbeat(n, {"credit": 1}) for n in (HUGE, LOW, 0, session + 1)),
        *(Hello(version, "n", "i", "s") for version in (HUGE, LOW, -1, 2)),
        *(Inventory(session, [(task_id, n), (NOWHERE, n), ("\0", n)]) for n in (HUGE, LOW, -1)),
        *(Accepted(session, [(task_id, n), (NOWHERE, n)]) for n in (HUGE, LOW, -1)),
        *(Started(session, [(task_id, tag, "run", time_, {})]) for time_ in (math.nan, math.inf, -1e308)),
        *(Started(session, [(task_id, n, "run", 1.0, {})]) for n in (HUGE, LOW, -1)),
        *(Events(session, [batch]) for batch in firsts),
        *(Lost(session, [(name, n, "run", "x" * 100_000)]) for name in (NOWHERE, "\0") for n in (HUGE, LOW)),
        Results(session, results[4:]),
        *(
            Results(session, [ResultItem(NOWHERE, tag, f"o{n}", Outcome(True, b"", reference))])
            for n, reference in enumerate(objects)
        ),
    ]
    return messages


def test_messages_that_say_what_cannot_be(
    hub: Any, ada: Any, agent: Any, function_id: str, submit: Any, until: Any
) -> None:
    agent.connect(nonce="extremes")
    for number, reference in enumerate((ObjectRef("0" * 64, HUGE), ObjectRef("../" * 20 + "abcd", 4), None)):
        task_id = submit(ada, "cluster", function_id)
        task = agent.take()
        for message in extremes(agent.session, task_id, task.tag):
            agent.send(message)
        outcome = Outcome(reference is None, b"", reference, None, math.nan, math.inf)
        agent.send(Results(agent.session, [ResultItem(task_id, task.tag, f"end{number}", outcome)]))
        agent.answer(task, Outcome(True, b"3\nabc"))  # if that was no message at all
        assert ada("GET", f"/v3/tasks/{task_id}?wait=10").document["state"] in ("failed", "success")
        views(ada, task_id)
    assert hub.lives()


def test_an_agents_damaged_frames_harm_nobody(
    hub: Any, ada: Any, eve: Any, agent: Any, agent_of: Callable[..., Any], function_id: str, submit: Any
) -> None:
    """5,000 of them in a session that goes on; another agent's task goes its way meanwhile."""
    agent.connect(nonce="damage")
    other = agent_of(ada, "bystander").connect()
    task_id = submit(ada, "cluster", function_id)
    tag = agent.take().tag
    good = [agent_codec.encode(message) for message in extremes(agent.session, task_id, tag)]
    good.append(agent_codec.encode(Started(agent.session, [(task_id, tag, "run", 1.0, {"host": "h"})])))
    small = [frame for frame in good if len(frame) < 5000]
    chance = random.Random(11)
    before = hub.rss
    for _ in range(5000):
        block = bytearray(chance.choice(small))
        for _ in range(chance.randrange(1, 4)):
            block[chance.randrange(len(block))] = chance.choice(
                (0, 0x7F, 0x80, 0xC0, 0xFF, chance.randrange(256))
            )
        agent.raw(bytes(block))
    agent.socket.send_multipart([b"two", b"parts"])
    agent.raw(b"")
    bystander = submit(ada, "bystander", function_id)
    other.answer(other.take(), Outcome(True, b"3\nabc"))
    assert ada("GET", f"/v3/tasks/{bystander}?wait=10").document["state"] == "success"
    views(ada, task_id)
    assert hub.rss - before < 64e6
    assert hub.lives()


def test_a_frame_of_sixteen_megabytes_and_more(hub: Any, ada: Any, agent: Any) -> None:
    agent.connect(nonce="large")
    before = hub.rss
    for size in (15_900_000, 16 * 1024 * 1024 + 1, 64 * 1024 * 1024):
        agent.raw(b"\xc6" + size.to_bytes(4, "big") + bytes(size))
    agent.connect(nonce="after it")
    assert hub.rss - before < 128e6


def test_many_sessions_and_names_do_not_pile_up(hub: Any, ada: Any, agent: Any) -> None:
    """An agent that says hello all the time, and tasks that nobody knows, leave nothing behind."""
    agent.connect(nonce="first of many")
    before = hub.rss
    for number in range(300):
        agent.send(Hello(1, f"again {number}", "instance", "x" * 10_000, takeover=True))
        agent.send(Lost(agent.session, [(NOWHERE, 1, f"{number}-{n}", "x" * 1000) for n in range(20)]))
    agent.connect(nonce="last of many")
    assert hub.rss - before < 64e6
