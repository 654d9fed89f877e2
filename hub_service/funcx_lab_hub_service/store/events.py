"""Task logs in the database.

An event's ``seq`` is its place in the task's log. Place 1 is the derived ``received``, the last is
the derived final state; what lies between is stored. ``i`` numbers the events of one execution.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from funcx_lab.protocol.messages import Event, EventBatch
from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.store import moves
from funcx_lab_hub_service.store.records import STATES, TaskRecord

#: Place of the first stored event.
_FIRST = 2

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
Logged = tuple[int, Event]


def append(connection: sqlite3.Connection, task: int, stored: int, batch: EventBatch | None) -> list[Logged]:
    """Store the events of ``batch`` that are new and leave no gap; return them with their places.

    Parameters
    ----------
    task : int
        The task's row.
    stored : int
        How many events its log holds; the caller keeps that column.
    """
    if batch is None or not batch.events:
        return []
    known = next_index(connection, task, batch.execution)
    if batch.first > known:
        return []
    new = batch.events[known - batch.first :]
    logged = [(_FIRST + stored + place, event) for place, event in enumerate(new)]
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                task,
                seq,
                batch.execution,
                known + place,
                _storable(event.time),
                event.kind,
                _encode(event.data),
            )
            for place, (seq, event) in enumerate(logged)
        ],
    )
    return logged


def copy(
    connection: sqlite3.Connection, source: int, execution: str | None, task: int, stored: int
) -> list[Logged]:
    """Append what one execution of another task printed and showed; return it with its places.

    Parameters
    ----------
    source, task : int
        The rows of the other task, and of this one.
    execution : str or None
        The execution; None if it left no events.
    stored : int
        How many events this task's log holds; the caller keeps that column.
    """
    rows = connection.execute(
        "SELECT i, time, kind, data FROM events"
        " WHERE task = ? AND execution = ? AND i IS NOT NULL AND kind != 'state' ORDER BY seq",
        (source, execution),
    ).fetchall()
    placed = [(_FIRST + stored + place, *row) for place, row in enumerate(rows)]
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(task, seq, execution, *row) for seq, *row in placed],
    )
    return [(seq, Event(time, kind, _decode(data))) for seq, _, time, kind, data in placed]


def next_index(connection: sqlite3.Connection, task: int, execution: str) -> int:
    """Return the number of the execution's first event that is not stored."""
    row = connection.execute(
        "SELECT i FROM events WHERE task = ? AND execution = ? AND i IS NOT NULL ORDER BY seq DESC LIMIT 1",
        (task, execution),
    ).fetchone()
    return 0 if row is None else row[0] + 1


def store_batches(
    connection: sqlite3.Connection, endpoint: int, batches: Iterable[EventBatch]
) -> tuple[list[tuple[str, str, int]], list[tuple[str, list[Logged]]]]:
    """Store events of running tasks.

    Returns
    -------
    acks, new : list, list
        ``(task_id, execution, next)`` for the agent, ``(task_id, events)`` for the followers. Events
        of a task that has ended are void and acknowledged; those of an unknown task are neither.
    """
    acks, published = [], []
    for batch in batches:
        row = connection.execute(
            "SELECT id, state, events FROM tasks WHERE task_id = ? AND endpoint = ?",
            (batch.task_id, endpoint),
        ).fetchone()
        if row is None:
            continue
        key, state, stored = row
        if state >= moves.FINAL:
            acks.append((batch.task_id, batch.execution, batch.first + len(batch.events)))
            continue
        new = append(connection, key, stored, batch)
        if new:
            connection.execute("UPDATE tasks SET events = ? WHERE id = ?", (stored + len(new), key))
            published.append((batch.task_id, new))
        acks.append((batch.task_id, batch.execution, next_index(connection, key, batch.execution)))
    return acks, published


def store_started(
    connection: sqlite3.Connection,
    endpoint: int,
    tasks: Iterable[tuple[str, int, str, float, dict[str, Any]]],
) -> list[tuple[str, list[Logged]]]:
    """Store that executions began; void for a task that is not out under that lease any more."""
    published = []
    for task_id, tag, execution, time, worker in tasks:
        row = connection.execute(
            "SELECT id, state, events, execution FROM tasks WHERE task_id = ? AND endpoint = ? AND tag = ?",
            (task_id, endpoint, tag),
        ).fetchone()
        if row is None or row[1] >= moves.FINAL or row[3] == execution:
            continue
        key, _, stored, _ = row
        event = _append_state(connection, key, stored, execution, TaskState.RUNNING, "", time)
        moves.start(connection, key, tag, started=time, execution=execution, worker=_encode(worker))
        published.append((task_id, [event]))
    return published


def store_waits(
    connection: sqlite3.Connection,
    task_ids: Iterable[str],
    show: Callable[[str, TaskState], tuple[TaskState, str]],
    now: float,
) -> list[tuple[str, list[Logged]]]:
    """Store why live tasks wait, as far as that is news.

    Parameters
    ----------
    show : callable
        Returns what people see for an endpoint's id and a stored state.
    """
    published = []
    for task_id in task_ids:
        row = connection.execute(
            "SELECT t.id, t.state, t.events, e.endpoint_id FROM tasks t JOIN endpoints e ON e.id = t.endpoint"
            " WHERE t.task_id = ? AND t.outcome_seq IS NULL",
            (task_id,),
        ).fetchone()
        if row is None:
            continue
        key, state, stored, endpoint_id = row
        shown, reason = show(endpoint_id, STATES[state])
        if _last_state(connection, key) == (shown, reason) or not (stored or reason):
            continue
        event = _append_state(connection, key, stored, None, shown, reason, now)
        connection.execute("UPDATE tasks SET events = ? WHERE id = ?", (stored + 1, key))
        published.append((task_id, [event]))
    return published


def _last_state(connection: sqlite3.Connection, task: int) -> tuple[str, str] | None:
    row = connection.execute(
        "SELECT data FROM events WHERE task = ? AND kind = 'state' ORDER BY seq DESC LIMIT 1", (task,)
    ).fetchone()
    if row is None:
        return None
    data = _decode(row[0])
    return data["state"], data["reason"]


def _append_state(
    connection: sqlite3.Connection,
    task: int,
    stored: int,
    execution: str | None,
    state: TaskState,
    reason: str,
    time: float,
) -> Logged:
    event = Event(time, "state", {"state": str(state), "reason": reason})
    connection.execute(
        "INSERT INTO events VALUES (?, ?, ?, NULL, ?, ?, ?)",
        (task, _FIRST + stored, execution, _storable(time), event.kind, _encode(event.data)),
    )
    return _FIRST + stored, event


def _storable(time: float) -> float:
    """Return ``time``, or 0 for "not a number", which SQLite takes for nothing and refuses."""
    return 0.0 if math.isnan(time) else time


def final_event(stored: int, time: float, state: TaskState, reason: str) -> Logged:
    """Return the derived last entry of a log with ``stored`` events."""
    return _FIRST + stored, Event(time, "state", {"state": str(state), "reason": reason})


def select(connection: sqlite3.Connection, task: TaskRecord, after: int, limit: int) -> list[Logged]:
    """Return a task's log behind place ``after``; of an ended task only what the winning run left."""
    log: list[Logged] = []
    if after < 1:
        log.append((1, Event(task.received, "state", {"state": str(TaskState.RECEIVED), "reason": ""})))
    winner = task.execution if task.state.is_final else None
    rows = connection.execute(
        "SELECT seq, time, kind, data FROM events WHERE task = ? AND seq > ?"
        " AND (? IS NULL OR execution IS NULL OR execution = ?) ORDER BY seq LIMIT ?",
        (task.key, after, winner, winner, limit - len(log)),
    )
    log += [(seq, Event(time, kind, _decode(data))) for seq, time, kind, data in rows]
    if task.state.is_final and len(log) < limit:
        reason = task.reused_reason if task.error is None else task.error.message
        last = final_event(task.events, task.ended or task.received, task.state, reason)
        if last[0] > after:
            log.append(last)
    return log
