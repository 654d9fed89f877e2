"""With whom endpoints and functions are shared, in the database."""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple

Thing = Literal["endpoint", "function"]
Holder = Literal["user", "group"]


class Share(NamedTuple):
    """One user or one group that may use a thing of somebody else's."""

    holder: Holder
    name: str

    def __str__(self) -> str:
        return f"{self.holder}:{self.name}"


def select(connection: sqlite3.Connection) -> list[tuple[Thing, int, Share]]:
    """Return every share: what kind of thing, its key, with whom."""
    rows = connection.execute("SELECT thing, key, holder, name FROM shares")
    return [(thing, key, Share(holder, name)) for thing, key, holder, name in rows]


def add(connection: sqlite3.Connection, thing: Thing, key: int, share: Share, now: float) -> None:
    """Store a share; one that is there stays as it is."""
    connection.execute(
        "INSERT INTO shares VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", (thing, key, *share, now)
    )


def remove(connection: sqlite3.Connection, thing: Thing, key: int, share: Share) -> None:
    """Forget a share."""
    connection.execute(
        "DELETE FROM shares WHERE thing = ? AND key = ? AND holder = ? AND name = ?", (thing, key, *share)
    )


def remove_all(connection: sqlite3.Connection, thing: Thing, key: int) -> None:
    """Forget all shares of a thing."""
    connection.execute("DELETE FROM shares WHERE thing = ? AND key = ?", (thing, key))
