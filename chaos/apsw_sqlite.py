"""As much of the standard library's ``sqlite3`` as the hub service's store uses, on apsw.

apsw lets a file system be written in Python; the standard library does not. The store's own code runs
unchanged on this: it opens, migrates, begins, commits and reads through it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apsw

_Values = Any


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise what the standard library would raise."""
    try:
        yield
    except apsw.ConstraintError as error:
        raise sqlite3.IntegrityError(str(error)) from error
    except apsw.Error as error:
        raise sqlite3.OperationalError(str(error)) from error


class Cursor:
    """The cursor of one statement."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._cursor = connection.apsw.cursor()
        self._cursor.exec_trace = self._describe
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self.rowcount = -1
        self.description: Any = None

    def execute(self, sql: str, values: _Values = ()) -> Cursor:
        return self._run(lambda: self._cursor.execute(self.connection.rewritten(sql), values))

    def executemany(self, sql: str, values: Iterable[_Values]) -> Cursor:
        return self._run(lambda: self._cursor.executemany(sql, values))

    def _run(self, start: Callable[[], Iterable[tuple[Any, ...]]]) -> Cursor:
        with self.connection.lock, _translated():
            before = self.connection.apsw.total_changes()
            # All at once: a statement with rows left would keep a savepoint from being released.
            self._rows = iter(list(start()))
            self.rowcount = self.connection.apsw.total_changes() - before
        return self

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def close(self) -> None:
        self._cursor.close()

    @property
    def lastrowid(self) -> int:
        return self.connection.apsw.last_insert_rowid()

    def _describe(self, cursor: apsw.Cursor, _sql: str, _values: object) -> bool:
        # Here, since a statement that has given all of its rows has no description any more.
        self.description = [(column[0], *(None,) * 6) for column in cursor.get_description()] or None
        return True


class Connection:
    """A connection on a recording file system.

    Parameters
    ----------
    connection : apsw.Connection
        What it stands on.
    synchronous : str
        Takes the place of FULL, to see what that is good for.
    """

    def __init__(
        self, connection: apsw.Connection, synchronous: str = "FULL", lock: threading.RLock | None = None
    ) -> None:
        self.apsw = connection
        #: writer and reader share a connection, which serves one thread at a time
        self.lock = lock or threading.RLock()
        self._synchronous = synchronous

    def rewritten(self, sql: str) -> str:
        """Return ``sql``, with another degree of care if that was asked for."""
        return sql.replace("FULL", self._synchronous) if sql.startswith("PRAGMA synchronous") else sql

    def cursor(self) -> Cursor:
        return Cursor(self)

    def execute(self, sql: str, values: _Values = ()) -> Cursor:
        return self.cursor().execute(sql, values)

    def executemany(self, sql: str, values: Iterable[_Values]) -> Cursor:
        return self.cursor().executemany(sql, values)

    @property
    def in_transaction(self) -> bool:
        return self.apsw.in_transaction

    @property
    def total_changes(self) -> int:
        return self.apsw.total_changes()

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        self.apsw.close()


class Reader(Connection):
    """A second view of a writer's connection.

    Without shared memory, which apsw's file systems do not have, a write-ahead log has one connection.
    """

    def rewritten(self, sql: str) -> str:
        return "SELECT 1" if sql.startswith("PRAGMA query_only") else sql

    def close(self) -> None:
        pass


class Sqlite:
    """Stands in for the module ``sqlite3`` inside the store's module.

    Parameters
    ----------
    vfs : str
        Name of the file system to use.
    synchronous : str
        As in `Connection`.
    """

    def __init__(self, vfs: str, synchronous: str) -> None:
        self._vfs, self._synchronous = vfs, synchronous
        self._writer: Connection | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, path: Any, *, uri: bool = False, **_others: Any) -> Connection:
        """Open a writer; a read-only URI gives another view of the writer that is open."""
        if uri and self._writer is not None:
            return Reader(self._writer.apsw, lock=self._writer.lock)
        connection = apsw.Connection(str(path), vfs=self._vfs)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._writer = Connection(connection, self._synchronous)
        return self._writer
