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


def is_owned(connection: sqlite3.Connection, sha256: str, user: str) -> bool:
    """Whether ``user`` owns the object still."""
    return owned_size(connection, sha256, user) is not None


def unwanted(
    connection: sqlite3.Connection, after: int, before: float, limit: int
) -> tuple[list[str], int | None]:
    """Return objects that no task refers to, of those which came in before ``before`` (Unix seconds).

    Looks at ``limit`` entries behind number ``after`` and returns the number to go on from, None at the end.
    """
    rows = connection.execute(
        "SELECT o.id, o.sha256, EXISTS (SELECT 1 FROM bodies b WHERE b.object = o.sha256)"
        " OR EXISTS (SELECT 1 FROM results r WHERE r.object = o.sha256)"
        " FROM objects o WHERE o.id > ? AND o.created < ? ORDER BY o.id LIMIT ?",
        (after, before, limit),
    ).fetchall()
    return [sha256 for _, sha256, used in rows if not used], rows[-1][0] if len(rows) == limit else None


def delete_unwanted(connection: sqlite3.Connection, sha256s: list[str], before: float) -> list[str]:
    """Forget those of the objects that still no task refers to and nobody uploaded since; return them."""
    gone = []
    for sha256 in dict.fromkeys(sha256s):
        if connection.execute(
            "DELETE FROM objects WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM bodies WHERE object = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM results WHERE object = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM objects WHERE sha256 = ?1 AND created >= ?2)",
            (sha256, before),
        ).rowcount:
            gone.append(sha256)
    return gone
