"""Watching pages in bad times: floods, hostile frames, slow readers, revoked tokens, damage, a stop."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from funcx_lab.protocol.messages import Event, TaskOptions
from funcx_lab.protocol.stream import NewTask, Submit, client_codec
from funcx_lab_hub_service.handlers import following, page_outbox, watch
from tests.hub_service.http.pages import LIMIT_S, PageSocket, watching

GROUP = "11111111-1111-4111-8111-111111111111"
NOBODYS = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def function_id(ask: Any) -> str:
    body = base64.b64encode(b"a payload").decode()
    document = {"function_name": "f", "format": "funcx-lab", "body": body}
    return str(ask("POST", "/v3/functions", document).document["function_uuid"])


def submit(ask: Any, listen: Any, function_id: str, count: int, endpoint: str = "cluster") -> list[str]:
    task_ids = [str(uuid.uuid4()) for _ in range(count)]
    tasks = [NewTask(task_id, b"x") for task_id in task_ids]
    with ask.stream() as connection:
        message = Submit(1, endpoint, function_id, GROUP, tasks, TaskOptions(label="mine"))
        connection.send(client_codec.encode(message))
        assert listen(connection, LIMIT_S).request == 1
    return task_ids


def code_of_close(one: PageSocket) -> int | None:
    """Read until it is closed."""
    try:
        while True:
            one.next()
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


def test_a_flood_is_one_wish_to_fetch_again(ask: Any, agent: Any, function_id: str, listen: Any) -> None:
    with watching(ask) as one:
        one.first("tasks")
        task_ids = submit(ask, listen, function_id, 3000)
        one.first("reload")
        one.until(lambda: one.counts == {"success": 3000})
        sizes = [len(message["tasks"]) for message in one.messages if message["type"] == "tasks"]
        assert max(sizes) <= 500
        assert sum(message["type"] == "reload" for message in one.messages) <= 10
    with watching(ask) as later:
        told = later.first("tasks")["tasks"]
        assert [task["task_id"] for task in told] == [
            task["task_id"] for task in ask("GET", "/v3/tasks?limit=100").document["tasks"]
        ]
        assert {task["task_id"] for task in told} <= set(task_ids)


def test_many_endpoints_with_tasks_are_one_message(ask: Any, function_id: str, listen: Any) -> None:
    for number in range(200):
        ask("POST", "/v3/endpoints", {"endpoint_name": f"site-{number}"})
    submit(ask, listen, function_id, 600, "site-7")
    with watching(ask) as one:
        assert len(one.first("endpoints")["endpoints"]) == 200
        assert one.endpoints["site-7"]["queue"] == {"waiting": 600, "running": 0}
        assert len(one.first("tasks")["tasks"]) == 500
        told = len(one.messages)
        cancelled = ask("GET", "/v3/tasks?limit=5").document["tasks"]
        ask("POST", "/v3/tasks/cancel", {"task_ids": [task["task_id"] for task in cancelled]})
        one.until(lambda: one.endpoints["site-7"]["queue"]["waiting"] == 595)
        named = [task for one_ in one.messages[told:] if one_["type"] == "tasks" for task in one_["tasks"]]
        assert len(named) <= 5


HOSTILE: list[str] = [
    "",
    "{",
    "[]",
    "null",
    "7",
    '"follow"',
    "{}",
    '{"type": "submit"}',
    '{"type": ["follow"]}',
    '{"type": "follow"}',
    '{"type": "follow", "task_id": 7}',
    '{"type": "follow", "task_id": "x", "after": -1}',
    '{"type": "follow", "task_id": "x", "after": 1e400}',
    '{"type": "follow", "task_id": "x", "after": 99999999999999999999}',
    '{"type": "follow", "task_id": "\\ud800"}',
    '{"type": "unfollow", "task_id": null}',
    "[" * 10_000,
    '{"type":' * 1000,
]


def test_frames_that_make_no_sense_are_refused_in_words(ask: Any, agent: Any) -> None:
    with watching(ask) as one:
        for frame in HOSTILE:
            one.connection.send(frame)
            refused = one.first("error")
            assert refused["code"] == "INVALID_REQUEST", frame[:80]
            assert len(refused["message"]) < 3000
        one.say("unfollow", task_id="not followed", and_more="is not read")
        one.say("resume")
        one.say("follow", task_id="'; DROP TABLE tasks; --")
        assert one.first("error")["code"] == "TASK_NOT_FOUND"
        one.say("follow", task_id="x" * 10_000)
        assert len(one.first("error")["message"]) <= 2000


def test_binary_and_long_frames_close_the_page(ask: Any) -> None:
    with watching(ask) as one:
        one.connection.send(b"\x80")
        assert code_of_close(one) == 1003
    with watching(ask) as one:
        with contextlib.suppress(ConnectionClosed):
            one.connection.send(json.dumps({"type": "follow", "task_id": "x" * 20_000}))
        assert code_of_close(one) == 1009


def test_a_page_follows_so_many_logs_at_most(
    ask: Any, agent: Any, function_id: str, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_FOLLOWED", 3)
    agent.answer = lambda task: None
    task_ids = submit(ask, listen, function_id, 5)
    with watching(ask) as one:
        for task_id in task_ids[:4]:
            one.say("follow", task_id=task_id)
        refused = one.first("error")
        assert (refused["code"], refused["task_id"]) == ("INVALID_REQUEST", task_ids[3])
        one.say("unfollow", task_id=task_ids[0])
        one.say("follow", task_id=task_ids[4])
        one.until(lambda: task_ids[4] in one.events)
        ask("POST", "/v3/tasks/cancel", {"task_ids": task_ids[1:3]})
        one.until(lambda: sum(message.get("ended", False) for message in one.messages) == 2)
        one.say("follow", task_id=task_ids[3])
        one.until(lambda: task_ids[3] in one.events)


def test_a_user_has_so_many_pages_at_most(
    ask: Any, hub: Any, client_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MOST_PAGES", 2)
    eve = client_for(hub.new_token("eve"))
    with watching(ask) as one, watching(ask) as two, watching(eve) as other:
        for page_ in (one, two, other):
            page_.first("hello")
        answer = ask("GET", "/v3/watch", headers={"Upgrade": "websocket"})
        assert (answer.status, answer.document["code"]) == (429, "TOO_MANY_REQUESTS")


def test_a_task_that_is_on_its_way_is_followed(ask: Any, agent: Any, function_id: str, hub: Any) -> None:
    task_id = str(uuid.uuid4())
    with watching(ask) as one, ask.stream() as connection:
        one.say("follow", task_id=task_id)
        one.first("tasks")
        tasks = [NewTask(task_id, b"x")]
        connection.send(client_codec.encode(Submit(1, "cluster", function_id, GROUP, tasks)))
        one.until(lambda: any(message.get("ended") for message in one.messages))
        assert one.events[task_id][-1][1]["data"]["state"] == "success"


def test_odd_output_is_told_as_far_as_json_goes(ask: Any, agent: Any, function_id: str, listen: Any) -> None:
    agent.answer = lambda task: None
    (task_id,) = submit(ask, listen, function_id, 1)
    with watching(ask) as one:
        one.until(lambda: one.tasks.get(task_id, {}).get("state") == "running")
        lines = [
            Event(1.0, "stdout", "x" * 1_000_000),
            Event(2.0, "display", {"data": {"text/html": "<script>"}, 7: {1.5: b"\xff"}}),
            Event(2.5, "stdout", float("inf")),
            Event(3.0, "stdout", "end"),
        ]
        agent.say(task_id, 0, lines)
        one.say("follow", task_id=task_id)
        while not any(entry["data"] == "end" for _, entry in one.events.get(task_id, ())):
            one.first("events")
        assert any(len(str(entry["data"])) == 1_000_000 for _, entry in one.events[task_id])


def test_a_page_is_closed_soon_after_its_token_was_revoked(hub: Any, client_for: Any) -> None:
    token = hub.new_token("ada")
    number = next(each.token_id for each in hub.do(hub.service.tokens.list)[::-1] if each.user == "ada")
    with watching(client_for(token)) as one:
        one.first("hello")
        hub.run(hub.service.tokens.revoke(number))
        began = time.monotonic()
        assert code_of_close(one) == 1008
        assert time.monotonic() - began < LIMIT_S / 2


def test_a_page_hears_that_the_service_stops(ask: Any, hub: Any) -> None:
    with watching(ask) as one:
        one.first("tasks")
        hub.stop()
        assert code_of_close(one) == 1012


def test_a_page_that_reads_nothing_is_closed_and_keeps_nothing(
    ask: Any, agent: Any, function_id: str, listen: Any, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_outbox, "STUCK_S", 1.0)
    agent.answer = lambda task: None
    (task_id,) = submit(ask, listen, function_id, 1)
    pages: list[Any] = []
    opened = watch.WatchHandler.open

    def opening(self: Any) -> None:
        pages.append(self)
        opened(self)

    monkeypatch.setattr(watch.WatchHandler, "open", opening)
    with watching(ask, max_queue=1) as slow:
        slow.until(lambda: slow.tasks.get(task_id, {}).get("state") == "running")
        slow.say("follow", task_id=task_id)
        slow.first("events")
        agent.say(task_id, 0, [Event(1.0, "stdout", "x" * 1_000_000) for _ in range(12)])
        (handler,) = pages
        end = time.monotonic() + LIMIT_S
        while not hub.do(lambda: handler.is_over):
            assert time.monotonic() < end, "a page that reads nothing stays open"
            time.sleep(0.05)  # nothing tells that it was closed, for nobody reads
        assert hub.do(lambda: handler._page._outbox._unsent) < 16 * 1024**2
    assert ask("GET", "/v3/whoami").status == 200


@pytest.fixture
def read_only(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Let the service find its database damaged."""

    def spoil() -> None:
        hub.service.services.gate.damage = hub.service.database.damage = "The database is damaged."

    yield spoil
    hub.service.database.damage = ""


def test_a_read_only_service_tells_what_it_has(
    ask: Any, agent: Any, function_id: str, listen: Any, read_only: Any
) -> None:
    (task_id,) = submit(ask, listen, function_id, 1)
    assert ask("GET", f"/v3/tasks/{task_id}?wait=30").document["state"] == "success"
    read_only()
    with watching(ask) as one:
        assert one.first("hello")["read_only"] is True
        one.until(lambda: task_id in one.tasks and one.endpoints and one.counts)
        one.say("follow", task_id=task_id)
        one.until(lambda: any(message.get("ended") for message in one.messages))


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(
    ask: Any, agent: Any, function_id: str, listen: Any, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task_id,) = submit(ask, listen, function_id, 1)
    tasks = hub.service.services.tasks
    broken = ["records", "events_after"]
    kept = {name: getattr(tasks, name) for name in broken}

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("database disk image is malformed")

    for name in broken:
        monkeypatch.setattr(tasks, name, fail)
    with watching(ask) as one:
        assert one.first("error")["code"] == "INTERNAL_ERROR"
        one.until(lambda: one.endpoints and one.counts)
        one.say("follow", task_id=task_id)
        one.until(lambda: any(message.get("task_id") == task_id for message in one.messages))
        for name in broken:
            monkeypatch.setattr(tasks, name, kept[name])
        one.until(lambda: task_id in one.tasks)
        one.say("follow", task_id=task_id)
        one.until(lambda: any(message.get("ended") for message in one.messages))
