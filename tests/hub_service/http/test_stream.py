"""The stream: what is submitted ends in one outcome, told once, from any cursor."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from funcx_lab.protocol.messages import ErrorInfo, Event, Outcome
from funcx_lab.protocol.stream import (
    Cancelled,
    CancelTasks,
    Check,
    Failed,
    Follow,
    NewTask,
    Outcomes,
    Submit,
    Submitted,
    Subscribe,
    TaskEvents,
    Watch,
    client_codec,
)

GROUP = "11111111-1111-4111-8111-111111111111"
NOBODYS = "00000000-0000-4000-8000-000000000000"


def new_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def function_id(ask: Any) -> str:
    body = base64.b64encode(b"a payload").decode()
    document = {"function_name": "f", "format": "funcx-lab", "body": body}
    return str(ask("POST", "/v3/functions", document).document["function_uuid"])


def submit(
    connection: Any, function_id: str, task_ids: list[str], *, request: int = 1, group_id: str = GROUP
) -> None:
    tasks = [NewTask(task_id, task_id.encode()) for task_id in task_ids]
    connection.send(client_codec.encode(Submit(request, "cluster", function_id, group_id, tasks)))


def outcomes(connection: Any, listen: Callable[..., Any], count: int) -> list[Any]:
    """Read until ``count`` outcomes have come, whatever else comes."""
    items: list[Any] = []
    while len(items) < count:
        message = listen(connection, 30)
        assert not isinstance(message, Failed), message
        if isinstance(message, Outcomes):
            items += message.items
    return items


def test_a_task_goes_and_comes(agent: Any, ask: Any, function_id: str, listen: Any) -> None:
    task_id = new_id()
    with ask.stream() as connection:
        connection.send(client_codec.encode(Subscribe(GROUP)))
        submit(connection, function_id, [task_id], request=7)
        message = listen(connection)
        if message == Submitted(7):
            message = listen(connection)
        else:  # the task came back before its insert was committed: one message says both
            assert message.submitted == [7]
        (item,) = message.items
    assert (item.task_id, item.state, item.payload, item.owned) == (
        task_id,
        "success",
        task_id.encode(),
        True,
    )
    assert item.endpoint_id == agent.endpoint_id
    record = ask("GET", f"/v3/tasks/{task_id}").document
    assert (record["state"], record["endpoint_name"]) == ("success", "cluster")


def test_ten_thousand_tasks_end_once_each(
    agent: Any, ask: Any, function_id: str, listen: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    task_ids = [new_id() for _ in range(10_000)]
    began = time.monotonic()
    with ask.stream() as connection:
        connection.send(client_codec.encode(Subscribe(GROUP)))
        for request in range(10):
            submit(
                connection, function_id, task_ids[request * 1000 : (request + 1) * 1000], request=request + 1
            )
        items = outcomes(connection, listen, len(task_ids))
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\n10,000 tasks through hub service and a fake agent in {took:.2f} s: {10_000 / took:,.0f}/s")
    assert sorted(item.task_id for item in items) == sorted(task_ids)
    assert [item.cursor for item in items] == sorted({item.cursor for item in items})
    assert ask("GET", "/v3/stats").document["tasks"]["success"] == 10_000


def test_a_cursor_takes_up_where_it_stood(agent: Any, ask: Any, function_id: str, listen: Any) -> None:
    task_ids = [new_id() for _ in range(3000)]
    with ask.stream() as connection:
        connection.send(client_codec.encode(Subscribe(GROUP)))
        submit(connection, function_id, task_ids)
        first = outcomes(connection, listen, 3000)
    middle = first[1499].cursor
    with ask.stream() as connection:
        connection.send(client_codec.encode(Subscribe(GROUP, middle)))
        submit(connection, function_id, [new_id()], request=2)
        again = outcomes(connection, listen, 1501)
    assert again[:1500] == first[1500:]
    assert len({item.cursor for item in again}) == 1501


def test_the_same_submit_again_changes_nothing(agent: Any, ask: Any, function_id: str, listen: Any) -> None:
    task_id = new_id()
    with ask.stream() as connection:
        for request in (1, 2):
            submit(connection, function_id, [task_id], request=request)
        assert [listen(connection), listen(connection)] == [Submitted(1), Submitted(2)]
        connection.send(
            client_codec.encode(Submit(3, "cluster", function_id, GROUP, [NewTask(task_id, b"other")]))
        )
        answer = listen(connection)
    assert answer.request == 3
    assert [(refusal.task_id, refusal.error["code"]) for refusal in answer.refused] == [(task_id, "CONFLICT")]


def test_a_watched_task_is_told(agent: Any, ask: Any, function_id: str, listen: Any) -> None:
    task_id = new_id()
    with ask.stream() as connection:
        submit(connection, function_id, [task_id])
        connection.send(client_codec.encode(Watch([task_id])))
        assert [item.task_id for item in outcomes(connection, listen, 1)] == [task_id]
    with ask.stream() as connection:
        connection.send(client_codec.encode(Watch([task_id])))
        assert [item.task_id for item in outcomes(connection, listen, 1)] == [task_id]


def test_a_failure_is_told_in_words(agent: Any, ask: Any, function_id: str, listen: Any) -> None:
    error = ErrorInfo("TASK_FAILED", "division by zero", "ZeroDivisionError", "Traceback ...")
    agent.answer = lambda task: Outcome(False, error=error)
    with ask.stream() as connection:
        connection.send(client_codec.encode(Subscribe(GROUP)))
        submit(connection, function_id, [new_id()])
        (item,) = outcomes(connection, listen, 1)
    assert (item.state, item.error.type, item.error.traceback) == (
        "failed",
        "ZeroDivisionError",
        "Traceback ...",
    )


def test_cancel_reaches_the_agent(agent: Any, ask: Any, function_id: str, listen: Any) -> None:
    agent.answer = lambda task: None
    task_id, absent = new_id(), new_id()
    with ask.stream() as connection:
        connection.send(client_codec.encode(Subscribe(GROUP)))
        submit(connection, function_id, [task_id])
        assert listen(connection) == Submitted(1)
        connection.send(client_codec.encode(CancelTasks(9, [task_id, absent])))
        told = [listen(connection), listen(connection)]
    assert Cancelled(9, [task_id]) in told
    (item,) = next(message.items for message in told if isinstance(message, Outcomes))
    assert (item.task_id, item.state) == (task_id, "cancelled")
    assert ask("POST", "/v3/tasks/cancel", {"task_ids": [task_id]}).document == {"cancelled": [task_id]}


def test_events_are_followed_to_the_end(agent: Any, ask: Any, function_id: str, listen: Any) -> None:
    agent.answer = lambda task: None
    task_id = new_id()
    with ask.stream() as connection:
        submit(connection, function_id, [task_id])
        connection.send(client_codec.encode(Follow(task_id)))
        log: list[tuple[int, Event]] = []
        while not any(event.data.get("state") == "running" for _, event in log if event.kind == "state"):
            message = listen(connection)
            log += message.events if isinstance(message, TaskEvents) else []
        agent.say(task_id, 0, [Event(time.time(), "stdout", "one\n"), Event(time.time(), "stdout", "two\n")])
        while not any(event.data == "two\n" for _, event in log):
            log += listen(connection).events
        connection.send(client_codec.encode(CancelTasks(2, [task_id])))
        last = False
        while not last:
            message = listen(connection)
            if isinstance(message, TaskEvents):
                log += message.events
                last = message.last
    places = [place for place, _ in log]
    assert places == sorted(set(places)), "each place is told once, in order"
    assert [event.data for _, event in log if event.kind == "stdout"] == ["one\n", "two\n"]
    assert log[-1][1].data["state"] == "cancelled"


@pytest.mark.parametrize("message", [Watch(["x"]), Check(["x"]), Follow(NOBODYS)])
def test_an_absent_task_is_told(ask: Any, listen: Any, message: Any) -> None:
    with ask.stream() as connection:
        connection.send(client_codec.encode(message))
        answer = listen(connection)
    assert (type(answer), answer.request, answer.error["code"]) == (Failed, 0, "TASK_NOT_FOUND")
    assert answer.task_id


def test_anothers_task_looks_absent(
    agent: Any, hub: Any, ask: Any, client_for: Any, function_id: str, listen: Any
) -> None:
    task_id = new_id()
    with ask.stream() as connection:
        submit(connection, function_id, [task_id])
        assert listen(connection) == Submitted(1)
        connection.send(client_codec.encode(Check([task_id])))
        connection.send(client_codec.encode(CancelTasks(2, [])))
        assert listen(connection) == Cancelled(2, []), "of a task that is there nothing is said"
    other = client_for(hub.new_token("bob"))
    with other.stream() as connection:
        for message in (Watch([task_id]), Check([task_id]), Follow(task_id)):
            connection.send(client_codec.encode(message))
            assert listen(connection).error["code"] == "TASK_NOT_FOUND"
        submit(connection, function_id, [new_id()], request=5)
        assert listen(connection).error["code"] == "ENDPOINT_NOT_FOUND"
        connection.send(client_codec.encode(CancelTasks(6, [task_id])))
        assert listen(connection) == Cancelled(6, [])
        connection.send(client_codec.encode(Subscribe(GROUP)))
        connection.send(client_codec.encode(CancelTasks(7, [])))
        assert listen(connection) == Cancelled(7, []), "another's group is empty"
    for path in ("", "/result", "/events"):
        assert other("GET", f"/v3/tasks/{task_id}{path}").document["code"] == "TASK_NOT_FOUND"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", 1007),
        (b"\xc1", 1007),
        (b"\x81\xa4type\xa6Submit", 1007),
        (b"\x91" * 100_000, 1007),
        (client_codec.encode(Watch(["x"])) + b"x", 1007),
        ("text", 1003),
    ],
)
def test_a_malformed_frame_ends_the_stream(ask: Any, listen: Any, frame: bytes | str, code: int) -> None:
    with ask.stream() as connection:
        connection.send(frame)
        if code == 1007:
            assert listen(connection).error["code"] == "MALFORMED_MESSAGE"
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code


def test_a_message_over_the_limit_ends_the_stream(ask: Any) -> None:
    def send_and_listen(connection: Any) -> None:
        connection.send(b"x" * (4 * 1024 * 1024 + 1))
        connection.recv(10)

    with ask.stream() as connection, pytest.raises(ConnectionClosed):
        send_and_listen(connection)


def test_an_unknown_function_is_told(agent: Any, ask: Any, listen: Any) -> None:
    with ask.stream() as connection:
        submit(connection, new_id(), [new_id()], request=3)
        answer = listen(connection)
    assert (answer.request, answer.error["code"]) == (3, "FUNCTION_NOT_FOUND")


def test_a_slow_reader_gets_all_and_costs_little(
    agent: Any, hub: Any, ask: Any, function_id: str, listen: Any
) -> None:
    block = b"x" * 100_000
    agent.answer, agent.batch = lambda task: Outcome(True, block), 40
    task_ids = [new_id() for _ in range(400)]  # 40 MB of results
    with ask.stream() as slow, ask.stream() as quick:
        slow.send(client_codec.encode(Subscribe(GROUP)))
        quick.send(client_codec.encode(Subscribe(GROUP)))
        submit(quick, function_id, task_ids)
        assert len(outcomes(quick, listen, 400)) == 400
        items = outcomes(slow, listen, 400)
    assert [item.task_id for item in items] == list(dict.fromkeys(item.task_id for item in items))
    assert {item.task_id for item in items} == set(task_ids)


def test_a_stop_is_told(hub: Any, ask: Any) -> None:
    with ask.stream() as connection:
        hub.stop()
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
