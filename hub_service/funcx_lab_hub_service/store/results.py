"""Outcomes read back from the database."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from funcx_lab.protocol.messages import ErrorInfo, ObjectRef
from funcx_lab.protocol.stream import OutcomeItem
from funcx_lab_hub_service.store.records import STATES

_COLUMNS = """t.outcome_seq, t.task_id, t.state, r.payload, r.object, r.size, t.error, e.endpoint_id,
    e.owner = t.owner, t.received, t.started, t.ended"""
_JOINED = """FROM tasks t JOIN users u ON u.id = t.owner JOIN endpoints e ON e.id = t.endpoint
    LEFT JOIN results r ON r.task = t.id"""
_decode_error = msgspec.msgpack.Decoder(ErrorInfo).decode


def select_one(connection: sqlite3.Connection, owner: str, task_id: str) -> OutcomeItem | None:
    """Return the outcome of the owner's task if it has ended."""
    row = connection.execute(
        f"SELECT {_COLUMNS} {_JOINED} WHERE t.task_id = ? AND u.name = ? AND t.outcome_seq IS NOT NULL",
        (task_id, owner),
    ).fetchone()
    return None if row is None else _item(row)


def select_group(
    connection: sqlite3.Connection, owner: str, group_id: str, cursor: int, limit: int
) -> list[OutcomeItem]:
    """Return the group's outcomes behind ``cursor`` in commit order."""
    group = connection.execute(
        "SELECT g.id FROM task_groups g JOIN users u ON u.id = g.owner WHERE u.name = ? AND g.group_id = ?",
        (owner, group_id),
    ).fetchone()
    if group is None:
        return []
    rows = connection.execute(
        f"SELECT {_COLUMNS} {_JOINED} WHERE t.grp = ? AND t.outcome_seq > ? ORDER BY t.outcome_seq LIMIT ?",
        (group[0], cursor, limit),
    )
    return [_item(row) for row in rows]


def _item(row: tuple[Any, ...]) -> OutcomeItem:
    cursor, task_id, state, payload, sha256, size, error, endpoint_id, owned, received, started, ended = row
    return OutcomeItem(
        *(cursor, task_id, str(STATES[state]), payload or b""),
        None if sha256 is None else ObjectRef(sha256, size),
        None if error is None else _decode_error(error),
        endpoint_id,
        bool(owned),
        (received, started or 0.0, ended or 0.0),
    )
