"""What plots ask of the tables: an owner's newest tasks, with their times, places and sizes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from funcx_lab.protocol.messages import ErrorInfo, TaskOptions
from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.store.moves import FINAL, RUNNING
from funcx_lab_hub_service.store.records import STATES
from funcx_lab_hub_service.store.tombstones import chunks

_worker = msgspec.msgpack.Decoder(dict[str, Any]).decode
_error = msgspec.msgpack.Decoder(ErrorInfo).decode
_options = msgspec.msgpack.Decoder(TaskOptions).decode

_SELECT = """SELECT t.task_id, e.endpoint_id, e.name, f.name, t.state, t.received, t.started, t.ended,
    t.worker, t.error, t.options FROM tasks t JOIN functions f ON f.id = t.function
    JOIN endpoints e ON e.id = t.endpoint"""
_USER = "(SELECT id FROM users WHERE name = ?)"


@dataclass(frozen=True, slots=True)
class RecentTask:
    """A task as a plot shows it; times are Unix seconds, None if they never were."""

    task_id: str
    endpoint_id: str
    endpoint_name: str
    #: its label, else its function's name
    name: str
    state: TaskState
    received: float
    started: float | None
    ended: float | None
    worker: dict[str, Any]
    #: the error's code, ``""`` without one
    code: str


def select_ended(connection: sqlite3.Connection, owner: str, limit: int) -> list[RecentTask]:
    """Return the owner's newest ended tasks, by their coming."""
    states = range(FINAL, len(STATES))
    parts = " UNION ALL ".join(
        f"SELECT * FROM (SELECT id FROM tasks WHERE owner = {_USER} AND state = {state}"  # noqa: S608  # numbers
        f" ORDER BY id DESC LIMIT {int(limit)})"
        for state in states
    )
    keys = connection.execute(f"{parts} ORDER BY id DESC LIMIT {int(limit)}", [owner] * len(states))
    return _select(connection, "t.id", [str(row[0]) for row in keys])


def select_running(connection: sqlite3.Connection, owner: str, limit: int) -> list[RecentTask]:
    """Return the owner's running tasks, the newest ``limit`` of them."""
    rows = connection.execute(
        f"{_SELECT} WHERE t.owner = {_USER} AND t.state = {RUNNING} ORDER BY t.id DESC LIMIT ?",
        (owner, limit),
    )
    return [_task(row) for row in rows]


def select_by_ids(connection: sqlite3.Connection, task_ids: Sequence[str]) -> list[RecentTask]:
    """Return these tasks, in no order."""
    return _select(connection, "t.task_id", task_ids)


def _select(connection: sqlite3.Connection, column: str, values: Sequence[str]) -> list[RecentTask]:
    tasks: list[RecentTask] = []
    for marks, piece in chunks(values):
        tasks += map(_task, connection.execute(f"{_SELECT} WHERE {column} IN ({marks})", piece))
    return tasks


def _task(row: tuple[Any, ...]) -> RecentTask:
    (task_id, endpoint_id, endpoint, function, state, received, started, ended, worker, error, options) = row
    label = None if options is None else _options(options).label
    return RecentTask(
        *(task_id, endpoint_id, endpoint, label or function, STATES[state], received, started, ended),
        {} if worker is None else _worker(worker),
        "" if error is None else _error(error).code,
    )
