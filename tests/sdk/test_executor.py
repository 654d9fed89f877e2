"""What CPython's own suite claims of executors, of futures and of their shutdown."""

import concurrent.futures
import itertools
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

from funcx_lab import Executor
from funcx_lab.errors import UsageError
from funcx_lab.protocol.stream import Submit


@pytest.fixture
def executor(client) -> Executor:
    with Executor("cluster", client) as executor:
        yield executor


def capture(*args, **kwargs):
    return args, kwargs


class Calculator:
    def __init__(self, base: int) -> None:
        self.base = base

    def add(self, x):
        return self.base + x


def test_is_a_true_executor(executor) -> None:
    assert isinstance(executor, concurrent.futures.Executor)
    assert isinstance(executor.submit(pow, 2, 8), concurrent.futures.Future)


def test_submit(executor) -> None:
    assert executor.submit(pow, 2, 8).result(10) == 256
    assert executor.submit(capture, 1, self=2, fn=3).result(10) == ((1,), {"self": 2, "fn": 3})
    with pytest.raises(TypeError):
        executor.submit(fn=capture, arg=1)
    with pytest.raises(TypeError):
        executor.submit(arg=1)


def test_methods(executor) -> None:
    calculator = Calculator(40)
    first = executor.submit(calculator.add, 2)
    calculator.base = 50
    assert [first.result(10), executor.submit(calculator.add, 2).result(10)] == [42, 52]


def test_map(executor) -> None:
    assert list(executor.map(pow, range(10), range(10))) == list(map(pow, range(10), range(10)))
    assert list(executor.map(pow, range(10), range(10), chunksize=3)) == list(map(pow, range(10), range(10)))
    assert list(executor.map(pow, [], [])) == []
    assert list(executor.map(pow, [], [], chunksize=None)) == []


def test_map_raises_where_the_call_did(executor) -> None:
    results = executor.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
    assert [next(results), next(results)] == [(0, 1), (0, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_gives_up_after_its_timeout_and_cancels_the_rest(standin, executor, until) -> None:
    standin.hold = True
    results = executor.map(time.sleep, [0, 0], timeout=0.05)
    with pytest.raises(concurrent.futures.TimeoutError):
        list(results)
    until(lambda: [item.state for item in standin.outcomes.values()] == ["cancelled"] * 2)


@pytest.mark.parametrize(("chunksize", "tasks"), [(1, 100), (7, 15), (100, 1), (1000, 1), (None, 100)])
def test_map_fuses_calls_into_tasks(standin, executor, chunksize, tasks) -> None:
    assert list(executor.map(abs, range(-100, 0), chunksize=chunksize)) == list(range(100, 0, -1))
    assert sum(len(message.tasks) for message in standin.messages(Submit)) == tasks


@pytest.mark.parametrize("chunksize", [0, -1])
def test_map_refuses_bad_chunks(executor, chunksize) -> None:
    with pytest.raises(UsageError, match="chunksize"):
        executor.map(abs, [1], chunksize=chunksize)


def test_map_sends_before_it_is_iterated(standin, executor, until) -> None:
    executor.map(abs, range(3))
    until(lambda: len(standin.tasks) == 3)


def test_as_completed_and_wait(executor) -> None:
    futures = [executor.submit(pow, 2, n) for n in range(20)]
    assert {f.result() for f in concurrent.futures.as_completed(futures, timeout=10)} == {
        2**n for n in range(20)
    }
    failing = executor.submit(divmod, 1, 0)
    done, _ = concurrent.futures.wait([failing], timeout=10, return_when=concurrent.futures.FIRST_EXCEPTION)
    assert done == {failing}


def test_submit_after_shutdown(client) -> None:
    executor = Executor("cluster", client)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(pow, 2, 5)
    with pytest.raises(RuntimeError):
        executor.map(pow, [2], [5])
    executor.shutdown()


def test_leaving_the_block_waits(standin, client) -> None:
    standin.hold = True
    with Executor("cluster", client) as executor:
        futures = [executor.submit(pow, 2, n) for n in range(3)]
        threading.Timer(0.1, standin.release).start()
    assert all(future.done() for future in futures)
    assert [future.result(0) for future in futures] == [1, 2, 4]


def test_shutdown_without_wait_returns_at_once_and_tasks_go_on(standin, client) -> None:
    standin.hold = True
    executor = Executor("cluster", client)
    future = executor.submit(pow, 2, 5)
    executor.shutdown(wait=False)
    assert not future.done()
    standin.release()
    assert future.result(10) == 32


def test_shutdown_may_cancel_what_does_not_run_yet(standin, client) -> None:
    standin.hold, standin.workers = True, 2
    executor = Executor("cluster", client)
    futures = [executor.submit(pow, 2, n) for n in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in futures] == [False, False, True, True, True]
    standin.release()
    assert [future.result(10) for future in futures[:2]] == [1, 2]


def test_an_empty_executor_shuts_down(client) -> None:
    Executor("cluster", client).shutdown(wait=True, cancel_futures=True)


def test_no_reference_to_what_ran_is_kept(executor, until) -> None:
    calculator = Calculator(1)
    gone = weakref.ref(calculator)
    executor.submit(calculator.add, 1)  # the future is dropped on purpose
    del calculator
    until(lambda: gone() is None)


def test_map_keeps_no_reference_to_what_it_yielded(executor, until) -> None:
    for value in executor.map(Calculator, range(5)):
        gone = weakref.ref(value)
        del value
        until(lambda gone=gone: gone() is None)


def test_many_threads(executor) -> None:
    results = []

    def work(base: int) -> None:
        results.extend(f.result(10) for f in [executor.submit(pow, base, 1) for _ in range(50)])

    threads = [threading.Thread(target=work, args=(base,)) for base in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(itertools.chain.from_iterable([base] * 50 for base in range(4)))


def test_tasks_are_found_again_by_their_group(client) -> None:
    with Executor("cluster", client) as executor:
        ids = [executor.submit(pow, 2, n).task_id for n in range(5)]
    again = Executor("cluster", client, task_group_id=executor.task_group_id).reload_tasks()
    assert [future.task_id for future in again] == ids
    assert [future.result(10) for future in again] == [1, 2, 4, 8, 16]


def test_label(standin, client) -> None:
    with Executor("cluster", client, label="fit") as executor:
        executor.submit(pow, 2, 2)
    assert standin.messages(Submit)[0].options.label == "fit"


SCRIPT = """
import sys, time
from funcx_lab import Executor
executor = Executor("cluster")
for n in range(200):
    executor.submit(pow, 2, n)
print("submitted")
"""


def test_the_interpreter_exits_without_waiting_and_loses_no_task(standin) -> None:
    standin.hold = True
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("submitted\n", "", 0)
    assert time.monotonic() - begin < 8
    assert len(standin.tasks) == 200
