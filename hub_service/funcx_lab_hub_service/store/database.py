"""One SQLite file, one writer thread, group commit.

Operations run first in, first out, each as it comes; whatever is there when the last one has run
shares its transaction. A lone operation commits at once, unless whoever queued it said that the commit
may wait a little for company. Nobody is told before the commit has returned.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from funcx_lab.crash_points import crash_point
from funcx_lab.errors import ConfigError, ServiceUnavailable, StorageFull, StoreDamaged
from funcx_lab_hub_service.store.backup import how_to_restore
from funcx_lab_hub_service.store.opening import Opened, open_reader, open_writer
from funcx_lab_hub_service.store.reserve import RETRY_AFTER_S, Reserve

log = logging.getLogger(__name__)

T = TypeVar("T")
#: Called on the loop after the commit, in commit order, with the operation's value or why it failed.
Done = Callable[[Any, BaseException | None], None]
_Entry = tuple[Callable[[sqlite3.Connection], Any], Done, float]
_Answer = tuple[Done, Any, BaseException | None]

#: So many operations at most share a transaction, and none joins one that has run for so many seconds.
_GROUP_LIMIT, _GROUP_S = 1000, 0.02
#: What SQLite says (Python 3.10 hands out no result code) when nothing written can be trusted any more.
_FATAL = ("disk I/O error", "malformed", "not a database")
_FULL = "is full"
#: A number is ``boot << 40 | counter``, so it never repeats and grows over the service's lives.
BOOT_SHIFT = 40


class NewWork:
    """An operation that takes something new in: a full disk refuses it, so that what ends tasks still fits.

    Parameters
    ----------
    operation : callable
        Gets the connection; runs in the writer thread.
    """

    def __init__(self, operation: Callable[[sqlite3.Connection], Any]) -> None:
        self._operation = operation

    def __call__(self, connection: sqlite3.Connection) -> Any:
        """Do it."""
        return self._operation(connection)


def stop_the_process(error: BaseException) -> None:
    """End at once with status 74 (EX_IOERR): acknowledging anything more could lose it."""
    log.critical("The database cannot be written safely any more, stopping: %s", error)
    os._exit(74)


class Database:
    """The hub service's store.

    Parameters
    ----------
    path : Path
        The SQLite file; made when absent, mode 0600.
    on_fatal : callable
        Called in the writer thread when writing cannot go on.
    reserve : Reserve, optional
        Room for outcomes on a full disk.
    """

    def __init__(
        self,
        path: Path,
        on_fatal: Callable[[BaseException], None] = stop_the_process,
        reserve: Reserve | None = None,
    ) -> None:
        self._path = path
        self._on_fatal = on_fatal
        self._reserve = reserve or Reserve(path.parent, 0)
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._inode = 0
        #: Number of this life of the service, on disk before it listens.
        self.boot = 0
        #: What is wrong with the file and what to do; ``""`` if nothing is. A damaged one is only read.
        self.damage = ""
        #: What people should know of the data all the same: that it is new, or older than the last.
        self.notice = ""

    @property
    def reader(self) -> sqlite3.Connection:
        """A read-only connection for the loop's thread; small indexed queries only."""
        assert self._reader is not None, "start() was not awaited"  # noqa: S101  # a mistake of ours, not of a user
        return self._reader

    async def start(self) -> None:
        """Open, migrate, count this boot and start the writer thread.

        Raises
        ------
        ConfigError
            If the file cannot be used, or a newer release wrote it.
        """
        self._loop = asyncio.get_running_loop()
        opened = await asyncio.to_thread(self._open)
        self._writer, self.boot, self.damage = opened.writer, opened.boot, opened.damage
        self.notice = opened.notice
        self._reader = open_reader(self._path, self.damage)
        self._inode = self._path.stat().st_ino
        if self._writer is not None:
            self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
            self._thread.start()

    def _open(self) -> Opened:
        try:
            opened = open_writer(self._path)
        except ConfigError:
            if not (self._reserve.is_needed() and self._reserve.give_up()):
                raise
            opened = open_writer(self._path)
        self._reserve.restore()
        return opened

    def submit(
        self, operation: Callable[[sqlite3.Connection], Any], done: Done, *, patience_s: float = 0.0
    ) -> None:
        """Queue ``operation`` for the writer thread; ``done`` runs on the loop after its commit.

        Parameters
        ----------
        operation : callable
            Gets the connection; runs in the writer thread.
        done : callable
            Gets the operation's value, or why it failed.
        patience_s : float
            Seconds that the commit may wait for others to share it. One impatient operation ends the wait.

        Raises
        ------
        StoreDamaged
            If the database is damaged.
        ServiceUnavailable
            If it is not open.
        """
        if self.damage:
            raise StoreDamaged(self.damage)
        if self._thread is None:
            raise ServiceUnavailable("The hub service is stopping; send this again in a moment.")
        self._queue.put((operation, done, patience_s))

    def write(self, operation: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue ``operation`` and return a future of its value, resolved after its commit."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(value: T, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self.submit(operation, done)
        return future

    def check_file(self) -> None:
        """Stop for good if the file was removed or replaced: what is written would go with this process."""
        try:
            found = self._path.stat().st_ino
        except FileNotFoundError:
            found = None
        except OSError:
            return
        if self._writer is not None and found != self._inode:
            what = "was removed" if found is None else "is another file than the one that was opened"
            self._on_fatal(ServiceUnavailable(f"{self._path} {what}. {how_to_restore(self._path)}"))

    async def close(self) -> None:
        """Commit what is queued and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    # --- the writer thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (entry := self._queue.get()) is not None and self._commit_group(entry):
                pass
        except BaseException as error:  # a dead writer must never look like a slow one
            self._on_fatal(error)

    def _commit_group(self, first: _Entry) -> bool:
        """Run one transaction and answer; False when the queue has come to its end."""
        begun: list[_Entry | None] = []
        try:
            answers = self._transact(self._company(first, begun))
        except sqlite3.Error as error:
            failed = [entry for entry in begun or [first] if entry is not None]
            answers = self._answer_failure(failed, self._judge(error))
        self._tell(answers)
        return not begun or begun[-1] is not None

    def _answer_failure(self, entries: list[_Entry], failure: BaseException) -> list[_Answer]:
        """Answer a group that was rolled back; on a full disk the reserve serves what takes nothing in."""
        due: list[_Entry] = []
        if isinstance(failure, StorageFull) and self._reserve.give_up():
            due = [entry for entry in entries if not isinstance(entry[0], NewWork)]
        answers: list[_Answer] = [(entry[1], None, failure) for entry in entries if entry not in due]
        if due:
            try:
                answers += self._transact(due)
            except sqlite3.Error as error:
                again = self._judge(error)
                answers += [(entry[1], None, again) for entry in due]
        return answers

    def _transact(self, entries: Iterable[_Entry]) -> list[_Answer]:
        connection = self._writer
        assert connection is not None  # noqa: S101  # the thread runs between start and close only
        connection.execute("BEGIN IMMEDIATE")
        try:
            answers = [_attempt(connection, *entry[:2]) for entry in entries]
            crash_point("hub.before_commit")
            connection.execute("COMMIT")
            crash_point("hub.after_commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return answers

    def _company(self, first: _Entry, begun: list[_Entry | None]) -> Iterator[_Entry]:
        """Yield what shares a transaction as it comes; all of it stands in ``begun``, the end as None."""
        entry: _Entry | None = first
        begin = time.monotonic()
        due = float("inf")
        while True:
            begun.append(entry)
            if entry is None:
                return
            yield entry
            now = time.monotonic()
            if len(begun) >= _GROUP_LIMIT or now - begin > max(entry[2], _GROUP_S):
                return
            due = min(due, now + entry[2]) if entry[2] else 0.0
            wait = max(0.0, due - now)
            try:
                entry = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
            except queue.Empty:
                return

    def _judge(self, error: sqlite3.Error) -> BaseException:
        """Return what the group's callers are told, or stop for good."""
        text = str(error)
        if any(word in text for word in _FATAL):
            raise error
        log.error("A group of writes was rolled back: %s", text)
        if _FULL in text:
            return StorageFull(details={"retry_after_s": RETRY_AFTER_S})
        return ServiceUnavailable(
            f"The database did not take this ({text}); nothing was accepted, try again."
        )

    def _tell(self, answers: list[_Answer]) -> None:
        assert self._loop is not None  # noqa: S101  # set by start
        try:
            self._loop.call_soon_threadsafe(_answer, answers)
        except RuntimeError:
            log.warning("%d committed writes had nobody left to tell: the loop is closed.", len(answers))


def _attempt(
    connection: sqlite3.Connection, operation: Callable[[sqlite3.Connection], Any], done: Done
) -> _Answer:
    """Run one operation; what it raises undoes it alone, a failing disk undoes the whole group."""
    connection.execute("SAVEPOINT operation")
    try:
        value, failure = operation(connection), None
    except Exception as error:
        if isinstance(error, sqlite3.Error) and _concerns_all(error):
            raise
        connection.execute("ROLLBACK TO operation")
        value, failure = None, error
    connection.execute("RELEASE operation")
    return done, value, failure


def _concerns_all(error: sqlite3.Error) -> bool:
    text = str(error)
    return _FULL in text or any(word in text for word in _FATAL)


def _answer(answers: list[_Answer]) -> None:
    for done, value, error in answers:
        try:
            done(value, error)
        except Exception:
            log.exception("What follows a commit failed")
