"""What is over: tasks past their time to live, tasks past their retention. Asked and done in small pieces."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from funcx_lab.crash_points import crash_point
from funcx_lab_hub_service.store.moves import FINAL, QUEUED
from funcx_lab_hub_service.store.tombstones import bury

#: What a purged task leaves behind, by table.
_PARTS = ("bodies", "results", "events", "losses")


def overdue(
    connection: sqlite3.Connection, now: float, ttl_s: float, limit: int
) -> Iterator[tuple[int, float]]:
    """Yield live tasks whose time to live is over: row and that time in seconds, ``limit`` at most.

    Parameters
    ----------
    ttl_s : float
        Of tasks that have none of their own; seconds after they were received.
    """
    own = connection.execute(
        "SELECT id, deadline - received FROM tasks"
        " WHERE deadline <= ? AND deadline IS NOT NULL AND outcome_seq IS NULL LIMIT ?",
        (now, limit),
    ).fetchall()
    yield from own
    left = limit - len(own)
    for endpoint, state in _queues(connection):
        for key, received, deadline in connection.execute(
            "SELECT id, received, deadline FROM tasks"
            " WHERE endpoint = ? AND state = ? AND outcome_seq IS NULL ORDER BY id",
            (endpoint, state),
        ):
            if left <= 0 or received > now - ttl_s:
                break  # those behind it were received later
            if deadline is None:
                left -= 1
                yield key, ttl_s


def _queues(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    endpoints = connection.execute("SELECT id FROM endpoints").fetchall()
    return [(endpoint, state) for (endpoint,) in endpoints for state in range(FINAL)]


def next_deadline(connection: sqlite3.Connection) -> float | None:
    """Return when the next live task's own time to live is over (Unix seconds)."""
    row = connection.execute(
        "SELECT deadline FROM tasks WHERE deadline IS NOT NULL AND outcome_seq IS NULL"
        " ORDER BY deadline LIMIT 1"
    ).fetchone()
    return None if row is None else float(row[0])


def purge(
    connection: sqlite3.Connection, after: int, before: float, now: float, limit: int
) -> tuple[dict[str, list[str]], int | None]:
    """Purge tasks that ended before ``before`` (Unix seconds); their ids stay as tombstones.

    Looks at ``limit`` rows behind row ``after``.

    Returns
    -------
    purged, next : dict, int or None
        The tasks that were purged, by their owner, and the row to go on from; None at the end.
    """
    rows = connection.execute(
        "SELECT id, task_id, owner, grp, closed, received FROM tasks WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    ).fetchall()
    over = [row for row in rows if row[4] is not None and row[4] < before]
    keys = [(row[0],) for row in over]
    bury(connection, ((task_id, owner) for _, task_id, owner, *_ in over), now)
    crash_point("hub.purging")
    for table in _PARTS:
        connection.executemany(f"DELETE FROM {table} WHERE task = ?", keys)  # noqa: S608  # constant names
    connection.executemany("DELETE FROM tasks WHERE id = ?", keys)
    connection.executemany(
        "DELETE FROM task_groups WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM tasks WHERE grp = ?1)",
        {(row[3],) for row in over},
    )
    # Nothing behind a task that came in after `before` can have ended before it.
    at_end = len(rows) < limit or rows[-1][5] >= before
    names: dict[int, str] = dict(connection.execute("SELECT id, name FROM users")) if over else {}
    purged: dict[str, list[str]] = {}
    for _, task_id, owner, *_ in over:
        purged.setdefault(names[owner], []).append(task_id)
    return purged, None if at_end else rows[-1][0]


def forget_sessions(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Forget up to ``limit`` sessions granted before ``before`` that no lease is from; return how many."""
    used = {
        row[0]
        for endpoint, state in _queues(connection)
        for row in connection.execute(
            "SELECT DISTINCT session FROM tasks"
            " WHERE endpoint = ? AND state = ? AND outcome_seq IS NULL AND state != ?",
            (endpoint, state, QUEUED),
        )
    }
    rows = connection.execute(
        "SELECT id FROM sessions WHERE started < ? ORDER BY id LIMIT ?", (before, limit + len(used))
    )
    old = [row for row in rows if row[0] not in used][:limit]
    connection.executemany("DELETE FROM sessions WHERE id = ?", old)
    return len(old)


def last_signs(connection: sqlite3.Connection) -> list[float]:
    """Return the wall times (Unix seconds) of the newest task and the newest session, as far as there are."""
    rows = (
        connection.execute("SELECT max(received, coalesce(closed, 0)) FROM tasks ORDER BY id DESC LIMIT 1"),
        connection.execute("SELECT started FROM sessions ORDER BY id DESC LIMIT 1"),
    )
    return [row[0] for cursor in rows if (row := cursor.fetchone()) is not None]


def is_clock_doubted(connection: sqlite3.Connection) -> bool:
    """Whether the wall clock was not believed when this was last noted."""
    return connection.execute("SELECT 1 FROM meta WHERE key = 'clock_doubted'").fetchone() is not None


def note_doubt(connection: sqlite3.Connection, doubted: bool) -> None:
    """Note whether the wall clock is believed, for the next life of the service."""
    if doubted:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('clock_doubted', 1)")
    else:
        connection.execute("DELETE FROM meta WHERE key = 'clock_doubted'")
