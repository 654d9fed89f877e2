"""Users in the database."""

from __future__ import annotations

import sqlite3


def user_key(connection: sqlite3.Connection, name: str) -> int:
    """Return the number of a user, a new one for a new user."""
    row = connection.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO users (name) VALUES (?) RETURNING id", (name,)).fetchone()
    return int(row[0])


def count_late(connection: sqlite3.Connection, owner: int) -> None:
    """Count an outcome that came after its task had ended."""
    connection.execute("UPDATE users SET late = late + 1 WHERE id = ?", (owner,))


def late_outcomes(connection: sqlite3.Connection, name: str) -> int:
    """Return how many outcomes came after the user's tasks had ended; none of them was ever shown."""
    row = connection.execute("SELECT late FROM users WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])
