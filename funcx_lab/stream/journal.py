"""The journal: what was submitted and not yet acknowledged, on disk, so that a killed process loses nothing.

``$FUNCX_LAB_HOME/journal/<service>/<process>.log`` belongs to one stream, which holds a lock on it for
life. It is written before a task is sent and synced within a second: it survives a kill of the process,
and a power cut but for the last second. Whoever finds a journal that nobody holds hands its tasks over
under the ids they have. A journal that cannot be written is done without, after one warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from funcx_lab.config import Service, home
from funcx_lab.errors import ConfigError
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.stream import NewTask
from funcx_lab.stream.record_file import RecordFile
from funcx_lab.stream.submit_queue import Route

logger = logging.getLogger(__name__)

#: What was not handed over for so long (seconds, by the wall clock) is forgotten: nobody waits for it.
KEEP_S = 14 * 24 * 3600.0
#: Seconds after which something unacknowledged is synced, and a file without such is emptied.
SYNC_S = 0.5
#: A file larger than this (bytes) is left for a new one.
REWRITE_BYTES = 32 * 1024 * 1024
_TASKS_A_RECORD = 256


class Entry(NamedTuple):
    """One task of a journal."""

    #: Unix seconds
    submitted: float
    route: Route
    task: NewTask


class _Added(msgspec.Struct, frozen=True, array_like=True, tag=True):
    submitted: float
    endpoint: str
    function_id: str
    group_id: str
    options: TaskOptions | None
    tasks: list[NewTask]


class _Settled(msgspec.Struct, frozen=True, array_like=True, tag=True):
    task_ids: list[str]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Added | _Settled).decode


def journal_directory(service: Service) -> Path | None:
    """Return where the journals for a service and a token are, or None if they can be nowhere.

    A JupyterHub's tokens share those of their user: the server that is spawned next goes on with them.
    """
    host = "local"
    if not service.embedded:
        who = f"user {service.user}" if service.user else service.token
        secret = hashlib.sha256(f"{service.url}\n{who}".encode()).hexdigest()[:16]
        host = f"{urlsplit(service.url).hostname or ''}-{secret}"
    try:
        parent = home() / "journal"
        parent.mkdir(mode=0o700, exist_ok=True)
        return parent / re.sub(r"[^a-z0-9.-]", "_", host)
    except (ConfigError, OSError) as err:
        logger.warning("Tasks go without a journal: %s", err)
        return None


class Journal:
    """The journal of one stream; used by one thread.

    Parameters
    ----------
    directory : Path or None
        The service's journals; created when first needed. None: keep no journal.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._file: RecordFile | None = None
        self._open: set[str] = set()
        # Written seldom, and not at all if the file is emptied: what is handed over twice is one task.
        self._settled: list[str] = []
        self._touched: float | None = None
        self._size_at_first = 0

    def add(self, tasks: Sequence[tuple[Route, NewTask]]) -> None:
        """Keep tasks that were submitted now."""
        if self._file is not None and self._file.size > REWRITE_BYTES + 2 * self._size_at_first:
            self._rewrite(self._file)
        self._write(time.time(), tasks)

    def settle(self, tasks: Iterable[NewTask]) -> None:
        """Forget tasks; the file is emptied soon after no task is left."""
        if self._directory is not None:
            settled = [task.task_id for task in tasks]
            self._open.difference_update(settled)
            self._settled += settled
            if self._file is not None:
                self._touch()

    def adopt(self) -> list[Entry]:
        """Take over the journals that nobody holds, and return what was not acknowledged there."""
        adopted: list[Entry] = []
        for path in sorted(self._directory.glob("*.log")) if self._directory is not None else ():
            try:
                adopted += self._take_over(path)
            except OSError as err:
                logger.warning("The journal %s cannot be taken over now: %s.", path, err)
        return adopted

    def tend(self, now: float) -> float | None:
        """Empty the file if all is settled, else have it synced (in another thread), when that is due.

        Parameters
        ----------
        now : float
            Seconds by the monotonic clock.

        Returns
        -------
        float or None
            Seconds until it is due, if there is something to do.
        """
        if self._touched is None or self._file is None:
            return None
        left = self._touched + SYNC_S - now
        if left > 0:
            return left
        self._touched = None
        if not self._open:
            self._clear(self._file)
            return None
        try:
            self._cross_out(self._file)
        except OSError as err:
            self._give_up(err)
            return None
        threading.Thread(target=self._file.sync, name="funcx-lab-journal", daemon=True).start()
        return None

    def close(self) -> None:
        """Let go of the file; what is open in it is for others to adopt."""
        if self._file is not None:
            if self._open:
                with contextlib.suppress(OSError):
                    self._cross_out(self._file)
            self._file.close(remove=not self._open)
            self._file = None

    def abandon(self) -> None:
        """Drop a descriptor that a fork copied; the file is the parent's."""
        if self._file is not None:
            self._file.close(remove=False)
            self._file = None

    # --- details ----------------------------------------------------------------------------------

    def _write(self, submitted: float, tasks: Sequence[tuple[Route, NewTask]]) -> None:
        if self._directory is None:
            return
        try:
            if self._file is None:
                self._file = RecordFile.create(self._directory)
            for record in _records(submitted, tasks):
                self._file.append(_encode(record))
        except OSError as err:
            self._give_up(err)
            return
        self._open.update([task.task_id for _, task in tasks])
        self._touch()

    def _touch(self) -> None:
        if self._touched is None:
            self._touched = time.monotonic()

    def _cross_out(self, file: RecordFile) -> None:
        # What was submitted once more since then is open again.
        settled = [task_id for task_id in self._settled if task_id not in self._open]
        self._settled = []
        if settled:
            file.append(_encode(_Settled(settled)))

    def _clear(self, file: RecordFile) -> None:
        self._settled = []
        try:
            file.clear()
        except OSError as err:
            self._give_up(err)

    def _rewrite(self, old: RecordFile) -> None:
        """Leave a file that has grown large, with what is open in it."""
        if not self._open:
            self._clear(old)
            return
        try:
            entries = [entry for entry in _read(old)[0] if entry.task.task_id in self._open]
        except OSError as err:
            self._give_up(err)
            return
        self._file, self._settled = None, []
        self._keep(entries)
        self._size_at_first = self._file.size if self._file is not None else 0
        old.close(remove=self._directory is not None)

    def _keep(self, entries: Iterable[Entry]) -> None:
        for submitted, some in itertools.groupby(entries, itemgetter(0)):
            self._write(submitted, [(entry.route, entry.task) for entry in some])

    def _take_over(self, path: Path) -> list[Entry]:
        file = RecordFile.take(path)
        if file is None:
            return []
        entries, torn = _read(file)
        if torn:
            logger.warning("The last %d bytes of the journal %s cannot be read.", torn, path)
        oldest = time.time() - KEEP_S
        fresh = [entry for entry in entries if entry.submitted > oldest]
        if len(fresh) < len(entries):
            logger.warning(
                "%d tasks of %s were submitted over 14 days ago and never handed over: they are forgotten.",
                len(entries) - len(fresh),
                path,
            )
        self._keep(fresh)
        # Without a journal of our own, theirs stays: the next one finds it again.
        file.close(remove=self._directory is not None)
        return fresh

    def _give_up(self, err: OSError) -> None:
        logger.warning(
            "No journal can be kept in %s (%s). Tasks go on without one: what is submitted and not yet "
            "acknowledged is lost if this process is killed. Make room there and restart it.",
            self._directory,
            err.strerror or err,
        )
        self._directory = None
        self.close()


def _records(submitted: float, tasks: Sequence[tuple[Route, NewTask]]) -> Iterator[_Added]:
    """Gather neighbours that share a route."""
    if len(tasks) == 1:  # one call after another
        yield _added(submitted, tasks[0][0], [tasks[0][1]])
        return
    for start in range(0, len(tasks), _TASKS_A_RECORD):
        for route, some in itertools.groupby(tasks[start : start + _TASKS_A_RECORD], itemgetter(0)):
            yield _added(submitted, route, [task for _, task in some])


def _added(submitted: float, route: Route, tasks: list[NewTask]) -> _Added:
    return _Added(submitted, route.endpoint, route.function_id, route.group_id, route.options, tasks)


def _read(file: RecordFile) -> tuple[list[Entry], int]:
    """Return a journal's open tasks, and how many bytes at its end cannot be read."""
    entries: dict[str, Entry] = {}
    bodies, torn = file.read()
    for number, body in enumerate(bodies):
        try:
            record = _decode(body)
        except msgspec.DecodeError:
            return list(entries.values()), torn + sum(map(len, bodies[number:]))
        if isinstance(record, _Settled):
            for task_id in record.task_ids:
                entries.pop(task_id, None)
        else:
            route = Route(record.endpoint, record.function_id, record.group_id, record.options)
            entries.update((task.task_id, Entry(record.submitted, route, task)) for task in record.tasks)
    return list(entries.values()), torn
