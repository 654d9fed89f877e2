"""What really happened in a history, and what may never be."""

from __future__ import annotations

import collections
import random
from typing import Any

#: What a person can see of an outcome: state, payload and error code.
Seen = tuple[str, bytes, str]


class Truth:
    """The record that no program writes: runs, values, output, what was promised and what was shown.

    Parameters
    ----------
    r : random.Random
        Decides what kinds of tasks there are.
    count : int
        How many tasks.
    seed : int
        Becomes part of their ids.
    """

    def __init__(self, r: random.Random, count: int, seed: int) -> None:
        self.tasks = [f"{seed & 0xFFFFFFFF:08x}-0000-0000-0000-{number:012x}" for number in range(count)]
        self.once = {task for task in self.tasks if r.random() < 0.3}
        self.deadly = {task for task in self.tasks if r.random() < 0.12}
        #: their first run raises, and they ask for another try
        self.clumsy = {task for task in self.tasks if task not in self.once and r.random() < 0.15}
        self.to_cancel = {task for task in self.tasks if r.random() < 0.12}
        self.abandoned = {task for task in self.tasks if r.random() < 0.12}
        self.born = {task: r.random() for task in self.tasks}
        #: runs of each task, and all runs by name
        self.starts: collections.Counter[str] = collections.Counter()
        self.started: set[str] = set()
        #: by run: its task, and its output so far
        self.values: dict[str, str] = {}
        self.output: dict[str, list[str]] = {}
        #: promised with an answer; shown, by any way at all
        self.acknowledged: set[str] = set()
        self.shown: dict[str, Seen] = {}
        #: runs whose result an agent sent
        self.told: set[str] = set()
        #: an agent was told to forget their results before the service had them
        self.dropped: set[str] = set()
        self.flaws: dict[str, Any] = {}

    def flaw(self, kind: str, *what: Any) -> None:
        """Remember the first flaw of a kind."""
        self.flaws.setdefault(kind, what)

    def begin(self, task_id: str, execution: str) -> None:
        """Take note that user code starts here."""
        self.starts[task_id] += 1
        self.started.add(execution)
        self.output[execution] = []
        if task_id in self.once and self.starts[task_id] > 1:
            self.flaw("at_most_once started twice", task_id)

    def see(self, task_id: str, outcome: Seen) -> None:
        """Take note of an outcome that was shown to somebody."""
        before = self.shown.setdefault(task_id, outcome)
        if before != outcome:
            self.flaw("outcome changed", task_id, before, outcome)
        state, payload, code = outcome
        if state == "success" and self.values.get(payload.decode()) != task_id:
            self.flaw("wrong value", task_id, payload)
        if code == "LOST_UNKNOWN" and task_id not in self.once:
            self.flaw("default task lost", task_id)
        if state == "cancelled" and task_id not in self.to_cancel:
            self.flaw("cancelled by nobody", task_id)
        if state == "failed" and code not in ("LOST_UNKNOWN", "TASK_POISONED"):
            self.flaw("failed for no reason of its own", task_id, outcome)
