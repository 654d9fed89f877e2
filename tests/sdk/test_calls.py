"""Calls of earlier tasks: asked for with a key, fetched back, run here, submitted again."""

import numpy as np
import pytest

from funcx_lab import Executor
from funcx_lab.errors import TaskNotFound, UsageError
from funcx_lab.protocol.stream import Submit
from funcx_lab.serialize import pack_function


def divide(x, y=2):
    return x / y


def sent(standin):
    return standin.messages(Submit)[-1]


def test_memo_travels_as_the_key_of_the_code(standin, client) -> None:
    code = pack_function(divide).code
    assert client.submit(divide, 4, endpoint="cluster", task_memo=True).result(10) == 2
    assert (sent(standin).options.memo, sent(standin).options.fresh) == (code, False)
    with Executor("cluster", client, fresh=True) as executor:
        assert executor.submit(divide, 4).result(10) == 2
    assert (sent(standin).options.memo, sent(standin).options.fresh) == (code, True)
    client.get_result(client.run(4, endpoint="cluster", function=divide, task_memo=True), timeout=10)
    assert sent(standin).options.memo == code
    client.submit(divide, 4, endpoint="cluster").result(10)
    assert sent(standin).options is None


@pytest.mark.parametrize("name", ["memo", "fresh"])
def test_what_is_neither_true_nor_false_is_refused(client, name) -> None:
    with pytest.raises(UsageError, match=f"{name} must be True or False, not 'yes'"):
        Executor("cluster", client, **{name: "yes"})


def test_a_call_is_fetched_back_and_runs_here(standin, client) -> None:
    future = client.submit(divide, 9, y=3, endpoint="cluster", task_label="nine")
    assert future.result(10) == 3
    call = client.get_call(future.task_id)
    assert call.arguments() == ([9], {"y": 3})
    assert (call.run(), call.endpoint, call.options.label) == (3, "cluster", "nine")
    assert repr(call) == f"<Call of divide by task …{future.task_id[-8:]} on cluster>"


def test_large_arguments_are_fetched(standin, client) -> None:
    data = np.arange(100_000.0)
    future = client.submit(np.sum, data, endpoint="cluster")
    future.result(10)
    assert client.get_call(future.task_id).run() == data.sum()


def test_a_retry_is_the_same_call_as_a_new_task(standin, client) -> None:
    future = client.submit(divide, 1, y=0, endpoint="cluster", task_memo=True, task_label="zero")
    with pytest.raises(ZeroDivisionError):
        future.result(10)
    first = sent(standin)
    again = client.retry(future.task_id)
    with pytest.raises(ZeroDivisionError):
        again.result(10)
    second = sent(standin)
    assert again.task_id != future.task_id
    assert (second.group_id, second.function_id) == (first.group_id, first.function_id)
    assert second.tasks[0].payload == first.tasks[0].payload
    options = second.options
    assert (options.repeats, options.label, options.fresh) == (future.task_id, "zero", True)
    client.retry(future.task_id, "elsewhere").exception(10)
    assert sent(standin).endpoint == "elsewhere"


@pytest.mark.parametrize("task_id", ["", " ", None, 7])
def test_no_id_is_refused(client, task_id) -> None:
    for ask in (client.get_call, client.retry):
        with pytest.raises(UsageError, match="task's id is needed"):
            ask(task_id)


def test_no_such_task(client) -> None:
    with pytest.raises(TaskNotFound):
        client.get_call("../../v3/tasks")
