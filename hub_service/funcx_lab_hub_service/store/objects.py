"""Which objects there are, who owns them and which tasks refer to them; the bytes are files."""

from __future__ import annotations

import sqlite3


def insert(connection: sqlite3.Connection, *, sha256: str, size: int, user: str, now: float) -> None:
    """Note an object whose file is in place, or one more owner of it."""
    connection.execute(
        "INSERT INTO objects (sha256, size, user, created) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (sha256, user) DO NOTHING",
        (sha256, size, user, now),
    )


def owned_size(connection: sqlite3.Connection, sha256: str, user: str) -> int | None:
    """Return the bytes of an object that ``user`` owns."""
    row = connection.execute(
        "SELECT size FROM objects WHERE sha256 = ? AND user = ?", (sha256, user)
    ).fetchone()
    return None if row is None else int(row[0])


def result_size(connection: sqlite3.Connection, sha256: str, user: str) -> int | None:
    """Return the bytes of an object that is the result of one of the user's tasks.

    Only what the endpoint's side uploaded itself counts: an agent that names a digest has not shown that
    it knows the bytes.
    """
    row = connection.execute(
        "SELECT o.size FROM results r JOIN tasks t ON t.id = r.task JOIN users u ON u.id = t.owner "
        "JOIN endpoints e ON e.id = t.endpoint JOIN users eu ON eu.id = e.owner "
        "JOIN objects o ON o.sha256 = r.object AND o.user = eu.name "
        "WHERE r.object = ? AND u.name = ? LIMIT 1",
        (sha256, user),
    ).fetchone()
    return None if row is None else int(row[0])


def endpoint_size(connection: sqlite3.Connection, sha256: str, endpoint_id: str) -> int | None:
    """Return the bytes of an object that a task on the endpoint takes, or that its side has made."""
    for table, uploader in (("bodies", "t.owner"), ("results", "e.owner")):
        row = connection.execute(
            f"SELECT o.size FROM {table} b JOIN tasks t ON t.id = b.task "  # noqa: S608  # constant names
            f"JOIN endpoints e ON e.id = t.endpoint JOIN users u ON u.id = {uploader} "
            "JOIN objects o ON o.sha256 = b.object AND o.user = u.name "
            "WHERE b.object = ? AND e.endpoint_id = ? LIMIT 1",
            (sha256, endpoint_id),
        ).fetchone()
        if row is not None:
            return int(row[0])
    return None
