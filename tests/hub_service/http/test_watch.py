"""A watching page: told at once how everything is, then what changes, and nothing of anybody else."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest

from funcx_lab.protocol.messages import Event
from funcx_lab_hub_service.store import retention
from tests.hub_service.http.pages import watching

NOBODYS = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def function_id(ask: Any) -> str:
    body = base64.b64encode(b"a payload").decode()
    document = {"function_name": "f", "format": "funcx-lab", "body": body}
    return str(ask("POST", "/v3/functions", document).document["function_uuid"])


@pytest.fixture
def submit(ask: Any, function_id: str) -> Callable[..., list[str]]:
    def submit_some(count: int = 1, payload: str = "x") -> list[str]:
        document = {"tasks": {function_id: [payload] * count}}
        answer = ask("POST", "/v3/endpoints/cluster/submit", document)
        assert answer.status == 200, answer.document
        return list(answer.document["tasks"][function_id])

    return submit_some


def test_a_page_is_told_at_once_how_everything_is(ask: Any, agent: Any, submit: Any) -> None:
    (done,) = submit()
    assert ask("GET", f"/v3/tasks/{done}?wait=30").document["state"] == "success"
    agent.answer = lambda task: None
    (running,) = submit()
    with watching(ask) as page:
        hello = page.next()
        assert (hello["type"], hello["user"], hello["read_only"]) == ("hello", "ada", False)
        assert hello["version"]
        page.until(lambda: {done, running} <= page.tasks.keys() and page.counts and page.endpoints)
        assert page.tasks[done] == ask("GET", f"/v3/tasks/{done}").document
        assert {"owner", "session", "memo"} <= page.tasks[done].keys()
        page.until(lambda: page.tasks[running]["state"] == "running")
        page.until(lambda: page.counts == {"running": 1, "success": 1})
        page.until(lambda: page.endpoints["cluster"]["queue"] == {"waiting": 0, "running": 1})
        cluster = page.endpoints["cluster"]
        assert (cluster["state"], cluster["owner"], cluster["shared"]) == ("online", "ada", False)
        listed = ask("GET", "/v3/endpoints").document["endpoints"][0]
        assert listed.pop("details") == {"credit": 10_000}
        assert listed == cluster


def test_a_page_is_told_of_each_step_of_a_task(ask: Any, agent: Any, submit: Any) -> None:
    agent.answer = lambda task: None
    with watching(ask) as page:
        assert page.first("tasks")["tasks"] == []
        (task_id,) = submit()
        page.until(lambda: page.tasks.get(task_id, {}).get("state") == "running")
        ask("POST", "/v3/tasks/cancel", {"task_ids": [task_id]})
        page.until(lambda: page.tasks[task_id]["state"] == "cancelled")
        page.until(lambda: page.counts == {"cancelled": 1})
        page.until(lambda: page.endpoints["cluster"]["queue"] == {"waiting": 0, "running": 0})


def test_a_page_is_told_when_an_endpoint_comes_and_goes(ask: Any, client_for: Any) -> None:
    with watching(ask) as page:
        assert page.first("endpoints")["endpoints"] == []
        ask("POST", "/v3/endpoints", {"endpoint_name": "away"})
        page.until(lambda: page.endpoints.get("away", {}).get("state") == "registered")
        ask("DELETE", "/v2/endpoints/away")
        page.until(lambda: page.endpoints == {})


def test_a_page_follows_a_log_from_a_place(ask: Any, agent: Any, submit: Any) -> None:
    agent.answer = lambda task: None
    (task_id,) = submit()
    with watching(ask) as page:
        page.until(lambda: page.tasks.get(task_id, {}).get("state") == "running")
        agent.say(task_id, 0, [Event(1.0, "stdout", "one"), Event(2.0, "stdout", "two")])
        page.say("follow", task_id=task_id, after=0)
        entries: list[Any] = []
        ended = False
        while not any(entry["data"] == "two" for _, entry in entries):
            entries += page.first("events")["events"]
        ask("POST", "/v3/tasks/cancel", {"task_ids": [task_id]})
        while not ended:
            message = page.first("events")
            entries += message["events"]
            ended = message["ended"]
        assert [seq for seq, _ in entries] == sorted({seq for seq, _ in entries})
        assert entries[-1][1]["data"]["state"] == "cancelled"
        assert entries == ask("GET", f"/v3/tasks/{task_id}/events").document["events"]
        page.say("follow", task_id=task_id, after=entries[-2][0])
        assert page.first("events")["events"] == entries[-1:]


def test_nothing_of_others_is_told(ask: Any, agent: Any, submit: Any, hub: Any, client_for: Any) -> None:
    (mine,) = submit()
    ask("GET", f"/v3/tasks/{mine}?wait=30")
    eve = client_for(hub.new_token("eve"))
    with watching(ask) as ours, watching(eve) as page:
        ours.first("tasks")
        assert page.first("tasks")["tasks"] == []
        (more,) = submit()
        page.say("follow", task_id=mine)
        refused = page.first("error")
        page.say("follow", task_id=NOBODYS)
        unknown = page.first("error")
        assert refused["code"] == unknown["code"] == "TASK_NOT_FOUND"
        assert refused["message"].replace(mine, NOBODYS) == unknown["message"]
        assert (refused["task_id"], unknown["task_id"]) == (mine, NOBODYS)
        ours.until(lambda: ours.tasks.get(more, {}).get("state") == "success")
        kinds = {message["type"] for message in page.messages}
        assert kinds == {"hello", "endpoints", "counts", "tasks", "error"}
        assert (page.tasks, page.endpoints, page.counts) == ({}, {}, {})


def test_a_page_that_nobody_sees_is_told_nothing(ask: Any, agent: Any, submit: Any) -> None:
    agent.answer = lambda task: None
    (followed,) = submit()
    with watching(ask) as page:
        page.until(lambda: page.tasks.get(followed, {}).get("state") == "running")
        page.say("follow", task_id=followed)
        page.first("events")
        page.say("pause")
        page.say("follow", task_id=NOBODYS)  # kept for later, too
        (task_id,) = submit()
        agent.say(followed, 0, [Event(1.0, "stdout", "meanwhile")])
        assert ask("POST", "/v3/tasks/cancel", {"task_ids": [task_id]}).document["cancelled"] == [task_id]
        with watching(ask) as other:  # whatever is told was told by then
            other.until(lambda: other.tasks.get(task_id, {}).get("state") == "cancelled")
        told = len(page.messages)
        page.say("resume")
        page.until(lambda: page.tasks.get(task_id, {}).get("state") == "cancelled")
        steps = [
            task["state"]
            for one in page.messages[told:]
            for task in one.get("tasks", ())
            if one["type"] == "tasks"
        ]
        assert steps.count("running") <= 1
        while not any(entry["data"] == "meanwhile" for _, entry in page.events[followed]):
            page.first("events")
        assert [seq for seq, _ in page.events[followed]] == sorted({seq for seq, _ in page.events[followed]})
        page.until(lambda: any(one["type"] == "error" for one in page.messages))


def test_two_pages_of_one_user_are_told_the_same(ask: Any, agent: Any, submit: Any) -> None:
    with watching(ask) as one, watching(ask) as two:
        task_ids = submit(20)
        for page in (one, two):
            page.until(
                lambda page=page: {page.tasks.get(each, {}).get("state") for each in task_ids} == {"success"}
            )
            page.until(lambda page=page: page.counts == {"success": 20})
        assert one.tasks == two.tasks


def test_an_endpoint_is_there_while_it_is_shared(
    ask: Any, agent: Any, hub: Any, client_for: Callable[..., Any]
) -> None:
    eve = client_for(hub.new_token("eve"))
    with watching(eve) as page, watching(ask) as own:
        assert page.first("endpoints")["endpoints"] == []
        ask("POST", "/v3/endpoints/cluster/shares", {"user": "eve"})
        page.until(lambda: "cluster" in page.endpoints)
        assert (page.endpoints["cluster"]["owner"], page.endpoints["cluster"]["shared"]) == ("ada", True)
        assert page.endpoints["cluster"]["shared_with"] == []
        own.until(lambda: own.endpoints.get("cluster", {}).get("shared_with") == ["user:eve"])
        ask("DELETE", "/v3/endpoints/cluster/shares", {"user": "eve"})
        page.until(lambda: page.endpoints == {})


def test_a_purged_task_is_told_as_gone(ask: Any, agent: Any, submit: Any, hub: Any) -> None:
    (task_id,) = submit()
    with watching(ask) as page:
        page.until(lambda: page.tasks.get(task_id, {}).get("state") == "success")

        async def purge() -> None:
            gone, _ = await hub.service.database.write(
                lambda connection: retention.purge(connection, 0, 1e12, time.time(), 1000)
            )
            hub.service.services.tasks.purged(gone)

        hub.run(purge())
        assert page.first("gone")["task_ids"] == [task_id]
        page.until(lambda: page.counts == {})


def test_live_tasks_change_with_their_endpoint(ask: Any, agent: Any, submit: Any) -> None:
    agent.answer = lambda task: None
    (task_id,) = submit()
    with watching(ask) as page:
        page.until(lambda: page.tasks.get(task_id, {}).get("state") == "running")
        assert page.tasks[task_id]["reason"] == ""
        agent.bye("going home")
        page.until(lambda: "going home" in page.tasks[task_id]["reason"])
        page.until(lambda: page.endpoints["cluster"]["state"] == "offline")
        assert page.endpoints["cluster"]["workers"] is None


@pytest.mark.parametrize("token", [None, "fxl_wrong"])
def test_a_page_needs_a_token(client_for: Any, token: str | None) -> None:
    answer = client_for(token)("GET", "/v3/watch", headers={"Upgrade": "websocket"})
    assert answer.status == 401
    assert answer.document["code"] == "NOT_AUTHENTICATED"


def test_a_page_of_another_origin_is_refused(ask: Any) -> None:
    answer = ask("GET", "/v3/watch", headers={"Upgrade": "websocket", "Origin": "http://evil.example"})
    assert (answer.status, answer.document["code"]) == (403, "NOT_AUTHORIZED")
