"""An endpoint whose owner means harm: its agent may send what it likes, and harms nobody else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from funcx_lab.protocol.messages import (
    ErrorInfo,
    Event,
    EventBatch,
    Events,
    Heartbeat,
    Outcome,
    ResultItem,
    Results,
    Started,
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
    ada: Any, agent: Any, function_id: str, submit: Any, value: dict[str, Any]
) -> None:
    task_id = submit(ada, "cluster", function_id)
    task = agent.take()
    agent.send(Heartbeat(agent.session, value))
    agent.send(Started(agent.session, [(task_id, task.tag, "run", math.nan, value)]))
    strange = [Event(math.inf, "stdout", value), Event(1.0, "unheard of", [value]), Event(-1e300, "", None)]
    agent.send(Events(agent.session, [EventBatch(task_id, "run", 0, strange)]))
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
