"""Every move of a task from state to state: one conditional update each, in the writer's transaction.

The conditions name what the decision was made on (state, lease, session), so a move that came too late
changes nothing. An ended task has an ``outcome_seq`` and no move leads out of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.store.records import CODES

RECEIVED = CODES[TaskState.RECEIVED]
QUEUED = CODES[TaskState.WAITING_FOR_EP]
LEASED = CODES[TaskState.WAITING_FOR_LAUNCH]
RUNNING = CODES[TaskState.RUNNING]
#: States from this number on are final.
FINAL = CODES[TaskState.SUCCESS]


@dataclass(frozen=True, slots=True)
class Out:
    """A live task as it was when a decision was made: its row, state, lease and session."""

    key: int
    state: int
    tag: int | None
    session: int | None


def lease(connection: sqlite3.Connection, leases: Iterable[tuple[int, int, int]]) -> None:
    """Lease queued tasks: ``(tag, session, key)`` each."""
    connection.executemany(
        f"UPDATE tasks SET state = {LEASED}, tag = ?, session = ?"  # noqa: S608  # constant numbers
        f" WHERE id = ? AND state = {QUEUED} AND outcome_seq IS NULL",
        leases,
    )


def keep(connection: sqlite3.Connection, session: int, kept: Iterable[Out]) -> None:
    """Take leases over into a new session."""
    connection.executemany(
        "UPDATE tasks SET session = ? WHERE id = ? AND tag = ? AND session = ? AND outcome_seq IS NULL",
        ((session, out.key, out.tag, out.session) for out in kept),
    )


def start(
    connection: sqlite3.Connection, key: int, tag: int, *, started: float, execution: str, worker: bytes
) -> bool:
    """Mark a leased task as running; whether it was out under that lease."""
    return bool(
        connection.execute(
            f"UPDATE tasks SET state = {RUNNING}, started = ?, execution = ?, worker = ?, events = events + 1"  # noqa: S608  # constant number
            " WHERE id = ? AND tag = ? AND outcome_seq IS NULL",
            (started, execution, worker, key, tag),
        ).rowcount
    )


def requeue(connection: sqlite3.Connection, back: Iterable[Out]) -> None:
    """Put tasks back into their endpoint's queue."""
    connection.executemany(
        f"UPDATE tasks SET state = {QUEUED}, tag = NULL, session = NULL, started = NULL"  # noqa: S608  # constant number
        " WHERE id = ? AND state = ? AND tag IS ? AND session IS ? AND outcome_seq IS NULL",
        ((out.key, out.state, out.tag, out.session) for out in back),
    )


def end(connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """End live tasks, each for good.

    ``rows``: state, started, ended, closed, outcome_seq, events, execution, losses, error, worker, key.

    Raises
    ------
    sqlite3.IntegrityError
        If one has ended already; nothing of the operation stands then.
    """
    changed = connection.executemany(
        "UPDATE tasks SET state = ?, started = ?, ended = ?, closed = ?, outcome_seq = ?, events = ?,"
        " execution = ?, losses = ?, error = ?, worker = coalesce(?, worker)"
        " WHERE id = ? AND outcome_seq IS NULL",
        rows,
    ).rowcount
    if changed != len(rows):
        raise sqlite3.IntegrityError(f"{len(rows) - changed} of {len(rows)} tasks had ended already")
