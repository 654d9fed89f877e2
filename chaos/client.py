"""The client of a run: a process of its own that submits, waits, and keeps a record no crash takes back.

``python -m chaos.client DIRECTORY``; what to do stands in ``DIRECTORY/client.json``. It may be killed and
started again at any time: it then finds its tasks by their group and submits what it has not begun to
submit before. It never submits a task twice by itself.
"""

from __future__ import annotations

import functools
import json
import os
import queue
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

from chaos.records import ACKED, AGAIN, END, INTENT, SEEN, SENT, is_careful, read_client
from funcx_lab import Executor
from funcx_lab.futures import TaskFuture

#: So many tasks are out at a time; another number is drawn for each stretch of so many tasks.
WINDOWS, STRETCH = (2, 8, 40, 200, 500), 50
#: A task that nobody knows of is looked for so often, so many seconds apart.
LOOKS, LOOK_S = 6, 2.0


def work(number: int, seconds: float, path: str) -> tuple[int, str]:
    """Leave a trace that no crash takes back, take some time, return a value that only this run has."""
    import os
    import time
    import uuid

    def trace(line: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    token = uuid.uuid4().hex
    trace(f"begin {number} {token} {os.getpid()} {time.monotonic()}\n")
    time.sleep(seconds)
    trace(f"end {number} {token} {os.getpid()} {time.monotonic()}\n")
    return number * number, token


class Client:
    """Submits the tasks of a run and writes down what it did and saw.

    Parameters
    ----------
    directory : Path
        Holds ``client.json`` and the records.
    """

    def __init__(self, directory: Path) -> None:
        settings = json.loads((directory / "client.json").read_text())
        self._total, self._longest = settings["tasks"], settings["longest_s"]
        self._seed = settings["seed"]
        self._truth = str(directory / "executions")
        self._record = os.open(directory / "client", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        before = read_client(directory / "client")
        self._next = 1 + max((entry[1] for entry in before if entry[0] == INTENT), default=-1)
        self._sent = {entry[3] for entry in before if entry[0] == SENT}
        self._seen: dict[str, Any] = {entry[1]: entry[3:] for entry in before if entry[0] == SEEN}
        self._watched: set[str] = set()
        self._out = 0
        self._change = threading.Condition()
        self._to_accept: queue.SimpleQueue[tuple[int, TaskFuture[Any]]] = queue.SimpleQueue()
        group_id = settings["group_id"]
        self._executor = Executor("local", task_group_id=group_id)
        self._careful = Executor("local", task_group_id=group_id, at_most_once=True)

    def run(self) -> None:
        """Do what is left to do."""
        threading.Thread(target=self._acknowledge, daemon=True).start()
        self._find_again()
        for number in range(self._next, self._total):
            window = random.Random(f"{self._seed} {number // STRETCH}").choice(WINDOWS)
            with self._change:
                self._change.wait_for(functools.partial(self._has_room, window))
            self._submit(number)
        for _ in range(LOOKS):
            with self._change:
                self._change.wait_for(lambda: self._out == 0)
            if not self._sent - set(self._seen):
                break
            time.sleep(LOOK_S)
            self._find_again()
        with self._change:
            self._change.wait_for(lambda: self._out == 0)
        self._write(END, len(self._sent))

    def _has_room(self, window: int) -> bool:
        return self._out < window

    def _submit(self, number: int) -> None:
        seconds = random.Random(f"{self._seed} task {number}").uniform(0, self._longest)
        self._write(INTENT, number)
        executor = self._careful if is_careful(number) else self._executor
        future = executor.submit(work, number, seconds, self._truth)
        self._write(SENT, number, future.task_id)
        self._sent.add(future.task_id)
        self._watch(future)
        self._to_accept.put((number, future))

    def _find_again(self) -> None:
        """Watch the tasks of the group that this life of the client does not know."""
        for future in self._executor.reload_tasks():
            if future.task_id not in self._watched:
                self._watch(future)

    def _watch(self, future: TaskFuture[Any]) -> None:
        with self._change:
            self._watched.add(future.task_id)
            self._out += 1
        future.add_done_callback(self._ended)

    def _ended(self, future: Any) -> None:
        try:
            outcome = ["ok", *future.result(0)]
        except BaseException as error:  # whatever it is, it is what a user would have seen
            outcome = [type(error).__name__, getattr(error, "code", ""), str(error)[:300]]
        if self._seen.get(future.task_id) == outcome:
            self._write(AGAIN, future.task_id)
        else:
            self._seen[future.task_id] = outcome
            self._write(SEEN, future.task_id, *outcome)
        with self._change:
            self._out -= 1
            self._change.notify_all()

    def _acknowledge(self) -> None:
        while True:
            number, future = self._to_accept.get()
            if future.wait_accepted() and future.refusal is None:
                self._write(ACKED, number, future.task_id)

    def _write(self, kind: str, what: object, *more: object) -> None:
        os.write(self._record, (json.dumps([kind, what, time.monotonic(), *more]) + "\n").encode())


if __name__ == "__main__":
    Client(Path(sys.argv[1])).run()
