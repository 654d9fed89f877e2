"""Workers, engines and agents that are stopped or deaf, not dead: what is lost, what goes on."""

import ctypes
import os
import signal
import time

import psutil
import pytest

from funcx_lab_endpoint.engine import side_channel, vitals
from funcx_lab_endpoint.engine.contract import CallDone, CallLost
from funcx_lab_endpoint.engine.processes import Processes


@pytest.fixture
def short_limits(monkeypatch):
    """The limits of silence, in proportion."""
    monkeypatch.setattr(vitals, "RUNNING_SILENCE_S", 5.0)
    monkeypatch.setattr(vitals, "IDLE_SILENCE_S", 3.5)
    monkeypatch.setattr(vitals, "DOUBT_S", 2.5)
    monkeypatch.setattr(side_channel, "BEAT_S", 0.5)
    monkeypatch.setattr(side_channel, "HEARTBEAT_IVL_MS", 300)
    monkeypatch.setattr(side_channel, "HEARTBEAT_LIMIT_MS", 1000)


def keep_the_gil(seconds):
    ctypes.PyDLL(None).sleep(seconds)
    return "done"


@pytest.mark.usefixtures("short_limits")
def test_call_that_keeps_the_gil_for_long_is_not_lost(make_driver):
    driver = make_driver()
    driver.value(len, "warm")
    assert driver.value(keep_the_gil, 7) == "done"


def test_call_that_keeps_the_gil_longer_than_agents_are_waited_for_reports_its_end(make_driver):
    driver = make_driver()
    driver.host._pool.given["agent_gone_s"] = 3.0

    def sleep_and_keep_the_gil(begin):
        time.sleep(begin)
        ctypes.PyDLL(None).sleep(5)
        return os.getpid()

    pids = [driver.value(sleep_and_keep_the_gil, begin) for begin in (0.0, 0.1)]
    assert driver.value(os.getpid) == pids[0] == pids[1]


@pytest.mark.usefixtures("short_limits")
def test_stopped_worker_is_lost_with_its_call_and_killed(make_driver):
    driver = make_driver()
    task_id = driver.submit(time.sleep, 600)
    pid = driver.started(task_id).worker["pid"]
    os.kill(pid, signal.SIGSTOP)
    lost = driver.end_of(task_id)
    assert isinstance(lost, CallLost)
    assert "SIGSTOP" in lost.evidence
    assert driver.value(os.getpid) != pid
    driver.until(lambda: not psutil.pid_exists(pid), limit=60)


def test_worker_stopped_for_a_while_goes_on(make_driver):
    driver = make_driver()
    task_id = driver.submit(time.sleep, 2)
    pid = driver.started(task_id).worker["pid"]
    os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + 4
    driver.until(lambda: time.monotonic() > until)
    os.kill(pid, signal.SIGCONT)
    assert isinstance(driver.end_of(task_id), CallDone)
    assert driver.value(os.getpid) == pid


@pytest.mark.usefixtures("short_limits")
def test_calls_do_not_wait_for_a_stopped_idle_worker(make_driver, monkeypatch):
    monkeypatch.setattr(vitals, "IDLE_SILENCE_S", 60.0)
    driver = make_driver(workers=2)
    driver.until(lambda: len(driver.host.status()["worker_pids"]) == 2)
    stopped = driver.value(os.getpid)
    os.kill(stopped, signal.SIGSTOP)
    driver.until(lambda: driver.host.status()["workers"] == 1, limit=60)
    since = time.monotonic()
    assert driver.value(os.getpid) != stopped
    assert time.monotonic() - since < 20
    os.kill(stopped, signal.SIGCONT)
    driver.until(lambda: driver.host.status()["workers"] == 2, limit=60)


@pytest.mark.usefixtures("short_limits")
def test_call_given_to_a_stopped_worker_is_run_by_another_and_not_lost(make_driver):
    driver = make_driver(workers=1)
    pid = driver.value(os.getpid)
    os.kill(pid, signal.SIGSTOP)
    assert driver.value(os.getpid) != pid


def test_idle_worker_is_asked_and_answers(make_driver, monkeypatch):
    monkeypatch.setattr(vitals, "ASK_S", 0.5)
    monkeypatch.setattr(vitals, "ANSWER_S", 1.0)
    driver = make_driver()
    pid = driver.value(os.getpid)
    until = time.monotonic() + 3
    driver.until(lambda: time.monotonic() > until)
    assert driver.value(os.getpid) == pid


def test_worker_that_answers_nothing_is_replaced(make_driver, monkeypatch):
    monkeypatch.setattr(vitals, "ASK_S", 0.5)
    monkeypatch.setattr(vitals, "ANSWER_S", 1.0)
    monkeypatch.setattr(side_channel.SideChannel, "_accept", _without_answers)
    driver = make_driver()
    pid = driver.value(os.getpid)
    driver.until(lambda: pid not in driver.host.status()["worker_pids"])
    monkeypatch.undo()
    assert driver.value(os.getpid) != pid


def _without_answers(self, peer, up, now, *, _accept=side_channel.SideChannel._accept):
    return [item for item in _accept(self, peer, up, now) if not isinstance(item, side_channel.m.Answer)]


@pytest.mark.usefixtures("short_limits")
def test_agent_that_was_stopped_blames_nobody(make_driver):
    """As a whole machine that was paused: nobody turns the host, and the worker could not speak either."""
    driver = make_driver()
    pid = driver.value(os.getpid)
    task_id = driver.submit(time.sleep, 7)
    driver.started(task_id)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(6)
    driver.turn()
    os.kill(pid, signal.SIGCONT)
    assert isinstance(driver.end_of(task_id), CallDone)
    assert driver.value(os.getpid) == pid
    assert driver.host.status()["restarts"] == 0


def test_stopped_engine_process_is_replaced(make_driver, monkeypatch):
    monkeypatch.setattr("funcx_lab_endpoint.engine.supervisor.SILENCE_LIMIT_S", 3.0)
    driver = make_driver()
    task_id = driver.submit(time.sleep, 5)
    driver.started(task_id)
    engine = driver.host.status()["engine_pid"]
    os.kill(engine, signal.SIGSTOP)
    driver.until(lambda: driver.host.status()["restarts"] == 1, limit=60)
    assert isinstance(driver.end_of(task_id), CallDone)
    assert driver.value(len, "abc") == 3


def test_worker_that_dies_before_it_has_its_arguments_harms_nobody(monkeypatch):
    monkeypatch.setattr("funcx_lab_endpoint.engine.processes.sys.executable", "/bin/false")
    processes = Processes(1)
    processes.open({"sid": "a", "padding": "x" * 1_000_000})
    deadline = time.monotonic() + 30
    while not (ended := processes.poll()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ended == [("a", "exit code 1")]
