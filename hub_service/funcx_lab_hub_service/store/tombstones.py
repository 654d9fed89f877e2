"""The ids of purged tasks: they stay known for a while, so that none of them ever runs again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

#: SQLite takes at most 999 parameters in its oldest builds; some statements take the piece twice.
_CHUNK = 400


def chunks(values: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield ``values`` in pieces that fit one statement, each with its question marks."""
    for start in range(0, len(values), _CHUNK):
        piece = values[start : start + _CHUNK]
        yield ",".join("?" * len(piece)), piece


def bury(connection: sqlite3.Connection, tasks: Iterable[tuple[str, int]], now: float) -> None:
    """Keep the ids ``(task_id, owner)`` of tasks that are purged at ``now`` (Unix seconds)."""
    connection.executemany(
        "INSERT OR IGNORE INTO tombstones (task_id, owner, purged) VALUES (?, ?, ?)",
        ((task_id, owner, now) for task_id, owner in tasks),
    )


def buried(connection: sqlite3.Connection, task_ids: Sequence[str]) -> dict[str, int]:
    """Return which of the ids were purged, and the number of the user whose task it was."""
    found: dict[str, int] = {}
    for marks, piece in chunks(task_ids):
        found.update(
            connection.execute(f"SELECT task_id, owner FROM tombstones WHERE task_id IN ({marks})", piece)  # noqa: S608  # marks only
        )
    return found


def is_buried(connection: sqlite3.Connection, task_id: str, owner: str) -> bool:
    """Whether a task of ``owner`` had the id and was purged."""
    return (
        connection.execute(
            "SELECT 1 FROM tombstones b JOIN users u ON u.id = b.owner WHERE b.task_id = ? AND u.name = ?",
            (task_id, owner),
        ).fetchone()
        is not None
    )


def forget(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Forget up to ``limit`` ids that were purged before ``before``, oldest first; return how many."""
    return connection.execute(
        "DELETE FROM tombstones WHERE id IN (SELECT id FROM"
        " (SELECT id, purged FROM tombstones ORDER BY id LIMIT ?) WHERE purged < ?)",
        (limit, before),
    ).rowcount
