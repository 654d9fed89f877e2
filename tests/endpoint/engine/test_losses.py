"""Workers, engines and hosts that die; what is lost, what goes on, what is left behind."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil

from funcx_lab_endpoint.engine.contract import CallDone, CallLost, CallStarted
from funcx_lab_endpoint.engine.leftovers import MARK, Record, end_marked, marked


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_killed_busy_worker_is_one_loss_and_the_next_call_works(make_driver):
    driver = make_driver()
    task_id = driver.submit(time.sleep, 60)
    pid = driver.started(task_id).worker["pid"]
    os.kill(pid, signal.SIGKILL)
    lost = driver.end_of(task_id)
    assert isinstance(lost, CallLost)
    assert str(pid) in lost.evidence
    assert "signal 9" in lost.evidence
    assert lost.execution == driver.of(task_id, CallStarted)[0].execution
    assert driver.value(len, "abc") == 3


def test_killed_idle_worker_is_replaced(make_driver):
    driver = make_driver()
    os.kill(driver.value(os.getpid), signal.SIGKILL)
    assert driver.value(len, "abc") == 3


def test_os_exit_is_a_loss_with_the_exit_code(make_driver):
    driver = make_driver()
    lost = driver.run(os._exit, 42)
    assert isinstance(lost, CallLost)
    assert "exit code 42" in lost.evidence
    assert driver.value(len, "abc") == 3


def test_segfault_is_a_loss_that_says_so(make_driver):
    driver = make_driver()
    lost = driver.run(ctypes.string_at, 0)
    assert isinstance(lost, CallLost)
    assert "Segmentation fault" in lost.evidence


def test_calls_behind_a_deadly_one_are_not_lost(make_driver):
    driver = make_driver()
    driver.value(len, "warm")

    def deadly(is_deadly):
        if is_deadly:
            os._exit(1)

    for _ in range(5):
        driver.value(deadly, False)
    calls = [driver.make(deadly, i == 3) for i in range(10)]
    driver.host.submit(calls)
    ends = [driver.end_of(call.task_id) for call in calls]
    assert [isinstance(end, CallLost) for end in ends] == [i == 3 for i in range(10)]


def test_at_most_once_call_of_a_lost_worker_is_told_at_once(make_driver):
    driver = make_driver()
    task_id = driver.submit(os._exit, 1, at_most_once=True)
    driver.end_of(task_id)
    assert len(driver.of(task_id, CallLost)) == 1


def test_long_call_in_a_batch_does_not_hold_the_others(make_driver):
    driver = make_driver(workers=2)

    def nap(seconds):
        time.sleep(seconds)

    for _ in range(20):
        driver.value(nap, 0)
    calls = [driver.make(nap, 50 if i == 0 else 0) for i in range(100)]
    driver.host.submit(calls)
    driver.until(lambda: all(driver.of(call.task_id, CallDone) for call in calls[1:]), limit=30)
    assert not driver.of(calls[0].task_id, CallDone)


def test_dead_engine_process_is_replaced_while_its_worker_goes_on(make_driver):
    driver = make_driver()
    task_id = driver.submit(time.sleep, 1.5)
    driver.started(task_id)
    engine = driver.host.status()["engine_pid"]
    os.kill(engine, signal.SIGKILL)
    assert isinstance(driver.end_of(task_id), CallDone)
    assert driver.value(len, "abc") == 3
    driver.until(lambda: driver.host.status()["engine_pid"] not in (0, engine))
    assert driver.host.status()["restarts"] == 1


def test_stop_leaves_no_process(make_driver):
    driver = make_driver(workers=2)
    driver.value(len, "abc")
    driver.submit(time.sleep, 60)
    child = driver.value(lambda: subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
    driver.stop()
    assert len(driver.pids) >= 3
    assert [pid for pid in [*driver.pids, child] if is_alive(pid)] == []


def test_two_hosts_do_not_disturb_each_other(make_driver):
    one, other = make_driver(), make_driver()
    assert one.value(os.getpid) != other.value(os.getpid)
    one.stop()
    assert other.value(len, "abc") == 3


def test_fork_that_returns_from_the_function_does_no_harm(make_driver):
    driver = make_driver()
    task_id = driver.submit(os.fork)
    assert driver.end_of(task_id).outcome.ok
    assert driver.value(len, "abc") == 3
    assert len(driver.of(task_id, CallDone)) == 1


def test_child_that_writes_for_ever_does_not_hold_its_call(make_driver):
    driver = make_driver()
    driver.run(subprocess.Popen, ["yes"])
    assert driver.value(len, "abc") == 3


def test_workers_that_cannot_serve_are_told_as_the_reason(make_driver, monkeypatch):
    monkeypatch.setattr("funcx_lab_endpoint.engine.side_channel.m.SESSION_VERSION", 99)
    driver = make_driver()
    driver.submit(len, "abc")
    driver.until(lambda: "cannot serve" in driver.host.waiting_reason)
    assert "exit code 0" in driver.host.status()["trouble"]


SCRIPT = """
import sys, time, zmq
from pathlib import Path
from funcx_lab_endpoint.config import load_config
from funcx_lab_endpoint.engine.host import open_host
directory = Path(sys.argv[1])
host = open_host(load_config(directory / "config.py"), directory)
host.start()
while True:
    host.poll(time.monotonic())
    pids = host.status()["worker_pids"]
    if pids:
        print(host.status()["engine_pid"], *pids, flush=True)
        break
    time.sleep(0.01)
time.sleep(600)
"""


def start_agent_like(directory):
    directory.mkdir()
    (directory / "config.py").write_text(
        "from funcx_lab_endpoint.config import Config\n"
        'config = Config(engine="processes", max_workers_per_node=1)\n'
    )
    agent = subprocess.Popen([sys.executable, "-c", SCRIPT, str(directory)], stdout=subprocess.PIPE)
    return agent, [int(word) for word in agent.stdout.readline().split()]


def wait_until_gone(pids, limit=30):
    deadline = time.monotonic() + limit
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, [pid for pid in pids if is_alive(pid)]
        time.sleep(0.02)


def test_killed_agent_takes_its_engine_and_workers_along(tmp_path):
    agent, pids = start_agent_like(tmp_path / "killed")
    agent.kill()
    agent.wait()
    agent.stdout.close()
    wait_until_gone(pids)


def test_next_start_ends_what_was_left_behind(tmp_path, make_driver):
    directory = tmp_path / "left"
    agent, (engine, worker) = start_agent_like(directory)
    os.kill(engine, signal.SIGSTOP)  # it cannot clean up when the agent dies
    agent.kill()
    agent.wait()
    agent.stdout.close()
    os.kill(worker, signal.SIGSTOP)
    driver = make_driver(directory=directory)
    assert not is_alive(engine)
    assert not is_alive(worker)
    assert driver.value(len, "abc") == 3


def test_only_marked_processes_are_ended(tmp_path):
    mine = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: "mine"})
    stranger = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: "other"})
    try:
        assert [process.pid for process in marked("mine")] == [mine.pid]
        assert end_marked("mine") == 1
        mine.wait()
        assert psutil.pid_exists(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_engines_of_the_place_a_directory_was_copied_from_are_left_alone(tmp_path):
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    runs.mkdir()
    Record(runs / "engines.json").note("of the original", jobs=["17"])
    shutil.copytree(runs, copy)
    living = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: "of the original"})
    try:
        assert Record(copy / "engines.json").reap() == []
        assert living.poll() is None
        assert Record(runs / "engines.json").reap() == ["17"]
        assert not is_alive(living.pid)
    finally:
        living.kill()
        living.wait()


def test_damaged_record_is_survived(tmp_path):
    path = tmp_path / "engines.json"
    path.write_text("{ not json")
    assert Record(path).reap() == []


def test_broken_config_is_told_as_the_reason(make_driver, tmp_path):
    driver = make_driver()
    driver.value(len, "abc")
    (driver.directory / "config.py").write_text("config = nonsense\n")
    os.kill(driver.host.status()["engine_pid"], signal.SIGKILL)
    driver.until(lambda: "line 1" in driver.host.status()["trouble"], limit=60)
