"""What an endpoint's workers have, as its owner is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.messages import Bye, Heartbeat

PATH = "/v3/endpoints/cluster/environment"
THERE = Environment(
    "worker",
    "3.12.4",
    "5" * 64,
    {"torch": "2.4", "naïve\x1b[2J": "\0"},
    {"torch": "torch"},
    accelerators=["GPU 0: NVIDIA A100"],
    visible_devices="0",
    memory=2**40,
)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_environment_that_an_endpoint_reported_last_is_told(ask: Any, agent: Any) -> None:
    assert ask("GET", PATH).document["environment"] is None
    agent._send(Heartbeat(agent.session, {"credit": 1}, environment=THERE))
    until(lambda: ask("GET", PATH).document["environment"] is not None)
    agent._send(Heartbeat(agent.session, {"credit": 7}))
    until(lambda: ask("GET", "/v2/endpoints/cluster/status").document["details"] == {"credit": 7})
    told = ask("GET", f"/v3/endpoints/{agent.endpoint_id}/environment").document
    assert msgspec.convert(told["environment"], Environment) == THERE
    assert (told["name"], told["state"], told["endpoint_id"]) == ("cluster", "online", agent.endpoint_id)


def test_an_endpoint_that_left_keeps_what_it_reported_until_it_is_deleted(ask: Any, agent: Any) -> None:
    agent._send(Heartbeat(agent.session, {}, environment=THERE))
    agent._send(Bye(agent.session, "stopped"))
    until(lambda: ask("GET", PATH).document["state"] == "offline")
    assert ask("GET", PATH).document["environment"]["hash"] == THERE.hash
    ask("DELETE", "/v2/endpoints/cluster")
    assert ask("GET", PATH).status == 404


def test_a_report_of_another_form_changes_nothing(ask: Any, agent: Any) -> None:
    agent._send(Heartbeat(agent.session, {"credit": 1}, environment=THERE))
    until(lambda: ask("GET", PATH).document["environment"] is not None)
    odd = {"type": "Heartbeat", "session": agent.session, "status": {"credit": 2}}
    for environment in ({"python": 3}, {"source": "worker", "hash": "x"}, "all"):
        agent._socket.send(msgspec.msgpack.encode({**odd, "environment": environment}))
    agent._send(Heartbeat(agent.session, {"credit": 3}))
    until(lambda: ask("GET", "/v2/endpoints/cluster/status").document["details"] == {"credit": 3})
    assert msgspec.convert(ask("GET", PATH).document["environment"], Environment) == THERE
