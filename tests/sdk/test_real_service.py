"""The SDK against the real hub service, agent and workers, embedded."""

import asyncio
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from funcx_lab import Executor, FuncXClient, stream
from funcx_lab.errors import (
    EndpointNotFound,
    FunctionNotFound,
    InvalidRequest,
    NotAuthenticated,
    TaskCancelled,
    TaskNotFound,
)

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """An embedded hub service with its endpoint ``local``."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patch.setenv("FUNCX_LAB_HOME", str(home))
    for name in ("FUNCX_LAB_URL", "FUNCX_LAB_TOKEN", "FUNCX_LAB_JUPYTERHUB_URL"):
        patch.delenv(name, raising=False)
    yield home
    stream.close_streams(str(home))
    stop = subprocess.run(
        [sys.executable, "-m", "funcx_lab.cli", "stop"], capture_output=True, text=True, timeout=60
    )
    patch.undo()
    assert stop.returncode == 0, stop.stderr


@pytest.fixture
def client(service) -> FuncXClient:
    client = FuncXClient()
    yield client
    client.connection.transport.close()


def double(x):
    return 2 * x


def test_the_snippet_of_the_talk(client) -> None:
    def funcx_sum(items):
        return sum(items)

    function_id = client.register_function(funcx_sum, description="A summation function")
    task_id = client.run([1, 2, 3, 99], endpoint_id="local", function_id=function_id)
    assert client.get_result(task_id, timeout=60) == 105
    task = client.get_task(task_id)
    assert (task["status"], task["pending"], task["result"]) == ("success", False, 105)
    (endpoint,) = client.get_endpoints()
    assert (endpoint["name"], endpoint["state"]) == ("local", "online")
    by_id = client.run([1], endpoint_id=endpoint["endpoint_id"], function_id=function_id)
    assert client.get_result(by_id, timeout=60) == 1
    assert client.get_endpoint_status("local")["status"] == "online"


def test_a_stored_result_stands_for_the_same_call(client) -> None:
    def token(x):
        import uuid

        print("made")
        return x, uuid.uuid4().hex

    with Executor("local", client, memo=True) as executor:
        first = executor.submit(token, 1)
        made = first.result(60)
        again = executor.submit(token, 1)
        assert again.result(60) == made
        assert executor.submit(token, 2).result(60) != made
    task = client.get_task(again.task_id)
    assert (task["reused_from"], task["attempts"]) == (first.task_id, 0)
    assert task["saved_s"] >= 0
    assert task["code_hash"] == client.get_task(first.task_id)["code_hash"]
    with client.follow(again.task_id) as events:
        assert [event.data for _, event in events if event.kind == "stdout"] == ["made\n"]
    retried = client.retry(again.task_id)
    assert retried.result(60) != made
    assert client.get_task(retried.task_id)["repeats"] == again.task_id
    assert client.submit(token, 1, endpoint="local", task_memo=True).result(60) == retried.result()


def test_batch_with_a_failing_task(client) -> None:
    def divide(x, y):
        return x / y

    batch = client.create_batch()
    for y in (1, 0, 2):
        batch.add(8, y, function=divide)
    task_ids = client.batch_run(batch)
    for task_id in task_ids:
        client.task(task_id).exception(60)
    results = client.get_batch_result(task_ids)
    assert [results[task_id].get("result") for task_id in task_ids] == [8, None, 4]
    assert isinstance(results[task_ids[1]]["exception"], ZeroDivisionError)


def test_executor(client) -> None:
    with Executor("local", client) as executor:
        futures = [executor.submit(double, n) for n in range(1000)]
        assert {future.result(60) for future in concurrent.futures.as_completed(futures, timeout=60)} == {
            2 * n for n in range(1000)
        }
        assert list(executor.map(double, range(500), chunksize=50)) == [2 * n for n in range(500)]
        assert len(executor.reload_tasks()) == 1010


def test_await(client) -> None:
    async def work():
        return await asyncio.gather(*[client.submit(double, n) for n in range(5)])

    assert asyncio.run(work()) == [0, 2, 4, 6, 8]


def test_cancel_stops_a_running_task(client) -> None:
    future = client.submit(time.sleep, 60)
    deadline = time.monotonic() + 30
    while not future.running():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begin = time.monotonic()
    assert future.cancel()
    assert client.submit(double, 1).result(30) == 2
    assert time.monotonic() - begin < 20
    with pytest.raises(TaskCancelled):
        future.result(0)
    with pytest.raises(TaskCancelled):
        client.get_result(future.task_id)


def test_shutdown_with_cancel_spares_what_runs(client) -> None:
    executor = Executor("local", client)
    futures = [executor.submit(time.sleep, 0.3) for _ in range(50)]
    executor.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    kept = [future for future in futures if not future.cancelled()]
    assert 0 < len(kept) < len(futures)
    assert [future.exception(0) for future in kept] == [None] * len(kept)


def test_a_large_array_there_and_back(client) -> None:
    array = np.random.default_rng(1).random(3_000_000)
    np.testing.assert_array_equal(client.submit(lambda a: a + 1, array).result(60), array + 1)


def test_events_of_a_task(client) -> None:
    def talk():
        print("hello")

    future = client.submit(talk)
    text = "".join(event.data for _, event in client.follow(future.task_id) if event.kind == "stdout")
    assert text == "hello\n"


def test_unknown_things(client) -> None:
    with pytest.raises(EndpointNotFound):
        client.run(1, function=double, endpoint="nowhere")
    with pytest.raises(FunctionNotFound):
        client.run(1, function_id=NOBODY)
    with pytest.raises(TaskNotFound):
        client.get_result(NOBODY)
    with pytest.raises(TaskNotFound):
        client.get_result(NOBODY, timeout=10)
    with pytest.raises((EndpointNotFound, InvalidRequest)):
        client.run(1, function=double, endpoint="../x")


def test_a_wrong_token(service, client) -> None:
    url = json.loads((service / "service.json").read_text())["url"]
    stranger = FuncXClient(funcx_service_address=url, token="fxl_wrong")
    with pytest.raises(NotAuthenticated):
        stranger.register_function(double)
    stranger.connection.transport.close()


def test_tasks_survive_a_killed_hub_service(service, client) -> None:
    def slow(x):
        import time

        time.sleep(1)
        return x

    assert client.submit(double, 1).result(60) == 2
    futures = [client.submit(slow, n) for n in range(4)]
    assert all(future.wait_accepted(30) for future in futures)
    pid = json.loads((service / "service.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    assert [future.result(60) for future in futures] == [0, 1, 2, 3]
    assert json.loads((service / "service.json").read_text())["pid"] != pid
    assert client.submit(double, 2).result(60) == 4


SCRIPT = """
from funcx_lab import FuncXClient
client = FuncXClient()
for n in range(100):
    client.submit(pow, n, 2)
print(client.task_group_id)
"""


def test_a_script_that_ends_at_once_loses_no_task(client) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert (done.stderr, done.returncode) == ("", 0)
    futures = Executor("local", client, task_group_id=done.stdout.strip()).reload_tasks()
    assert [future.result(60) for future in futures] == [n**2 for n in range(100)]
    assert Path(os.environ["FUNCX_LAB_HOME"]).is_dir()
