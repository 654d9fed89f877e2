"""Long poll: a stream that lives for one request."""

from __future__ import annotations

import base64
import struct
import threading
import time
import uuid
from typing import Any

import pytest

from funcx_lab.protocol.framing import join_frames, split_frames
from funcx_lab.protocol.messages import Outcome
from funcx_lab.protocol.stream import (
    Cancelled,
    CancelTasks,
    Failed,
    NewTask,
    Outcomes,
    Submit,
    Submitted,
    Subscribe,
    Watch,
    client_codec,
    service_codec,
)
from funcx_lab_hub_service.handlers.poll import PollHandler

GROUP = "11111111-1111-4111-8111-111111111111"


def new_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def function_id(ask: Any) -> str:
    body = base64.b64encode(b"a payload").decode()
    document = {"function_name": "f", "format": "funcx-lab", "body": body}
    return str(ask("POST", "/v3/functions", document).document["function_uuid"])


def submit(request: int, function_id: str, *task_ids: str, endpoint: str = "cluster") -> Submit:
    tasks = [NewTask(task_id, task_id.encode()) for task_id in task_ids]
    return Submit(request, endpoint, function_id, GROUP, tasks)


def poll(client: Any, *messages: Any, wait: float = 0) -> list[Any]:
    body = join_frames(client_codec.encode(message) for message in messages)
    answer = client("POST", f"/v3/poll?wait={wait}", body=body)
    assert answer.status == 200, answer.content
    assert answer.headers["Content-Type"] == "application/octet-stream"
    return [service_codec.decode(frame) for frame in split_frames(answer.content)]


def items_of(messages: list[Any]) -> list[Any]:
    return [item for message in messages if isinstance(message, Outcomes) for item in message.items]


def acknowledged(messages: list[Any]) -> set[int]:
    told = {message.request for message in messages if isinstance(message, Submitted)}
    return told.union(*(message.submitted for message in messages if isinstance(message, Outcomes)))


def test_tasks_go_and_come_by_polls(agent: Any, ask: Any, function_id: str) -> None:
    task_ids = [new_id() for _ in range(3000)]
    first = poll(ask, Subscribe(GROUP), *(submit(n, function_id, *task_ids[n::3]) for n in (1, 2, 0)))
    assert acknowledged(first) == {0, 1, 2}
    items = items_of(first)
    while len(items) < len(task_ids):
        cursor = items[-1].cursor if items else 0
        more = items_of(poll(ask, Subscribe(GROUP, cursor), wait=10))
        assert more, "a poll came back empty while outcomes were missing"
        items += more
    assert sorted(item.task_id for item in items) == sorted(task_ids), "each outcome is told once"


def test_it_waits_for_news_and_no_longer(agent: Any, ask: Any, function_id: str) -> None:
    agent.answer = lambda task: None
    task_id = new_id()
    assert poll(ask, submit(1, function_id, task_id)) == [Submitted(1)]
    cancel = threading.Timer(0.5, ask, ("POST", "/v3/tasks/cancel", {"task_ids": [task_id]}))
    began = time.monotonic()
    cancel.start()
    (item,) = items_of(poll(ask, Subscribe(GROUP), wait=20))
    took = time.monotonic() - began
    cancel.join()
    assert (item.task_id, item.state) == (task_id, "cancelled")
    assert 0.4 < took < 15


def test_nothing_to_tell_is_told_at_the_end_of_the_wait(ask: Any) -> None:
    began = time.monotonic()
    assert poll(ask, Subscribe(GROUP), wait=0.3) == []
    assert 0.3 <= time.monotonic() - began < 15
    assert poll(ask) == []


def test_cancels_and_watches_are_answered(agent: Any, ask: Any, function_id: str) -> None:
    agent.answer = lambda task: None
    task_id, absent = new_id(), new_id()
    told = poll(ask, submit(1, function_id, task_id), Watch([task_id, absent]), CancelTasks(2, [task_id]))
    assert Submitted(1) in told or 1 in acknowledged(told)
    assert Cancelled(2, [task_id]) in told
    (failed,) = [message for message in told if isinstance(message, Failed)]
    assert (failed.task_id, failed.error["code"]) == (absent, "TASK_NOT_FOUND")
    assert [item.task_id for item in items_of(poll(ask, Watch([task_id]), wait=5))] == [task_id]


def test_a_refused_submit_is_told(ask: Any, function_id: str) -> None:
    (failed,) = poll(ask, submit(4, function_id, new_id(), endpoint="nowhere"), wait=10)
    assert (failed.request, failed.error["code"]) == (4, "ENDPOINT_NOT_FOUND")


def test_the_same_submit_in_two_polls_is_one_task(agent: Any, ask: Any, function_id: str) -> None:
    task_id = new_id()
    for request in (1, 2):
        assert acknowledged(poll(ask, submit(request, function_id, task_id))) == {request}
    assert sum(ask("GET", "/v3/stats").document["tasks"].values()) == 1


def test_a_large_answer_comes_in_parts(agent: Any, ask: Any, function_id: str) -> None:
    agent.answer, agent.batch = lambda task: Outcome(True, b"x" * 100_000), 40
    task_ids = [new_id() for _ in range(200)]  # 20 MB of results
    cursor, seen, largest = 0, [], 0
    poll(ask, submit(1, function_id, *task_ids))
    while len(seen) < len(task_ids):
        items = items_of(poll(ask, Subscribe(GROUP, cursor), wait=10))
        seen += [item.task_id for item in items]
        largest = max(largest, sum(len(item.payload) for item in items))
        cursor = items[-1].cursor
    assert sorted(seen) == sorted(task_ids)
    assert largest < 12 * 1024 * 1024


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x00", "MALFORMED_MESSAGE"),
        (struct.pack(">I", 5) + b"four", "MALFORMED_MESSAGE"),
        (struct.pack(">I", 2**32 - 1), "MALFORMED_MESSAGE"),
        (struct.pack(">I", 0), "MALFORMED_MESSAGE"),
        (join_frames([b"\xc1"]), "MALFORMED_MESSAGE"),
        (bytes(9 * 1024 * 1024), "TASK_PAYLOAD_TOO_LARGE"),
    ],
)
def test_a_malformed_body_is_refused_whole(ask: Any, body: bytes, code: str) -> None:
    good = join_frames([client_codec.encode(CancelTasks(1, []))])
    answer = ask("POST", "/v3/poll", body=good + body)
    assert answer.status in (400, 413)
    assert answer.document["code"] == code


@pytest.mark.parametrize("wait", ["x", "-1", "31", "nan"])
def test_a_wait_out_of_range_is_refused(ask: Any, wait: str) -> None:
    assert ask("POST", f"/v3/poll?wait={wait}", body=b"").document["code"] == "INVALID_REQUEST"


def test_a_stop_answers_those_who_wait(hub: Any, ask: Any) -> None:
    done: list[Any] = []
    waiting = threading.Thread(target=lambda: done.append(poll(ask, Subscribe(GROUP), wait=25)))
    waiting.start()
    deadline = time.monotonic() + 30
    while not PollHandler.open_polls:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    began = time.monotonic()
    hub.stop()
    waiting.join(10)
    assert done == [[]]
    assert time.monotonic() - began < 15


def test_a_revoked_token_ends_the_poll(hub: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funcx_lab_hub_service.handlers.conversation.FRESH_S", 0.05)
    number = hub.do(lambda: hub.service.tokens.verify(ask.token)).token_id
    revoke = threading.Timer(0.3, lambda: hub.run(hub.service.tokens.revoke(number)))
    began = time.monotonic()
    revoke.start()
    poll(ask, Subscribe(GROUP), wait=25)
    revoke.join()
    assert time.monotonic() - began < 15
