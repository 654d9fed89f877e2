"""``@fxc.function(...)``: plain calls stay here; remote, spawn and map go to the endpoint."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from typing import Any

import pytest

import funcx_lab
from funcx_lab import Executor, FuncXClient, TaskFuture, decorator, errors, functions, serialize
from funcx_lab.protocol.stream import Submit
from funcx_lab.remote_function import RemoteFunction
from funcx_lab.serialize import pack_function


def test_a_plain_call_runs_here_and_the_others_there(client: FuncXClient, standin: Any) -> None:
    @client.function(endpoint="cluster")
    def add(a: int, b: int = 1) -> int:
        return a + b

    assert add(1, b=2) == add.local(1, b=2) == 3
    assert standin.posts == 0
    assert add.remote(1, b=2) == 3
    assert add.spawn(5).result(10) == 6
    assert [future.result(10) for future in add.map([1, 2], [10, 20])] == [11, 22]
    assert {submit.endpoint for submit in standin.messages(Submit)} == {"cluster"}
    assert len(standin.functions) == 1


def test_without_parentheses(client: FuncXClient, standin: Any) -> None:
    @client.function
    def one() -> int:
        return 1

    again = client.function(endpoint="cluster")(one)
    assert again.local_function is one.local_function
    assert again.remote() == 1


def test_it_looks_like_the_function(client: FuncXClient) -> None:
    @client.function(endpoint="cluster", retries=2)
    def fit(data: list[int], rate: float = 0.1) -> float:
        """Fit a model."""
        return rate

    assert (fit.__name__, fit.__doc__) == ("fit", "Fit a model.")
    assert list(inspect.signature(fit).parameters) == ["data", "rate"]
    assert repr(fit) == "<RemoteFunction fit on cluster, retries=2>"
    assert copy.deepcopy(fit) is fit


def test_options_go_with_every_call(client: FuncXClient, standin: Any) -> None:
    @client.function(endpoint="cluster", retries=2, walltime=60, label="fit")
    def fit(endpoint: str) -> str:
        return endpoint

    assert fit.remote(endpoint="the function's own") == "the function's own"
    assert [future.result(10) for future in fit.map(["a"])] == ["a"]
    for submit in standin.messages(Submit):
        asked = submit.options
        assert (asked.retries, asked.walltime_s, asked.label) == (2, 60.0, "fit")


def test_a_remote_function_travels_inside_another(client: FuncXClient) -> None:
    @client.function(endpoint="cluster")
    def half(x: float) -> float:
        return x / 2

    @client.function(endpoint="cluster")
    def quarter(x: float) -> float:
        return half(half(x))

    @client.function(endpoint="cluster")
    def nested() -> float:
        return half.remote(1)

    assert quarter.remote(8) == 2
    assert client.submit(quarter, 8, endpoint="cluster").result(10) == 2
    with pytest.raises(errors.UsageError, match="half is at an endpoint already"):
        nested.remote()


def test_an_executor_takes_it_and_packs_it_once(client: FuncXClient, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[Any] = []
    monkeypatch.setattr(functions, "pack_function", lambda each: packed.append(each) or pack_function(each))

    @client.function
    def half(x: float) -> float:
        return x / 2

    def quarter(x: float) -> float:
        return half(half(x))

    executor = Executor("cluster", client)
    assert [executor.submit(half, x).result(10) for x in (2, 4)] == [1, 2]
    assert [executor.submit(quarter, x).result(10) for x in (4, 8)] == [1, 2]
    assert packed == [half.local_function, quarter]


def test_one_that_calls_itself_travels(client: FuncXClient) -> None:
    @client.function(endpoint="cluster")
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    assert factorial.remote(5) == 120
    there = serialize.unpack_function(serialize.pack_function(factorial).body)
    assert isinstance(there, RemoteFunction)
    assert there(5) == 120


def test_an_error_has_its_type(client: FuncXClient) -> None:
    @client.function(endpoint="cluster")
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        fail.remote()


def test_an_interrupt_cancels(client: FuncXClient, standin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    standin.hold = True

    @client.function(endpoint="cluster")
    def wait() -> None:
        pass

    def interrupt(future: TaskFuture[None]) -> None:
        assert future.wait_accepted(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(TaskFuture, "result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        wait.remote()
    assert [outcome.state for outcome in standin.outcomes.values()] == ["cancelled"]


@pytest.mark.parametrize(
    ("options", "text"),
    [({"retries": -1}, "retries must be"), ({"gpus": 1}, "no option 'gpus'. There are: endpoint, label")],
)
def test_options_are_checked_at_once(client: FuncXClient, options: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.UsageError, match=text):
        client.function(**options)


def test_what_cannot_be_made_remote(client: FuncXClient) -> None:
    with pytest.raises(errors.UsageError, match="function\\(endpoint='cluster'\\)"):
        client.function("cluster")  # type: ignore[arg-type]  # the mistake that is meant
    with pytest.raises(errors.UsageError, match="not int 3"):
        client.function(3)  # type: ignore[arg-type]  # the same
    with pytest.raises(errors.UsageError, match="fit is a method"):

        class Model:
            @client.function
            def fit(self) -> None:
                pass


def test_other_callables(client: FuncXClient) -> None:
    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor, self.remote = factor, "its own"

        def __call__(self, x: int) -> int:
            return self.factor * x

    add = client.function(endpoint="cluster")(functools.partial(pow, 2))
    scale = client.function(endpoint="cluster")(Scale(3))
    assert (add.remote(5), scale.remote(5)) == (32, 15)
    assert repr(add) == "<RemoteFunction pow on cluster>"
    assert repr(scale) == "<RemoteFunction Scale on cluster>"


def test_a_coroutine_function_runs_to_its_end_there(client: FuncXClient, standin: Any) -> None:
    @client.function(endpoint="cluster")
    async def later(x: int) -> int:
        return x + 1

    assert asyncio.run(later(1)) == 2
    client.connection.functions.find(later)
    (body,) = standin.functions.values()
    assert serialize.unpack_function(body)(1) == 2


def test_without_a_client(standin: Any) -> None:
    decorator._client.cache_clear()

    @funcx_lab.function(endpoint="cluster")
    def one() -> int:
        return 1

    assert one() == 1
    assert decorator._client.cache_info().currsize == 0
    assert one.remote() == 1
    decorator._client.cache_clear()
