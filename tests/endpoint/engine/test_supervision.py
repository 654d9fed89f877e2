"""Parsl that dies, hangs or lies: real interchanges, managers and workers, killed and stopped."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import zmq
from parsl import curvezmq

from funcx_lab_endpoint.engine import progress
from funcx_lab_endpoint.engine.contract import CallDone
from funcx_lab_endpoint.engine.leftovers import MARK, marked

HTEX = "Config(max_workers_per_node={workers}, idle_seconds=60)"


def manager_of(driver):
    """Return the manager once the engine has seen it connected: before that it counts as starting."""
    driver.until(lambda: driver.host.status()["managers"] == 1 and driver.host.status()["worker_pids"])
    return psutil.Process(driver.host.status()["worker_pids"][0]).parent()


def left_idle(driver):
    """Let a worker's session idle out; return its pid: it holds the lock of the node's queue now."""
    driver.end_of(driver.submit(len, "abc"), limit=60)
    (worker,) = driver.host.status()["worker_pids"]
    driver.until(lambda: not driver.host.status()["worker_pids"], limit=60)
    driver.until(lambda: [node["tasks"] for node in driver.host._report["nodes"].values()] == [0], limit=60)
    return worker


BRIEF = "Config(max_workers_per_node={workers}, idle_seconds=2)"


@pytest.mark.slow
def test_node_whose_idle_worker_was_killed_with_the_lock_is_rebuilt(make_driver):
    """Parsl starts another worker, which waits for the lock for ever; the manager says all is well."""
    driver = make_driver(BRIEF, workers=1)
    worker = left_idle(driver)
    driver.until(lambda: driver.host.status()["managers"] == 1)
    os.kill(worker, signal.SIGKILL)
    since = time.monotonic()
    assert driver.end_of(driver.submit(len, "abc"), limit=60).outcome.ok
    assert time.monotonic() - since < 60
    assert driver.host.status()["restarts"] == 0


@pytest.mark.slow
def test_node_whose_idle_worker_was_stopped_with_the_lock_is_rebuilt(make_driver, monkeypatch):
    monkeypatch.setattr(progress, "STUCK_S", 6.0)
    driver = make_driver(BRIEF, workers=1)
    os.kill(left_idle(driver), signal.SIGSTOP)
    assert driver.end_of(driver.submit(len, "abc"), limit=60).outcome.ok
    assert driver.host.status()["restarts"] == 0


@pytest.mark.slow
def test_stopped_manager_is_replaced_and_calls_flow_until_then(make_driver):
    driver = make_driver(HTEX, workers=2)
    driver.end_of(driver.submit(len, "abc"), limit=60)
    manager = manager_of(driver)
    manager.suspend()
    since = time.monotonic()
    while manager.is_running() and manager.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - since < 100, "it is not replaced"
        assert driver.value(len, "abc") == 3
    driver.until(lambda: driver.host.status()["managers"] == 1, limit=60)
    assert driver.value(os.getppid) != manager.pid
    assert driver.host.status()["restarts"] == 0


@pytest.mark.slow
def test_stopped_interchange_is_replaced(make_driver):
    """Every question to it hangs, as does every `submit`: the engine process falls silent and is killed."""
    driver = make_driver(HTEX, workers=1)
    driver.end_of(driver.submit(len, "abc"), limit=60)
    (interchange,) = driver.host.status()["watched_pids"]
    os.kill(interchange, signal.SIGSTOP)
    driver.until(lambda: driver.host.status()["watched_pids"] not in ([], [interchange]), limit=60)
    assert driver.value(len, "abc") == 3
    assert not psutil.pid_exists(interchange)


@pytest.mark.slow
def test_manager_that_dials_again_while_its_first_connection_stands_is_heard(make_driver):
    """A manager dials twice; when the first goodbye is lost in the network, it waited for ever."""
    driver = make_driver(HTEX, workers=1)
    driver.end_of(driver.submit(len, "abc"), limit=60)
    (port,) = re.findall(r"--port=(\d+)", " ".join(manager_of(driver).cmdline()))
    (certificates,) = driver.directory.glob("runs/*/htex/certificates")
    context = curvezmq.ClientContext(str(certificates))
    connections = []
    for _ in range(2):
        connections.append(connection := context.socket(zmq.DEALER))
        connection.setsockopt(zmq.LINGER, 0)
        connection.setsockopt(zmq.IDENTITY, b"a manager")
        connection.connect(f"tcp://127.0.0.1:{port}")
        connection.send(pickle.dumps({"type": "connection_probe"}))
        assert connection.poll(5000), "it is not heard"
    for connection in connections:
        connection.close()
    context.term()
    assert driver.value(len, "abc") == 3


DEAF = """(lambda parsl, load: load(parsl))(
    __import__("parsl"), lambda parsl: Config(executors=[__import__("deaf").Deaf(
        label="deaf", address="127.0.0.1", max_workers_per_node={workers}
    )]))"""

DEAF_MODULE = """
from pathlib import Path
from parsl.executors import HighThroughputExecutor

class Deaf(HighThroughputExecutor):
    def submit(self, *args, **kwargs):
        future = super().submit(*args, **kwargs)
        once = Path(__file__).with_name("once")
        if not once.exists():
            once.touch()
            future.cancel()  # its result will raise in the thread that takes results
        return future
"""


@pytest.mark.slow
def test_dead_result_thread_of_parsl_is_noticed(make_driver, tmp_path, monkeypatch):
    (tmp_path / "deaf.py").write_text(DEAF_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    driver = make_driver(DEAF, workers=1)
    driver.end_of(driver.submit(os._exit, 1), limit=60)  # the loss of the worker is what Parsl reports
    driver.until(lambda: driver.host.status()["restarts"] == 1, limit=60)
    assert "takes results" in driver.host.status()["trouble"]
    assert driver.end_of(driver.submit(len, "abc"), limit=60).outcome.ok


FAILING = 'Config(max_workers_per_node={workers}, worker_init="echo no module abc >&2; exit 3")'


def test_blocks_that_always_fail_are_told_and_asked_for_ever_more_slowly(make_driver):
    driver = make_driver(FAILING, workers=1)
    driver.submit(len, "abc")
    driver.until(lambda: "exit code 3" in driver.host.waiting_reason, limit=60)
    assert "no module abc" in driver.host.waiting_reason
    assert "no module abc" in driver.host.status()["trouble"]
    until = time.monotonic() + 12
    driver.until(lambda: time.monotonic() > until)
    scripts = list(driver.directory.glob("runs/*/submit_scripts/*.sh"))
    assert 2 <= len(scripts) <= 5
    assert driver.host.status()["restarts"] == 0


AGENT = """
import sys, time
from pathlib import Path
from funcx_lab_endpoint.config import load_config
from funcx_lab_endpoint.engine.host import open_host
directory = Path(sys.argv[1])
host = open_host(load_config(directory / "config.py"), directory)
host.start()
while not host.status()["worker_pids"]:
    host.poll(time.monotonic())
    time.sleep(0.01)
print(host.status()["engine_pid"], flush=True)
while True:
    host.poll(time.monotonic())
    time.sleep(0.05)
"""


def start_agent(directory, config):
    """Start an agent with a worker; return the process and the engine's pid and mark."""
    directory.mkdir()
    text = f"from funcx_lab_endpoint.config import Config\nconfig = {config}\n"
    (directory / "config.py").write_text(text)
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(directory)], stdout=subprocess.PIPE)
    engine = int(agent.stdout.readline())
    return agent, engine, psutil.Process(engine).environ()[MARK]


def end(agent):
    agent.kill()
    agent.wait()
    agent.stdout.close()


def wait_until_nothing_carries(mark, limit):
    deadline = time.monotonic() + limit
    while left := marked(mark):
        assert time.monotonic() < deadline, [" ".join(process.cmdline()) for process in left]
        time.sleep(0.2)


def test_stopped_engine_of_a_killed_agent_wakes_up_and_cleans_up(tmp_path):
    config = 'Config(engine="processes", max_workers_per_node=1)'
    agent, engine, mark = start_agent(tmp_path / "a", config)
    os.kill(engine, signal.SIGSTOP)
    end(agent)
    wait_until_nothing_carries(mark, 10)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["Config(max_workers_per_node=2)", "Config(engine='processes')"])
def test_nothing_outlives_an_agent_that_was_killed_together_with_its_engine(tmp_path, config):
    agent, engine, mark = start_agent(tmp_path / "a", config)
    assert len(marked(mark)) > 1
    agent.send_signal(signal.SIGSTOP)  # or it would end the engine's processes before its own end
    os.kill(engine, signal.SIGKILL)
    end(agent)
    wait_until_nothing_carries(mark, 60)


@pytest.mark.slow
def test_call_that_runs_when_agent_and_engine_are_killed_ends_within_a_minute(make_driver):
    """Also if nothing of the engine is left that could end it."""
    driver = make_driver("Config(engine='processes', max_workers_per_node={workers})", workers=1)
    task_id = driver.submit(time.sleep, 600)
    worker = psutil.Process(driver.started(task_id).worker["pid"])
    os.kill(driver.host.status()["engine_pid"], signal.SIGKILL)
    worker.wait(60)  # the driver does not turn: the agent is as good as gone


@pytest.mark.slow
def test_interchange_killed_twice_while_calls_run(make_driver):
    driver = make_driver(HTEX, workers=2)
    driver.end_of(driver.submit(len, "warm"), limit=60)
    for _ in range(2):
        task_id = driver.submit(time.sleep, 3)
        driver.started(task_id)
        for pid in driver.host.status()["watched_pids"]:
            os.kill(pid, signal.SIGKILL)
        assert isinstance(driver.end_of(task_id), CallDone)
        driver.until(lambda: driver.host.status()["managers"] == 1, limit=60)
        # The workers of the engine before end within seconds, and what began there meanwhile is lost.
        driver.until(lambda: not driver.host._roster.orphans(driver.host._supervisor.mark), limit=60)
    assert driver.host.status()["restarts"] == 2
    assert re.fullmatch(r"the interchange \(pid \d+\) died", driver.host._supervisor.trouble)


def test_block_with_more_workers_than_are_wanted_comes_up_once(make_driver):
    """Parsl's "scale in by 0 blocks" ends every block that is just starting."""
    driver = make_driver("Config(max_workers_per_node={workers}, init_blocks=0)", workers=2)
    assert driver.end_of(driver.submit(len, "abc"), limit=60).outcome.ok
    assert len(list(driver.directory.glob("runs/*/submit_scripts/*.sh"))) == 1
