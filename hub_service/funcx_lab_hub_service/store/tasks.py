"""Tasks in the database: taken in, read, leased. How they end stands in outcomes.py."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from funcx_lab.protocol.messages import ErrorInfo, ObjectRef, TaskItem, TaskOptions
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.store.records import CODES, STATES, TaskRecord

RECEIVED = CODES[TaskState.RECEIVED]
QUEUED = CODES[TaskState.WAITING_FOR_EP]
LEASED = CODES[TaskState.WAITING_FOR_LAUNCH]
RUNNING = CODES[TaskState.RUNNING]
#: States from this number on are final.
FINAL = CODES[TaskState.SUCCESS]
#: SQLite takes at most 999 parameters in its oldest builds.
_CHUNK = 500

encode = msgspec.msgpack.Encoder().encode
_decode_options = msgspec.msgpack.Decoder(TaskOptions).decode
_decode_error = msgspec.msgpack.Decoder(ErrorInfo).decode
_decode_worker = msgspec.msgpack.Decoder(dict[str, Any]).decode
_NO_OPTIONS = TaskOptions()

_COLUMNS = """t.id, t.task_id, g.group_id, u.name, f.function_id, f.name, e.endpoint_id, e.name, t.state,
    t.options, t.tag, t.losses, t.events, t.execution, t.received, t.started, t.ended, t.outcome_seq,
    t.error, t.worker"""
_JOINED = """FROM tasks t JOIN task_groups g ON g.id = t.grp JOIN users u ON u.id = t.owner
    JOIN functions f ON f.id = t.function JOIN endpoints e ON e.id = t.endpoint"""


@dataclass(frozen=True, slots=True)
class Insertion:
    """Tasks of one submit on their way into the database.

    ``tags`` are the leases of the first tasks, which leave for the endpoint now; the others queue.
    """

    owner: str
    group_id: str
    endpoint: int
    function: int
    tasks: Sequence[NewTask]
    options: TaskOptions | None
    tags: Sequence[int]
    session: int | None
    #: Unix seconds
    received: float


class TaskWriter:
    """Hands out row numbers; lives in the writer thread.

    Parameters
    ----------
    first : int
        The first number that no task has.
    """

    def __init__(self, first: int) -> None:
        self._next = first

    def insert(self, connection: sqlite3.Connection, new: Insertion) -> list[str]:
        """Insert tasks; a known id changes nothing.

        Returns
        -------
        list of str
            Ids that are taken by another task.
        """
        owner = user_key(connection, new.owner)
        group = _group_key(connection, owner, new.group_id)
        options = None if new.options is None or new.options == _NO_OPTIONS else encode(new.options)
        first = self._next
        self._next += len(new.tasks)
        tags = itertools.chain(new.tags, itertools.repeat(None))
        rows = [
            (
                *(key, task.task_id, owner, group, new.endpoint, new.function),
                *(QUEUED if tag is None else RECEIVED, options, tag, tag and new.session, new.received),
            )
            for key, task, tag in zip(range(first, self._next), new.tasks, tags, strict=False)
        ]
        inserted = connection.executemany(
            "INSERT OR IGNORE INTO tasks (id, task_id, owner, grp, endpoint, function, state, options, tag,"
            " session, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        ).rowcount
        bodies = list(zip(range(first, self._next), new.tasks, strict=True))
        conflicts: list[str] = []
        if inserted != len(rows):
            bodies, conflicts = _sort_out(connection, bodies, owner, new)
        connection.executemany(
            "INSERT INTO bodies VALUES (?, ?, ?, ?)",
            ((key, task.payload, *_reference(task.object)) for key, task in bodies),
        )
        leased = sum(key < first + len(new.tags) for key, _ in bodies)
        count(connection, {(owner, RECEIVED): leased, (owner, QUEUED): len(bodies) - leased})
        return conflicts


def _reference(reference: ObjectRef | None) -> tuple[str | None, int | None]:
    return (None, None) if reference is None else (reference.sha256, reference.size)


def _sort_out(
    connection: sqlite3.Connection, rows: list[tuple[int, NewTask]], owner: int, new: Insertion
) -> tuple[list[tuple[int, NewTask]], list[str]]:
    """Return the rows that went in, and the ids that another task has."""
    inserted, conflicts = [], []
    for key, task in rows:
        found = connection.execute(
            "SELECT t.id, t.owner, t.endpoint, t.function, b.payload, b.object FROM tasks t"
            " LEFT JOIN bodies b ON b.task = t.id WHERE t.task_id = ?",
            (task.task_id,),
        ).fetchone()
        if found[0] == key:
            inserted.append((key, task))
        elif found[1:] != (owner, new.endpoint, new.function, task.payload, _reference(task.object)[0]):
            conflicts.append(task.task_id)
    return inserted, conflicts


def user_key(connection: sqlite3.Connection, name: str) -> int:
    """Return the number of a user, a new one for a new user."""
    row = connection.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO users (name) VALUES (?) RETURNING id", (name,)).fetchone()
    return int(row[0])


def _group_key(connection: sqlite3.Connection, owner: int, group_id: str) -> int:
    row = connection.execute(
        "SELECT id FROM task_groups WHERE owner = ? AND group_id = ?", (owner, group_id)
    ).fetchone()
    if row is None:
        row = connection.execute(
            "INSERT INTO task_groups (owner, group_id) VALUES (?, ?) RETURNING id", (owner, group_id)
        ).fetchone()
    return int(row[0])


def count(connection: sqlite3.Connection, changes: dict[tuple[int, int], int]) -> None:
    """Add to the number of tasks by (owner, state)."""
    for (owner, state), n in changes.items():
        if n:
            connection.execute(
                "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
                (owner, state, n),
            )


def next_key(connection: sqlite3.Connection) -> int:
    """Return the first number that no task has."""
    return int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM tasks").fetchone()[0])


# --- leases ---------------------------------------------------------------------------------------------


def lease_queued(
    connection: sqlite3.Connection, endpoint: int, session: int, tags: Sequence[int], size_limit: int
) -> tuple[list[TaskItem], bool]:
    """Lease the oldest queued tasks of an endpoint.

    Parameters
    ----------
    tags : sequence of int
        Leases to give, one a task.
    size_limit : int
        Stop when the payloads have this many bytes (the first task always goes).

    Returns
    -------
    items, exhausted : list of TaskItem, bool
        The leased tasks, and whether nothing is left in the queue.
    """
    cursor = connection.execute(
        "SELECT t.id, t.owner, t.task_id, f.function_id, t.options, b.payload, b.object, b.size FROM tasks t"
        " JOIN functions f ON f.id = t.function JOIN bodies b ON b.task = t.id"
        " WHERE t.endpoint = ? AND t.state = 1 AND t.outcome_seq IS NULL ORDER BY t.id LIMIT ?",
        (endpoint, len(tags) + 1),
    )
    items: list[TaskItem] = []
    keys, moved, size, exhausted = [], Counter[int](), 0, True
    for key, owner, task_id, function_id, options, payload, sha256, nbytes in cursor:
        if len(items) == len(tags) or (items and size + len(payload) > size_limit):
            exhausted = False
            break
        reference = None if sha256 is None else ObjectRef(sha256, nbytes)
        tag = tags[len(items)]
        items.append(TaskItem(task_id, tag, function_id, payload, reference, options_of(options)))
        keys.append((LEASED, tag, session, key))
        moved[owner] += 1
        size += len(payload)
    connection.executemany("UPDATE tasks SET state = ?, tag = ?, session = ? WHERE id = ?", keys)
    for owner, n in moved.items():
        count(connection, {(owner, QUEUED): -n, (owner, LEASED): n})
    return items, exhausted


# --- reading --------------------------------------------------------------------------------------------


def options_of(blob: bytes | None) -> TaskOptions | None:
    """Return stored options."""
    return None if blob is None else _decode_options(blob)


def known_ids(connection: sqlite3.Connection, task_ids: Sequence[str]) -> set[str]:
    """Return which of the ids a task has."""
    found: set[str] = set()
    for chunk in chunks(task_ids):
        marks = ",".join("?" * len(chunk))
        rows = connection.execute(f"SELECT task_id FROM tasks WHERE task_id IN ({marks})", chunk)  # noqa: S608  # constant words
        found.update(row[0] for row in rows)
    return found


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ``values`` in pieces that fit one statement."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def select_by_ids(connection: sqlite3.Connection, owner: str, task_ids: Sequence[str]) -> list[TaskRecord]:
    """Return the owner's tasks among ``task_ids``, in that order."""
    found: dict[str, TaskRecord] = {}
    for chunk in chunks(task_ids):
        marks = ",".join("?" * len(chunk))
        rows = connection.execute(
            f"SELECT {_COLUMNS} {_JOINED} WHERE u.name = ? AND t.task_id IN ({marks})",
            (owner, *chunk),
        )
        found.update((row[1], _record(row)) for row in rows)
    return [found[task_id] for task_id in task_ids if task_id in found]


def select(
    connection: sqlite3.Connection,
    owner: str,
    *,
    group_id: str | None,
    endpoint_id: str | None,
    states: Sequence[int] | None,
    limit: int,
    before: int | None,
) -> list[TaskRecord]:
    """Return the owner's newest tasks with key below ``before``."""
    values: list[Any]
    user = "(SELECT id FROM users WHERE name = ?)"
    if group_id is None:
        where, values = [f"t.owner = {user}"], [owner]
    else:  # narrower than its owner
        where = [f"t.grp = (SELECT id FROM task_groups WHERE owner = {user} AND group_id = ?)"]  # noqa: S608  # constant words
        values = [owner, group_id]
    if endpoint_id is not None:
        where.append("e.endpoint_id = ?")
        values.append(endpoint_id)
    if before is not None:
        where.append("t.id < ?")
        values.append(before)
    if states is not None:
        where.append(f"t.state IN ({','.join('?' * len(states))})")
        values += states
    rows = connection.execute(
        f"SELECT {_COLUMNS} {_JOINED} WHERE {' AND '.join(where)} ORDER BY t.id DESC LIMIT ?",
        (*values, limit),
    )
    return [_record(row) for row in rows]


def tallies(connection: sqlite3.Connection, owner: str) -> dict[TaskState, int]:
    """Return how many of the owner's tasks are in each state."""
    rows = connection.execute(
        "SELECT state, n FROM tally JOIN users u ON u.id = owner WHERE u.name = ?", (owner,)
    )
    return {STATES[state]: n for state, n in rows if n}


def _record(row: tuple[Any, ...]) -> TaskRecord:
    (key, task_id, group_id, owner, function_id, function_name, endpoint_id, endpoint_name, state) = row[:9]
    (options, tag, losses, events, execution, received, started, ended, outcome_seq, error, worker) = row[9:]
    return TaskRecord(
        *(key, task_id, group_id, owner, function_id, function_name, endpoint_id, endpoint_name),
        *(STATES[state], "", options_of(options) or _NO_OPTIONS, tag, losses, events, execution),
        *(received, started, ended, outcome_seq),
        None if error is None else _decode_error(error),
        {} if worker is None else _decode_worker(worker),
    )
