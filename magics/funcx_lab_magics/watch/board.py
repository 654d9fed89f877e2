"""What is known of the tasks that are watched, and how many were where at which time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from funcx_lab.looks import LOOKS
from funcx_lab.protocol.states import FINAL_STATES, TaskState

#: All states, in the order of a task's life.
STATES: tuple[str, ...] = tuple(LOOKS)
#: The history keeps between half of this and so many points; when there are more, every second one goes.
POINTS = 300


@dataclass
class Row:
    """One task.

    Attributes
    ----------
    task_id, endpoint, label : str
        Which one.
    state, reason : str
        Where it is, and why.
    received, started, ended : float
        Unix seconds; 0 if not yet, or not known.
    host : str
        Where its worker is.
    items : int
        What it counts as: the items of a map's task.
    failed_items : int
        So many of them failed though the task ended well.
    """

    task_id: str
    endpoint: str = ""
    label: str = ""
    state: str = TaskState.RECEIVED.value
    reason: str = ""
    received: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    host: str = ""
    items: int = 1
    failed_items: int = 0

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.state in FINAL_STATES

    def update(self, record: Mapping[str, Any]) -> None:
        """Take in the hub service's record, which may be older than what is known."""
        self.endpoint = str(record.get("endpoint_name") or self.endpoint)
        self.label = str(record.get("label") or record.get("function_name") or self.label)
        self.received = float(record.get("received") or self.received)
        self.started = float(record.get("started") or self.started)
        self.host = str((record.get("worker") or {}).get("host") or self.host)
        if not self.is_final:
            self.state, self.reason = str(record["state"]), str(record.get("reason") or "")
        self.ended = float(record.get("ended") or self.ended) if self.is_final else 0.0

    def end(self, state: str, ended: float) -> None:
        """Take in that it has ended, and when (Unix seconds; 0 if nobody knows)."""
        self.state, self.reason = state, ""
        self.ended = self.ended or ended or time.time()


class Board:
    """The tasks that are watched.

    Attributes
    ----------
    begun : float
        When watching began (Unix seconds).
    rows : dict
        The tasks by their ids.
    times : list of float
        The history: seconds since the beginning.
    history : list of Counter
        How many were in which state then.
    note : str
        What keeps it from being up to date; ``""`` for nothing.
    """

    def __init__(self) -> None:
        self.begun = time.time()
        self.rows: dict[str, Row] = {}
        self.times: list[float] = []
        self.history: list[Counter[str]] = []
        self.note = ""

    def row(self, task_id: str) -> Row:
        """Return a task's row, a new one if it has none."""
        row = self.rows.get(task_id)
        if row is None:
            row = self.rows[task_id] = Row(task_id)
        return row

    @property
    def is_complete(self) -> bool:
        """Whether all have ended."""
        return all(row.is_final for row in list(self.rows.values()))

    @property
    def live(self) -> list[str]:
        """The ids of those that have not ended."""
        return [row.task_id for row in list(self.rows.values()) if not row.is_final]

    def counts(self, endpoint: str | None = None) -> Counter[str]:
        """Return how many are in which state, at one endpoint or in all."""
        found: Counter[str] = Counter()
        for row in list(self.rows.values()):
            if endpoint is None or row.endpoint == endpoint:
                found[row.state] += row.items - row.failed_items
                found[TaskState.FAILED.value] += row.failed_items
        return +found

    @property
    def endpoints(self) -> list[str]:
        """The names of the endpoints, in order."""
        return sorted({row.endpoint for row in list(self.rows.values())})

    @property
    def seconds(self) -> float:
        """Seconds from the beginning to now, or to the last end."""
        rows = list(self.rows.values())
        if not rows or not all(row.is_final for row in rows):
            return time.time() - self.begun
        first = min(row.received or self.begun for row in rows)
        return max(row.ended for row in rows) - min(first, self.begun)

    def remember(self) -> None:
        """Add a point to the history."""
        self.times.append(time.time() - self.begun)
        self.history.append(self.counts())
        if len(self.times) > POINTS:
            # Every second one, but always the last.
            self.times, self.history = self.times[::-2][::-1], self.history[::-2][::-1]
