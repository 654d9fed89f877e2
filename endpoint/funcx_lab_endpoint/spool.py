"""The agent's memory on disk: one SQLite file that one thread writes, many changes to a commit.

Losing it loses no task: whatever is not here is asked for again. What must not happen is that an old copy
passes for the present state, so the file knows its own identity, and what is not in order goes aside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import shutil
import sqlite3
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from funcx_lab.crash_points import crash_point
from funcx_lab.errors import ConfigError
from funcx_lab_endpoint.changes import Change
from funcx_lab_endpoint.instructions import Save
from funcx_lab_endpoint.spool_records import KEPT_BY_COPIES

log = logging.getLogger(__name__)

#: Written into the file; an older agent leaves a newer file alone.
VERSION = 1
#: Nothing is accepted above this part of the limit, or of what the disk can give; the rest is for results.
OPEN_PART = 0.9
FREE_FLOOR = 4 * 1024 * 1024
#: Seconds between looks at the file and the disk when nothing is written, and after a failed write.
LOOK_S, RETRY_S = 5.0, 1.0
#: Seconds that another program may hold the file.
BUSY_S = 5.0
#: So many damaged files are kept.
_ASIDE_LIMIT = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    kind TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
);
"""


class Spool:
    """The spool of one endpoint.

    Parameters
    ----------
    path : Path
        The file; made when absent, mode 0600.
    limit : int
        Bytes that it may take.
    wake : callable
        Called from the writing thread when a fact or a change of `trouble` is there.

    Attributes
    ----------
    id : str
        Identity of what it holds.
    is_copy : bool
        The file was copied from another place: its tasks are not ours to run.
    note : str
        What was wrong with the file that was found, in words; nothing if all was well.
    trouble : str
        Why nothing more should be accepted; nothing if all is well.

    Raises
    ------
    ConfigError
        If no file can be used there, or a newer agent wrote it.
    """

    def __init__(self, path: Path, limit: int, wake: Callable[[], None] = lambda: None) -> None:
        self.is_copy = False
        self.note = self.trouble = ""
        self.writes = self.used = 0
        self._path = path
        self._limit = limit
        self.wake = wake
        self._orders: queue.SimpleQueue[Save | None] = queue.SimpleQueue()
        self._facts: deque[int | None] = deque()
        self._failure: BaseException | None = None
        self._inode = 0
        self._connection = sqlite3.connect(":memory:")  # until the file is open
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        try:
            self.id = self._open_or_replace()
        except (OSError, sqlite3.Error) as err:
            raise ConfigError(
                f"{path} cannot be used as the endpoint's spool: {err}. Free space, mend its permissions, "
                "or move the file away."
            ) from err
        self._measure()

    # --- opening ------------------------------------------------------------------------------------

    def _open_or_replace(self) -> str:
        try:
            return self._open()
        except sqlite3.DatabaseError as err:
            if isinstance(err, sqlite3.OperationalError) and "malformed" not in str(err):
                raise  # locked, not writable, full: nothing wrong with what it holds
            self.set_aside(str(err))
            return self.id

    def _open(self) -> str:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_S
        )
        try:
            return self._check(connection)
        except BaseException:
            connection.close()
            raise

    def _check(self, connection: sqlite3.Connection) -> str:
        # Exclusive: no shared memory, so a home on a network file system will do.
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise ConfigError(
                f"{self._path} was written by a newer funcx-lab; upgrade this one, or move the file away "
                "and let the hub service send its tasks again."
            )
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        self._connection.close()
        self._connection = connection
        self._inode = self._path.stat().st_ino
        return self._identify()

    def _identify(self) -> str:
        """Return the spool's id: a new one if the file is new or a copy."""
        meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        place = f"{self._inode}:{self._path.parent.stat().st_ino}"
        if meta.get("place") == place:
            return str(meta["id"])
        self.is_copy = bool(meta)
        new = secrets.token_hex(8)
        with self._transaction():
            if self.is_copy:
                self.note = "the spool was copied from another place: its results are kept, its tasks not run"
                log.warning("%s: %s", self._path, self.note)
                self._connection.execute("DELETE FROM entries WHERE kind NOT IN (?, ?)", KEPT_BY_COPIES)
            self._connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("place", place), ("id", new)]
            )
        return new

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def entries(self) -> list[Change]:
        """Return all that the file holds; a damaged one is set aside, and there is nothing."""
        found = []
        rows = self._connection.execute("SELECT kind, name, data, crc FROM entries")
        for kind, name, data, crc in rows:
            if zlib.crc32(data) != crc:
                self.set_aside(f"the entry of {kind} {name} is damaged")
                return []
            found.append(Change(kind, name, data))
        return found

    def set_aside(self, reason: str) -> None:
        """Keep the damaged file under another name and begin a new one with a new identity."""
        self._connection.close()
        stamp = time.time_ns() // 1_000_000
        aside = self._path.with_name(f"{self._path.stem}.damaged-{stamp}{self._path.suffix}")
        for end in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self._path}{end}", f"{aside}{end}")
        self.note = f"the spool was damaged ({reason}); it is kept as {aside.name}, and a new one was begun"
        log.error("%s: %s", self._path, self.note)
        for old in sorted(self._path.parent.glob(f"{self._path.stem}.damaged-*.db"))[:-_ASIDE_LIMIT]:
            for end in ("-wal", "-shm", ""):
                Path(f"{old}{end}").unlink(missing_ok=True)
        self.is_copy = False
        self.id = self._open()

    # --- for the agent's loop -----------------------------------------------------------------------

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def save(self, order: Save) -> None:
        """Write changes; `facts` tells when they are on disk."""
        self._orders.put(order)

    def facts(self) -> Iterator[int | None]:
        """Yield the numbers of the writes that are on disk; None when the file was made anew and is empty.

        Raises
        ------
        Exception
            Whatever ended the writing thread: an agent without it must not go on.
        """
        if self._failure is not None:
            raise self._failure
        while self._facts:
            yield self._facts.popleft()

    def close(self, timeout: float) -> bool:
        """Write what is left and close the file; False if that took too long."""
        if self._thread.is_alive():
            self._orders.put(None)
            self._thread.join(timeout)
            if self._thread.is_alive():
                log.error("%s: the last changes could not be written: %s", self._path, self.trouble)
                return False
        self._connection.close()
        return True

    # --- the writing thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            orders: list[Save] = []
            is_last = False
            while not is_last or orders:
                is_last |= self._gather(orders)
                if self._write(orders):
                    orders = []
                elif is_last:
                    return
        except BaseException as err:  # told where it ends the process
            self._failure = err
            self.wake()

    def _gather(self, orders: list[Save]) -> bool:
        """Add what there is to ``orders``; True if it is the last."""
        timeout = RETRY_S if orders else LOOK_S
        with contextlib.suppress(queue.Empty):
            order = self._orders.get(timeout=timeout)
            while order is not None:
                orders.append(order)
                order = self._orders.get_nowait()
            return True
        return False

    def _write(self, orders: Sequence[Save]) -> bool:
        """Write ``orders`` in one transaction; False if that has to be tried again."""
        try:
            if not self._is_there():
                self._begin_anew("it was deleted")
            if orders:
                self._commit(orders)
                self._facts.append(orders[-1].number)
                self.wake()
            self._measure()
        except (OSError, sqlite3.Error) as err:
            self._fail(err)
            return False
        return True

    def _commit(self, orders: Sequence[Save]) -> None:
        with self._transaction():
            for order in orders:
                if order.whole:
                    self._connection.execute("DELETE FROM entries")
                    self._connection.execute("UPDATE meta SET value = ? WHERE key = 'id'", (order.whole,))
                for kind, name, data in order.changes:
                    if data is None:
                        self._connection.execute(
                            "DELETE FROM entries WHERE kind = ? AND name = ?", (kind, name)
                        )
                    else:
                        self._connection.execute(
                            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)",
                            (kind, name, data, zlib.crc32(data)),
                        )
            crash_point("agent.before_spool_commit")
        crash_point("agent.after_spool_commit")
        self.writes += 1

    def _is_there(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _begin_anew(self, reason: str) -> None:
        """Begin a new file beside a living agent, who has all of it in memory."""
        self._connection.close()
        for end in ("-wal", "-shm"):
            Path(f"{self._path}{end}").unlink(missing_ok=True)
        log.error("%s: %s; written anew", self._path, reason)
        self._open()
        self.note = f"the spool was written anew at {time.strftime('%F %T')}: {reason}"
        self._facts.append(None)
        self.wake()

    def _fail(self, error: Exception) -> None:
        text = str(error)
        self._say(f"the spool cannot be written: {text}")
        is_passing = isinstance(error, (OSError, sqlite3.OperationalError))
        if not is_passing or "malformed" in text or "disk I/O" in text:
            with contextlib.suppress(OSError, sqlite3.Error):
                self.set_aside(text)
                self._facts.append(None)
                self.wake()

    def _measure(self) -> None:
        """See whether there is room for more tasks."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._connection.execute("PRAGMA page_size").fetchone()
        self.used = (pages - free) * size
        room = shutil.disk_usage(self._path.parent).free
        limit = OPEN_PART * min(self._limit, self.used + room)
        if self.used > limit:
            self._say(f"the endpoint's spool is full: {self.used // 1_000_000} MB wait for the hub service")
        elif room < FREE_FLOOR:
            self._say(f"the endpoint's disk is full: {room // 1_000_000} MB are free at {self._path.parent}")
        else:
            self._say("")

    def _say(self, trouble: str) -> None:
        if trouble and not self.trouble:
            log.error("%s: %s; no more tasks are accepted until that is over", self._path, trouble)
        is_new, self.trouble = trouble != self.trouble, trouble
        if is_new:
            self.wake()
