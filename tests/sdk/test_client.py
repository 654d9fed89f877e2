import hashlib
import math

import numpy as np
import pytest

from funcx_lab import Executor, FuncXClient
from funcx_lab.errors import (
    CannotSerialize,
    EndpointNotFound,
    FunctionNotFound,
    HashMismatch,
    PayloadTooLarge,
    ResultTimeout,
    TaskCancelled,
    TaskNotFound,
    TaskPending,
    UsageError,
)
from funcx_lab.protocol.payload import INLINE_LIMIT
from funcx_lab.protocol.stream import Submit, Watch

ENDPOINT = "cluster"
NOBODY = "00000000-0000-7000-8000-000000000000"


def funcx_sum(items):
    return sum(items)


def divide(x, y):
    return x / y


def test_the_snippet_of_the_talk(client) -> None:
    function_id = client.register_function(funcx_sum, description="A summation function")
    task_id = client.run([1, 2, 3, 99], endpoint_id=ENDPOINT, function_id=function_id)
    assert client.get_result(task_id, timeout=10) == 105
    assert client.get_result(task_id) == 105


def test_a_pending_task(standin, client) -> None:
    standin.hold = True
    task_id = client.run([1], function=funcx_sum, endpoint=ENDPOINT)
    with pytest.raises(TaskPending, match="timeout=60"):
        client.get_result(task_id)
    with pytest.raises(ResultTimeout) as caught:
        client.get_result(task_id, timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, TaskPending)
    assert client.get_task(task_id) == {
        "task_id": task_id,
        "state": "running",
        "pending": True,
        "status": "running",
    }
    standin.release()
    assert client.get_result(task_id, timeout=math.inf) == 1


def test_giving_up_the_wait_leaves_nothing_behind(standin, client, until) -> None:
    standin.hold = True
    task_id = client.run([1], function=funcx_sum, endpoint=ENDPOINT)
    for _ in range(3):
        with pytest.raises(ResultTimeout):
            client.get_result(task_id, timeout=0.01)
    until(lambda: not client.connection.stream._loop._state._listeners)
    assert len(standin.messages(Watch)) <= 3


def test_a_timeout_that_the_function_raised_is_its_own(client) -> None:
    def late():
        raise TimeoutError("mine")

    task_id = client.run(function=late, endpoint=ENDPOINT)
    with pytest.raises(TimeoutError, match="mine") as caught:
        client.get_result(task_id, timeout=10)
    assert not isinstance(caught.value, ResultTimeout)


def test_unknown_tasks(client) -> None:
    for ask in (client.get_result, client.get_task):
        with pytest.raises(TaskNotFound):
            ask(NOBODY)
    with pytest.raises(TaskNotFound):
        client.get_result(NOBODY, timeout=10)


def test_batch(standin, client) -> None:
    function_id = client.register_function(divide)
    batch = client.create_batch()
    for y in (1, 2, 0):
        batch.add(8, y, endpoint_id=ENDPOINT, function_id=function_id)
    batch.add(9, y=3, endpoint=ENDPOINT, function=divide)
    task_ids = client.batch_run(batch)
    assert len(batch) == len(set(task_ids)) == 4
    results = client.get_batch_result([*task_ids, NOBODY])
    assert list(results) == [*task_ids, NOBODY]
    assert [results[task_id].get("result") for task_id in task_ids] == [8, 4, None, 3]
    assert isinstance(results[task_ids[2]]["exception"], ZeroDivisionError)
    assert isinstance(results[NOBODY]["exception"], TaskNotFound)
    assert {tuple(sorted(result)) for result in results.values() if "result" in result} == {
        ("completion_t", "pending", "result", "status")
    }
    assert client.get_batch_status(task_ids)[task_ids[0]]["status"] == "success"
    standin.hold = True
    pending = client.run(8, 1, endpoint=ENDPOINT, function_id=function_id)
    assert client.get_batch_result([pending]) == {pending: {"pending": True, "status": "running"}}
    standin.release()


def test_nothing_of_a_batch_is_sent_if_something_cannot_be(standin, client) -> None:
    import threading

    batch = client.create_batch()
    batch.add([1], function=funcx_sum, endpoint=ENDPOINT)
    batch.add(threading.Lock(), function=funcx_sum, endpoint=ENDPOINT)
    with pytest.raises(CannotSerialize):
        client.batch_run(batch)
    assert not standin.messages(Submit)


def test_a_refused_batch_says_which(standin, client) -> None:
    batch = client.create_batch()
    batch.add([1], function=funcx_sum, endpoint="nowhere")
    batch.add([1], function=funcx_sum, endpoint="nowhere")
    standin.refuse = EndpointNotFound("no nowhere here")
    with pytest.raises(EndpointNotFound, match="no nowhere here") as caught:
        client.batch_run(batch)
    assert len(caught.value.details["refused"]) == 2
    assert caught.value.details["accepted"] == []


def test_map_run(client) -> None:
    task_ids = client.map_run(
        [[1], [2, 3]], endpoint_id=ENDPOINT, function_id=client.register_function(funcx_sum)
    )
    assert [client.get_result(task_id, 10) for task_id in task_ids] == [1, 5]


def test_map_and_submit_give_futures(client) -> None:
    assert [future.result(10) for future in client.map(divide, [4, 9], [2, 3], endpoint=ENDPOINT)] == [2, 3]
    assert client.submit(divide, 1, y=4, endpoint=ENDPOINT).result(10) == 0.25


@pytest.mark.parametrize("call", [{}, {"function": divide, "function_id": "1"}])
def test_it_must_be_said_what_to_run(client, call) -> None:
    with pytest.raises(UsageError, match="function"):
        client.run(1, endpoint=ENDPOINT, **call)


def test_cancel(standin, client) -> None:
    standin.hold = True
    task_ids = client.map_run([[1], [2], [3]], endpoint=ENDPOINT, function=funcx_sum)
    assert client.cancel(task_ids[0]) is True
    assert client.cancel([task_ids[1], NOBODY]) == [task_ids[1]]
    with pytest.raises(TaskCancelled):
        client.get_result(task_ids[0], timeout=10)
    standin.release()
    assert client.get_result(task_ids[2], timeout=10) == 3
    assert client.cancel(task_ids[2]) is False
    assert client.cancel([]) == []


def test_large_arguments_and_results_travel_as_objects(standin, client) -> None:
    def negative(array):
        return -array

    array = np.arange(INLINE_LIMIT, dtype=np.float64)
    np.testing.assert_array_equal(client.submit(negative, array, endpoint=ENDPOINT).result(10), -array)
    assert len(standin.objects) == 2
    (submit,) = standin.messages(Submit)
    assert submit.tasks[0].payload == b""
    client.submit(negative, array, endpoint=ENDPOINT).result(10)
    assert len(standin.objects) == 2  # the same content is stored once


def test_a_damaged_object_is_noticed_and_may_be_asked_for_again(standin, client) -> None:
    future = client.submit(bytes, INLINE_LIMIT, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    while not future.done():
        future._condition.acquire()
        future._condition.release()
    ((name, good),) = standin.objects.items()
    assert hashlib.sha256(good).hexdigest() == name
    for bad in (good[:-1] + b"x", good[:-1], good + b"x"):
        standin.objects[name] = bad
        with pytest.raises(HashMismatch):
            future.result(10)
    standin.objects[name] = good
    assert future.result(10) == bytes(INLINE_LIMIT)


def test_arguments_over_the_limit_are_not_sent(standin, client, monkeypatch) -> None:
    monkeypatch.setattr("funcx_lab.objects.PAYLOAD_LIMIT", INLINE_LIMIT + 10)
    with pytest.raises(PayloadTooLarge, match="limit is 262,154"):
        client.submit(len, bytes(INLINE_LIMIT + 100), endpoint=ENDPOINT)
    assert standin.objects == {}


def test_a_function_that_the_service_has_lost_is_registered_anew(standin, client) -> None:
    assert client.submit(divide, 4, 2, endpoint=ENDPOINT).result(10) == 2
    standin.refuse = FunctionNotFound()
    with pytest.raises(FunctionNotFound):
        client.submit(divide, 4, 2, endpoint=ENDPOINT).result(10)
    standin.refuse = None
    assert client.submit(divide, 4, 2, endpoint=ENDPOINT).result(10) == 2
    assert standin.posts == 2


def test_endpoints(client) -> None:
    assert client.get_endpoints()[0]["name"] == "cluster"
    answer = client.register_endpoint("theta", "1", {"site": "ALCF"}, endpoint_version="0.3.9")
    assert answer["enrolment_token"] == "t"
    assert answer["got"] == {
        "endpoint_name": "theta",
        "endpoint_uuid": "1",
        "metadata": {"site": "ALCF", "endpoint_version": "0.3.9"},
    }


@pytest.mark.parametrize(
    ("names", "meant"), [(["cluster"], "cluster"), (["cluster", "local"], "local"), (["local"], "local")]
)
def test_local_or_the_only_endpoint_needs_no_naming(client, monkeypatch, names, meant) -> None:
    monkeypatch.setattr(client.connection, "endpoints", lambda: [{"name": name} for name in names])
    assert client.connection.endpoint(None) == meant
    assert client.connection.endpoint("other") == "other"


@pytest.mark.parametrize(("names", "told"), [(["b", "a"], "a, b"), ([], "none yet")])
def test_of_several_endpoints_or_none_one_must_be_named(client, monkeypatch, names, told) -> None:
    monkeypatch.setattr(client.connection, "endpoints", lambda: [{"name": name} for name in names])
    with pytest.raises(UsageError, match=f"Say where to run: .* Yours are: {told}"):
        client.submit(divide, 4, 2)
    with pytest.raises(UsageError, match=told):
        Executor(client=client)


def test_keywords_of_the_original_client(standin) -> None:
    client = FuncXClient(
        http_timeout=5,
        funcx_service_address=standin.url,
        force_login=False,
        fx_authorizer=None,
        asynchronous=False,
        use_offprocess_checker=True,
    )
    assert client.register_function(divide, function_name="halve", public=False, searchable=True)
    for keywords in (
        {"fx_authorizer": object()},
        {"asynchronous": True},
        {"loop": object()},
        {"nonsense": 1},
    ):
        with pytest.raises(UsageError, match=next(iter(keywords))):
            FuncXClient(funcx_service_address=standin.url, **keywords)
    for keywords in ({"container_uuid": "1"}, {"public": True}, {"group": "g"}, {"nonsense": 1}):
        with pytest.raises(UsageError, match=next(iter(keywords))):
            client.register_function(divide, **keywords)
    with pytest.raises(UsageError, match="switched off"):
        FuncXClient(funcx_service_address="https://api.funcx.org/v1")


def test_two_clients_share_one_stream(standin, client) -> None:
    other = FuncXClient()
    assert client.submit(divide, 4, 2, endpoint=ENDPOINT).result(10) == 2
    assert other.submit(divide, 4, 2, endpoint=ENDPOINT).result(10) == 2
    assert standin.connected == 1
