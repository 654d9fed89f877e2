"""Each program dies or freezes while tasks run: every task still ends once, with the right value."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from funcx_lab import Executor, FuncXClient
from funcx_lab.protocol.states import TaskState

SHORT, LONG = 200, 3
TOTAL = SHORT + LONG
#: The fault comes when so many tasks have ended; the long ones run or wait then.
BEGUN = 30
#: A worker's death loses the calls it holds, and a killed agent loses what its workers ran.
EXECUTIONS = TOTAL + 20


def work(number: int, seconds: float, path: str) -> int:
    """Leave a trace that no crash takes back, then take some time."""
    import os
    import time

    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{number} {os.getpid()}\n".encode())
    os.close(descriptor)
    time.sleep(seconds)
    return number * number


class Load:
    """Some 200 tasks of 0 to 50 ms, and three of 1 to 2 s among them."""

    def __init__(self, client: FuncXClient, truth: Path) -> None:
        chance = random.Random(1)
        seconds = [chance.uniform(0, 0.05) for _ in range(SHORT)]
        for place in (20, 80, 140):
            seconds.insert(place, chance.uniform(1, 2))
        self.truth, self.client = truth, client
        self.ended: list[float] = []
        self.executor = Executor("local", client)
        self.futures = [self.executor.submit(work, n, s, str(truth)) for n, s in enumerate(seconds)]
        for future in self.futures:
            future.add_done_callback(lambda _: self.ended.append(time.monotonic()))

    def traces(self) -> list[tuple[int, int]]:
        """Return (task, process) of every execution that began."""
        if not self.truth.exists():
            return []
        return [(int(n), int(pid)) for n, pid in map(str.split, self.truth.read_text().splitlines())]

    def busy_worker(self) -> int:
        """Return the process of the task that began last."""
        return self.traces()[-1][1]

    def check(self, limit_s: float = 60.0) -> float:
        """Check every outcome, here and in the service; return the longest silence in seconds."""
        values = [future.result(limit_s) for future in self.futures]
        assert values == [n * n for n in range(TOTAL)]
        executions = Counter(number for number, _ in self.traces())
        assert set(executions) == set(range(TOTAL))
        assert executions.total() <= EXECUTIONS, executions
        # What another process would see: the same values under the same ids, nothing else.
        seen = Executor("local", self.client, task_group_id=self.executor.task_group_id).reload_tasks()
        assert sorted(task.task_id for task in seen) == sorted(task.task_id for task in self.futures)
        assert sorted(task.result(10) for task in seen) == sorted(values)
        times = sorted(self.ended)
        return max(later - sooner for sooner, later in itertools.pairwise(times))


@pytest.fixture
def load(lab: Any, client: FuncXClient, tmp_path: Path, until: Callable[..., None]) -> Load:
    warm = Executor("local", client)
    assert warm.submit(os.getpid).result(60)
    load = Load(client, tmp_path / "truth")
    until(lambda: len(load.ended) >= BEGUN)
    return load


@pytest.mark.parametrize("role", ["hub", "agent", "engine", "interchange", "manager"])
def test_a_killed_program_loses_nothing(lab: Any, load: Load, role: str) -> None:
    victim = lab.find(role)
    victim.kill()
    silence = load.check()
    assert silence < 30
    assert lab.find(role).pid != victim.pid


def test_a_killed_busy_worker_loses_nothing(load: Load) -> None:
    psutil.Process(load.busy_worker()).kill()
    assert load.check() < 15


def test_killed_idle_workers_are_replaced(load: Load) -> None:
    load.check()
    for pid in {pid for _, pid in load.traces()}:
        psutil.Process(pid).kill()
    assert [load.executor.submit(pow, n, 2).result(60) for n in range(20)] == [n**2 for n in range(20)]


def test_a_stop_and_a_start_in_the_middle_lose_nothing(lab: Any, load: Load) -> None:
    lab.lab("stop")
    assert lab.processes() == []
    lab.lab("start")
    assert load.check() < 30


def test_waiting_for_a_task_does_not_undo_a_stop(
    lab: Any,
    client: FuncXClient,
    load: Load,
    caplog: pytest.LogCaptureFixture,
    until: Callable[..., None],
) -> None:
    caplog.set_level("INFO", "funcx_lab.stream")
    lab.lab("stop")
    until(lambda: caplog.text.count("or the next submit starts it again") >= 3)
    assert lab.processes() == []
    assert not all(future.done() for future in load.futures)
    assert client.submit(pow, 2, 5).result(60) == 32
    load.check()


CLIENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from test_faults import TOTAL, Load
from pathlib import Path
from funcx_lab import FuncXClient

if __name__ == "__main__":
    load = Load(FuncXClient(), Path(sys.argv[2]))
    assert all(future.wait_accepted(30) for future in load.futures)
    print(load.executor.task_group_id, load.futures[20].task_id, flush=True)
    time.sleep(600)
"""


def test_a_killed_client_loses_no_task(lab: Any, client: FuncXClient, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    kernel = subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent), str(truth)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert kernel.stdout is not None
    group_id, task_id = kernel.stdout.readline().split()
    kernel.kill()
    kernel.communicate()
    tasks = Executor("local", client, task_group_id=group_id).reload_tasks()
    assert sorted(task.result(60) for task in tasks) == [n * n for n in range(TOTAL)]
    assert client.get_result(task_id) == 400
    assert len(truth.read_text().splitlines()) == TOTAL


@pytest.mark.slow
@pytest.mark.parametrize("role", ["hub", "agent", "engine", "manager"])
def test_a_frozen_program_thaws_and_nothing_is_lost(lab: Any, load: Load, role: str) -> None:
    victim = lab.find(role)
    os.kill(victim.pid, signal.SIGSTOP)
    try:
        time.sleep(5)  # this is the fault
    finally:
        os.kill(victim.pid, signal.SIGCONT)
    load.check()
    assert lab.find(role).pid == victim.pid


def test_ten_thousand_submits_in_a_loop(lab: Any, client: FuncXClient) -> None:
    executor = Executor("local", client)
    assert executor.submit(abs, -1).result(60) == 1
    futures = [executor.submit(abs, -n) for n in range(10_000)]
    assert [future.result(60) for future in futures] == list(range(10_000))
    assert client.connection.transport.json("GET", "/v3/stats")["tasks"].get(TaskState.FAILED, 0) == 0
    assert lab.find("hub").memory_info().rss < 300e6
    assert lab.find("agent").memory_info().rss < 200e6
