"""Tasks in the database: leased and read. They come in by intake.py, how they end stands in outcomes.py."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from funcx_lab.protocol.messages import ErrorInfo, FunctionBody, ObjectRef, TaskItem, TaskOptions
from funcx_lab.protocol.stream import TaskCall
from funcx_lab_hub_service.store import moves
from funcx_lab_hub_service.store.records import HASH_LENGTH, STATES, Reused, TaskRecord
from funcx_lab_hub_service.store.tombstones import chunks

encode = msgspec.msgpack.Encoder().encode
_decode_options = msgspec.msgpack.Decoder(TaskOptions).decode
_decode_error = msgspec.msgpack.Decoder(ErrorInfo).decode
_decode_worker = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_reused = msgspec.msgpack.Decoder(Reused).decode
_NO_OPTIONS = TaskOptions()
_SHA256 = re.compile(r"[0-9a-f]{64}")

_COLUMNS = """t.id, t.task_id, g.group_id, u.name, f.function_id, f.name, e.endpoint_id, e.name, t.state,
    t.options, t.tag, t.losses, t.events, t.execution, t.received, t.started, t.ended, t.outcome_seq,
    t.error, t.worker, f.sha256, json_extract(f.meta, '$.code_sha256'), t.input_hash, t.reused"""
_JOINED = """FROM tasks t JOIN task_groups g ON g.id = t.grp JOIN users u ON u.id = t.owner
    JOIN functions f ON f.id = t.function JOIN endpoints e ON e.id = t.endpoint"""


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
        "SELECT t.id, t.task_id, f.function_id, t.options, b.payload, b.object, b.size FROM tasks t"
        " JOIN functions f ON f.id = t.function JOIN bodies b ON b.task = t.id"
        " WHERE t.endpoint = ? AND t.state = 1 AND t.outcome_seq IS NULL ORDER BY t.id LIMIT ?",
        (endpoint, len(tags) + 1),
    )
    items: list[TaskItem] = []
    leases, size, exhausted = [], 0, True
    for key, task_id, function_id, options, payload, sha256, nbytes in cursor:
        if len(items) == len(tags) or (items and size + len(payload) > size_limit):
            exhausted = False
            break
        reference = None if sha256 is None else ObjectRef(sha256, nbytes)
        tag = tags[len(items)]
        items.append(TaskItem(task_id, tag, function_id, payload, reference, options_of(options)))
        leases.append((tag, session, key))
        size += len(payload)
    moves.lease(connection, leases)
    return items, exhausted


# --- reading --------------------------------------------------------------------------------------------


def options_of(blob: bytes | None) -> TaskOptions | None:
    """Return stored options."""
    return None if blob is None else _decode_options(blob)


def known_ids(connection: sqlite3.Connection, task_ids: Sequence[str]) -> set[str]:
    """Return which of the ids a task has or had."""
    found: set[str] = set()
    for marks, piece in chunks(task_ids):
        rows = connection.execute(
            f"SELECT task_id FROM tasks WHERE task_id IN ({marks})"  # noqa: S608  # marks only
            f" UNION ALL SELECT task_id FROM tombstones WHERE task_id IN ({marks})",
            (*piece, *piece),
        )
        found.update(row[0] for row in rows)
    return found


def owned_ids(connection: sqlite3.Connection, owner: str, task_ids: Sequence[str]) -> set[str]:
    """Return which of the ids tasks of the owner's have."""
    found: set[str] = set()
    for marks, piece in chunks(task_ids):
        rows = connection.execute(
            f"SELECT t.task_id FROM tasks t JOIN users u ON u.id = t.owner WHERE t.task_id IN ({marks})"  # noqa: S608  # marks only
            " AND u.name = ?",
            (*piece, owner),
        )
        found.update(row[0] for row in rows)
    return found


def select_by_ids(connection: sqlite3.Connection, owner: str, task_ids: Sequence[str]) -> list[TaskRecord]:
    """Return the owner's tasks among ``task_ids``, in that order."""
    found: dict[str, TaskRecord] = {}
    for marks, piece in chunks(task_ids):
        rows = connection.execute(
            f"SELECT {_COLUMNS} {_JOINED} WHERE u.name = ? AND t.task_id IN ({marks})",
            (owner, *piece),
        )
        found.update((row[1], _record(row)) for row in rows)
    return [found[task_id] for task_id in task_ids if task_id in found]


def select_call(connection: sqlite3.Connection, owner: str, task_id: str) -> TaskCall | None:
    """Return what the owner's task calls; the function is there even if it was deleted since."""
    row = connection.execute(
        "SELECT g.group_id, e.endpoint_id, e.name, f.function_id, f.sha256, f.format, f.name, f.body,"
        f" b.payload, b.object, b.size, t.options {_JOINED} JOIN bodies b ON b.task = t.id"
        " WHERE u.name = ? AND t.task_id = ?",
        (owner, task_id),
    ).fetchone()
    if row is None:
        return None
    group_id, endpoint_id, endpoint_name, *function = row[:8]
    payload, sha256, size, options = row[8:]
    reference = None if sha256 is None else ObjectRef(sha256, size)
    return TaskCall(
        *(task_id, group_id, endpoint_id, endpoint_name),
        *(FunctionBody(*function), payload, reference, options_of(options)),
    )


def select_keys(
    connection: sqlite3.Connection,
    owner: str,
    *,
    group_id: str | None,
    endpoint_id: str | None,
    states: Sequence[int] | None,
    limit: int,
    before: int | None,
    oldest: bool = False,
) -> list[int]:
    """Return the rows of the owner's newest tasks with key below ``before``, or of the oldest above it."""
    values: dict[str, Any] = {"owner": owner, "grp": group_id, "endpoint": endpoint_id, "before": before}
    more = "" if before is None else f" AND id {'>' if oldest else '<'} :before"
    if endpoint_id is not None:
        more += " AND endpoint = (SELECT id FROM endpoints WHERE endpoint_id = :endpoint)"
    user = "(SELECT id FROM users WHERE name = :owner)"
    if group_id is None:
        # Each state's tasks stand in order in the index; the parts are merged.
        parts = [f"owner = {user} AND state = {int(state)}" for state in states or range(len(STATES))]
    else:  # narrower than its owner
        more += "" if states is None else f" AND state IN ({','.join(str(int(state)) for state in states)})"
        parts = [f"grp = (SELECT id FROM task_groups WHERE owner = {user} AND group_id = :grp)"]  # noqa: S608  # constant words
    union = " UNION ALL ".join(f"SELECT id FROM tasks WHERE {part}{more}" for part in parts)  # noqa: S608  # numbers and constant words
    order = "" if oldest else " DESC"
    return [row[0] for row in connection.execute(f"{union} ORDER BY id{order} LIMIT {int(limit)}", values)]


def matching(connection: sqlite3.Connection, keys: Sequence[int], text: str) -> list[int]:
    """Return those rows whose label, function's name or id has ``text`` in it, in whatever case."""
    wanted, found = text.casefold(), set()
    for marks, piece in chunks([str(key) for key in keys]):
        rows = connection.execute(
            "SELECT t.id, t.task_id, f.name, t.options FROM tasks t JOIN functions f ON f.id = t.function"  # noqa: S608  # marks only
            f" WHERE t.id IN ({marks})",
            piece,
        )
        for key, task_id, name, blob in rows:
            options = options_of(blob)
            label = None if options is None else options.label
            if any(wanted in place.casefold() for place in (label or "", name, task_id)):
                found.add(key)
    return [key for key in keys if key in found]


def places(connection: sqlite3.Connection, keys: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Return the stored state and the endpoint's id of these rows."""
    found: dict[int, tuple[int, str]] = {}
    for marks, piece in chunks([str(key) for key in keys]):
        rows = connection.execute(
            "SELECT t.id, t.state, e.endpoint_id FROM tasks t JOIN endpoints e ON e.id = t.endpoint"  # noqa: S608  # marks only
            f" WHERE t.id IN ({marks})",
            piece,
        )
        found.update((key, (state, endpoint_id)) for key, state, endpoint_id in rows)
    return found


def select_by_keys(connection: sqlite3.Connection, keys: Sequence[int]) -> list[TaskRecord]:
    """Return the tasks of these rows, in that order."""
    found: dict[int, TaskRecord] = {}
    for marks, piece in chunks([str(key) for key in keys]):
        rows = connection.execute(f"SELECT {_COLUMNS} {_JOINED} WHERE t.id IN ({marks})", piece)
        found.update((row[0], _record(row)) for row in rows)
    return [found[key] for key in keys if key in found]


def live_by_owner(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Return how many live tasks each user has, and the bytes of their arguments."""
    rows = connection.execute(
        "SELECT u.name, count(*), sum(t.size) FROM users u JOIN tasks t"
        " ON t.owner = u.id AND t.state IN (0, 1, 2, 3, 4) GROUP BY u.id"
    )
    return {name: (n, size) for name, n, size in rows}


def _record(row: tuple[Any, ...]) -> TaskRecord:
    (key, task_id, group_id, owner, function_id, function_name, endpoint_id, endpoint_name, state) = row[:9]
    (options, tag, losses, events, execution, received, started, ended, outcome_seq, error, worker) = row[
        9:20
    ]
    (sha256, code, input_hash, reused) = row[20:]
    return TaskRecord(
        *(key, task_id, group_id, owner, function_id, function_name, endpoint_id, endpoint_name),
        *(STATES[state], "", options_of(options) or _NO_OPTIONS, tag, losses, events, execution),
        *(received, started, ended, outcome_seq),
        None if error is None else _decode_error(error),
        {} if worker is None else _decode_worker(worker),
        (code if isinstance(code, str) and _SHA256.fullmatch(code) else sha256)[:HASH_LENGTH],
        input_hash,
        None if reused is None else _decode_reused(reused),
    )
