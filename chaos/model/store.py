"""The hub service's store, whose writer commits when it is told to, and a database used again and again."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.model.loop import Clock, SteppedLoop
from chaos.model.spool import Directory
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.functions import Functions
from funcx_lab_hub_service.store.database import Database
from funcx_lab_hub_service.store.schema import migrate

OWNER, ENDPOINT, KEY = Principal("owner"), "box", "k" * 40
BODY = b"body"


class SteppedDatabase(Database):
    """One life of the store: the real group commit, called by hand."""

    def __init__(self, connection: sqlite3.Connection, boot: int, loop: SteppedLoop) -> None:
        super().__init__(Path("model.db"), self._fatal)
        self._writer = self._reader = connection
        self._thread = threading.current_thread()  # which means that it is open
        self._loop = loop
        self.boot = boot
        #: commits whose callers do not know yet
        self._untold: deque[Any] = deque()
        self.holds_back = False

    def submit(
        self, operation: Callable[[sqlite3.Connection], Any], done: Any, *, patience_s: float = 0
    ) -> None:
        """Queue an operation; no commit waits for company here."""
        super().submit(operation, done)

    @property
    def waiting(self) -> int:
        """How many operations are not committed."""
        return self._queue.qsize()

    def commit(self, count: int, *, full: bool = False) -> None:
        """Commit the next ``count`` operations in one transaction; ``full``: the disk has no room for it."""
        waiting, self._queue = self._queue, queue.SimpleQueue()
        for _ in range(min(count, waiting.qsize())):
            self._queue.put(waiting.get())
        if full:
            self._queue.put((_no_room, lambda _value, _error: None, 0.0))
        while not self._queue.empty():
            self._commit_group(self._queue.get())
        self._queue = waiting

    def tell(self) -> None:
        """Tell the callers of what was committed."""
        while self._untold:
            super()._tell(self._untold.popleft())

    def _tell(self, answers: Any) -> None:
        self._untold.append(answers)
        if not self.holds_back:
            self.tell()

    def crash(self, count: int) -> None:
        """Commit so many operations more, and tell nobody."""
        self.holds_back = True
        self.commit(count)
        self._thread = None

    def _fatal(self, error: BaseException) -> None:
        raise error


def _no_room(_connection: sqlite3.Connection) -> None:
    raise sqlite3.OperationalError("database or disk is full")


class Disk:
    """One database in memory with an endpoint and a function, put back to that state for each history."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        migrate(self.connection)
        self.endpoint_id, self.function_id = self._furnish()
        #: where the two agents keep their spools
        self.directories = [Directory(0), Directory(1)]
        names = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        self._tables = {
            name: self.connection.execute(f"SELECT * FROM {name}").fetchall()
            for (name,) in names
            if not name.startswith("sqlite_")
        }

    def _furnish(self) -> tuple[str, str]:
        loop = SteppedLoop(Clock())
        loop.enter()
        try:
            database = SteppedDatabase(self.connection, 0, loop)
            endpoints = Endpoints(database)
            endpoint_id, token = _finish(loop, database, endpoints.register(OWNER, ENDPOINT))
            _finish(loop, database, endpoints.enrol(endpoint_id, token, KEY))
            functions = Functions(database)
            return endpoint_id, _finish(loop, database, functions.register(OWNER, "f", BODY, "globus"))
        finally:
            loop.leave()

    def reset(self) -> None:
        """Put every table back."""
        execute = self.connection.execute
        if self.connection.in_transaction:
            execute("ROLLBACK")
        execute("BEGIN")
        for name, rows in self._tables.items():
            execute(f"DELETE FROM {name}")
            if rows:
                marks = ",".join("?" * len(rows[0]))
                self.connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        execute("COMMIT")

    def next_boot(self) -> int:
        """Count a life of the service."""
        self.connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'boot'")
        return int(self.connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()[0])


def _finish(loop: SteppedLoop, database: SteppedDatabase, coroutine: Any) -> Any:
    task = loop.create_task(coroutine)
    while not task.done():
        loop.run()
        database.commit(database.waiting)
    return task.result()
