"""An agent's spool whose writer commits when it is told to: the real identity, entries and writes."""

from __future__ import annotations

import itertools
import sqlite3
from collections import deque
from types import SimpleNamespace

from funcx_lab_endpoint import spool
from funcx_lab_endpoint.instructions import Save

_inodes = itertools.count(1)


class Directory:
    """Where an agent's spool lies; stands in for its path."""

    def __init__(self, number: int) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(spool._SCHEMA)
        self.parent = SimpleNamespace(stat=lambda: SimpleNamespace(st_ino=f"directory {number}"))
        self.inode = 0
        self.lose()

    def stat(self) -> SimpleNamespace:
        """Return the file's number."""
        return SimpleNamespace(st_ino=self.inode)

    def lose(self) -> None:
        """Delete the file; a new one takes its place."""
        self.connection.executescript("DELETE FROM meta; DELETE FROM entries")
        self.inode = next(_inodes)

    def copy(self, other: Directory) -> None:
        """Take a copy of another agent's file."""
        self.lose()
        for table in ("meta", "entries"):
            rows = other.connection.execute(f"SELECT * FROM {table}").fetchall()
            if rows:
                marks = ",".join("?" * len(rows[0]))
                self.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


class SteppedSpool(spool.Spool):
    """One life's spool."""

    def __init__(self, directory: Directory) -> None:
        self.is_copy, self.note, self.trouble, self.writes = False, "", "", 0
        self._path = directory  # type: ignore[assignment]  # what is asked of a path here, it answers
        self._connection, self._inode = directory.connection, directory.inode
        self._waiting: deque[Save] = deque()
        self.id = self._identify()

    def save(self, order: Save) -> None:
        """Put changes in line."""
        self._waiting.append(order)

    @property
    def waiting(self) -> int:
        """How many writes are not on disk."""
        return len(self._waiting)

    def commit(self, count: int) -> int:
        """Write the next ``count`` orders in one transaction; return the number of the last."""
        orders = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        if orders:
            self._commit(orders)
        return orders[-1].number if orders else 0
