"""Clocks that are wrong: an agent's decides nothing, the service's own gives nobody more than his due."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from funcx_lab.errors import NotAuthenticated
from funcx_lab.protocol.messages import Event, EventBatch, Events, Outcome, ResultItem, Results, Started
from funcx_lab_hub_service.auth.tokens import FRESH_S, Tokens
from funcx_lab_hub_service.limits import Buckets
from funcx_lab_hub_service.store.database import Database

YEAR_S = 365 * 86400.0


@pytest.mark.parametrize("away", [-10 * YEAR_S, -3600.0, 3600.0, 10 * YEAR_S, 1e15])
def test_an_agents_clock_decides_nothing(
    ada: Any, agent_of: Callable[..., Any], function_id: str, submit: Any, away: float
) -> None:
    """Order is the service's own, and nothing expires for what an agent says the time is."""
    agent = agent_of(ada, "cluster").connect(nonce=str(away))
    task_ids = [submit(ada, "cluster", function_id) for _ in range(2)]
    for task_id in task_ids:
        task = agent.take()
        wrong = time.time() + away
        agent.send(Started(agent.session, [(task_id, task.tag, "run", wrong, {})]))
        events = [Event(wrong - n, "stdout", f"{n}") for n in range(3)]
        agent.send(Events(agent.session, [EventBatch(task_id, "run", 0, events)]))
        outcome = Outcome(True, b"3\nabc", started=wrong + 60, ended=wrong)
        agent.send(Results(agent.session, [ResultItem(task_id, task.tag, "run", outcome)]))
        assert ada("GET", f"/v3/tasks/{task_id}?wait=10").document["state"] == "success"
        log = ada("GET", f"/v3/tasks/{task_id}/events").document["events"]
        assert [event["data"] for _, event in log if event["kind"] == "stdout"] == ["0", "1", "2"]
        assert log[-1][1]["data"]["state"] == "success"
    listed = [task["task_id"] for task in ada("GET", "/v3/tasks?limit=2").document["tasks"]]
    assert listed == task_ids[::-1]


def test_an_enrolment_token_ends(hub: Any, ada: Any, nobody: Any) -> None:
    registered = ada("POST", "/v3/endpoints", {"endpoint_name": "late"}).document
    with contextlib.closing(sqlite3.connect(hub.data / "hub.db", timeout=10)) as other, other:
        (ends,) = other.execute(
            "SELECT enrolment_ends FROM endpoints WHERE endpoint_id = ?", (registered["endpoint_id"],)
        ).fetchone()
        other.execute(
            "UPDATE endpoints SET enrolment_ends = ? WHERE endpoint_id = ?",
            (time.time() - 1, registered["endpoint_id"]),
        )
    assert 0 < ends - time.time() <= 15 * 60
    document = {"enrolment_token": registered["enrolment_token"], "public_key": "k" * 40}
    assert nobody("POST", f"/v3/endpoints/{registered['endpoint_id']}/enrol", document).status == 401


async def _revoked(database: Database, jump: float) -> None:
    now = 1000.0
    tokens, elsewhere = Tokens(database, lambda: now), Tokens(database)
    token = await tokens.create("ada")
    number = tokens.verify(token).token_id
    await elsewhere.revoke(number)
    now += jump
    with pytest.raises(NotAuthenticated):
        tokens.verify(token)


@pytest.mark.parametrize("jump", [FRESH_S, 3600.0, YEAR_S])
def test_a_jump_makes_no_token_live_longer(tmp_path: Any, jump: float) -> None:
    async def work() -> None:
        database = Database(tmp_path / "hub.db")
        await database.start()
        try:
            await _revoked(database, jump)
        finally:
            await database.close()

    asyncio.run(work())


def test_a_jump_gives_no_more_than_one_burst() -> None:
    buckets = Buckets(1.0, 5)
    for now in (0.0, 10 * YEAR_S, 0.0, 10 * YEAR_S):
        granted = 0
        while not buckets.take("eve", now) and granted < 100:
            granted += 1
        assert granted <= 5
