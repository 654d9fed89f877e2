"""The same sessions on Parsl's HighThroughputExecutor: the pitfalls that are its own."""

import os
import signal
import time

import psutil
import pytest

from funcx_lab_endpoint.engine.contract import CallDone, CallLost
from funcx_lab_endpoint.engine.leftovers import marked

HTEX = "Config(max_workers_per_node={workers}, idle_seconds=60)"


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def htex(make_module_driver):
    return make_module_driver(HTEX, workers=2)


def test_value_output_and_place(htex):
    def hello():
        print("hello from a worker")
        return os.environ["PARSL_WORKER_BLOCK_ID"]

    task_id = htex.submit(hello)
    done = htex.end_of(task_id, limit=60)
    assert done.outcome.worker["block"] == "0"
    assert htex.text(task_id) == "hello from a worker\n"


def test_running_call_is_cancelled_and_the_worker_lives(htex):
    pid = htex.value(os.getpid)
    task_id = htex.submit(time.sleep, 60)
    htex.started(task_id)
    htex.host.cancel(task_id)
    assert htex.end_of(task_id).outcome.error.code == "TASK_CANCELLED"
    assert pid in htex.host.status()["worker_pids"]


def test_a_session_stays_on_its_worker_while_others_work(htex):
    home = htex.value(os.getpid, session="warm")
    other = htex.submit(time.sleep, 1)
    htex.started(other)
    assert {htex.value(os.getpid, session="warm") for _ in range(5)} == {home}
    htex.end_of(other)


def test_killed_busy_worker_comes_back(htex):
    task_id = htex.submit(time.sleep, 60)
    pid = htex.started(task_id).worker["pid"]
    os.kill(pid, signal.SIGKILL)
    since = time.monotonic()
    assert isinstance(htex.end_of(task_id), CallLost)
    assert time.monotonic() - since < 20
    pids = {htex.started(task_id).worker["pid"] for task_id in [htex.submit(time.sleep, 5) for _ in range(2)]}
    assert len(pids) == 2


def test_killed_idle_worker_loses_nothing(htex):
    os.kill(htex.value(os.getpid), signal.SIGKILL)
    calls = [htex.make(len, "a" * i) for i in range(10)]
    htex.host.submit(calls)
    for call in calls:
        assert isinstance(htex.end_of(call.task_id), CallDone)


def test_killed_interchange_loses_no_short_call(htex):
    htex.value(len, "warm")
    (interchange,) = htex.host.status()["watched_pids"]
    os.kill(interchange, signal.SIGKILL)
    for i in range(20):
        assert htex.value(len, "a" * i) == i
    htex.until(lambda: htex.host.status()["watched_pids"] not in ([], [interchange]), limit=60)
    assert htex.value(len, "abc") == 3
    assert htex.host.status()["restarts"] == 1


def test_killed_manager_is_replaced(htex):
    htex.until(lambda: htex.host.status()["managers"] == 1, limit=60)
    worker = htex.value(os.getpid)
    manager = psutil.Process(worker).parent().pid
    os.kill(manager, signal.SIGKILL)
    assert htex.value(len, "abc") == 3  # by the orphan, or by the next block
    htex.until(lambda: worker not in htex.host.status()["worker_pids"], limit=60)
    assert htex.end_of(htex.submit(len, "abc"), limit=60).outcome.ok


def test_stop_leaves_no_process(make_driver):
    driver = make_driver(HTEX, workers=1)
    driver.end_of(driver.submit(len, "abc"), limit=60)
    manager = psutil.Process(next(iter(driver.host.status()["worker_pids"]))).parent()
    mark = manager.environ()["FUNCX_LAB_ENGINE"]
    driver.stop()
    assert [pid for pid in [*driver.pids, manager.pid] if is_alive(pid)] == []
    assert marked(mark) == []


PARSL_CONFIG = """Config(
    parsl_config=__import__("parsl").Config(
        executors=[
            __import__("parsl").HighThroughputExecutor(
                label="mine",
                address="127.0.0.1",
                max_workers_per_node={workers},
                prefetch_capacity=4,
                heartbeat_period=30,
            )
        ]
    )
)"""


def test_any_parsl_config_runs_without_prefetch_and_with_short_heartbeats(make_driver):
    driver = make_driver(PARSL_CONFIG, workers=1)
    assert driver.end_of(driver.submit(len, "abc"), limit=60).outcome.ok
    manager = psutil.Process(driver.host.status()["worker_pids"][0]).parent().cmdline()
    assert manager[manager.index("-p") + 1] == "0"
    assert "--hb_period=2" in manager
