"""The journal: what was submitted and not yet acknowledged, on disk, so that a killed process loses nothing.

``$FUNCX_LAB_HOME/journal/<service>/<process>.log`` belongs to one stream, which holds a lock on it for
life. It is written before a task is sent and synced within a second: it survives a kill of the process,
and a power cut but for the last second. Whoever finds a journal that nobody holds hands its tasks over
under the ids they have. A journal that cannot be written is done without, after one warning.
"""

from __future__ import annotations

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
from funcx_lab.stream.submit_queue import Route, cost

logger = logging.getLogger(__name__)

#: What was not handed over for so long (seconds, by the wall clock) is forgotten: nobody waits for it.
KEEP_S = 14 * 24 * 3600.0
#: Seconds after which something unacknowledged is synced.
SYNC_S = 0.5
#: A file larger than this is written anew when most of it is settled, in bytes.
REWRITE_BYTES = 32 * 1024 * 1024
#: About so many bytes are written at once.
_WRITE_BYTES = 1024 * 1024


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
    """Return where the journals for a service and a token are, or None if they can be nowhere."""
    host = "local"
    if not service.embedded:
        secret = hashlib.sha256(f"{service.url}\n{service.token}".encode()).hexdigest()[:16]
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
        self._open: dict[str, Entry] = {}
        self._unsynced_since: float | None = None

    def add(self, tasks: Iterable[tuple[Route, NewTask]]) -> None:
        """Keep tasks that were submitted now."""
        now = time.time()
        self._keep([Entry(now, route, task) for route, task in tasks])

    def settle(self, tasks: Iterable[NewTask]) -> None:
        """Forget tasks; the file is emptied when no task is left."""
        settled = [task.task_id for task in tasks if self._open.pop(task.task_id, None) is not None]
        if not settled or self._file is None:
            return
        try:
            if self._open:
                self._file.append(_encode(_Settled(settled)))
            else:
                self._file.clear()
                self._unsynced_since = None
        except OSError as err:
            self._give_up(err)
        else:
            if self._file.size > REWRITE_BYTES:
                self._rewrite(self._file)

    def adopt(self) -> list[Entry]:
        """Take over the journals that nobody holds, and return what was not acknowledged there."""
        adopted: list[Entry] = []
        for path in self._others():
            try:
                adopted += self._take_over(path)
            except OSError as err:
                logger.warning("The journal %s cannot be taken over now: %s.", path, err)
        return adopted

    def sync_if_due(self, now: float) -> float | None:
        """Have the file synced, in a thread of its own, when that is due.

        Parameters
        ----------
        now : float
            Seconds by the monotonic clock.

        Returns
        -------
        float or None
            Seconds until it is due, if there is something to sync.
        """
        if self._unsynced_since is None or self._file is None:
            return None
        left = self._unsynced_since + SYNC_S - now
        if left > 0:
            return left
        self._unsynced_since = None
        threading.Thread(target=self._file.sync, name="funcx-lab-journal", daemon=True).start()
        return None

    def close(self) -> None:
        """Let go of the file; what is open in it is for others to adopt."""
        if self._file is not None:
            self._file.close(remove=not self._open)
            self._file = None

    def abandon(self) -> None:
        """Drop a descriptor that a fork copied; the file is the parent's."""
        if self._file is not None:
            self._file.close(remove=False)
            self._file = None

    # --- details ----------------------------------------------------------------------------------

    def _keep(self, entries: Sequence[Entry]) -> None:
        if self._directory is None or not entries:
            return
        self._open.update((entry.task.task_id, entry) for entry in entries)
        try:
            if self._file is None:
                self._file = RecordFile.create(self._directory)
            for record in _records(entries):
                self._file.append(_encode(record))
        except OSError as err:
            self._give_up(err)
        else:
            if self._unsynced_since is None:
                self._unsynced_since = time.monotonic()

    def _rewrite(self, old: RecordFile) -> None:
        """Begin a new file if most of the old one is settled."""
        if sum(cost(entry.task) for entry in self._open.values()) > old.size // 2:
            return
        self._file = None
        self._keep(list(self._open.values()))
        old.close(remove=self._file is not None)

    def _others(self) -> list[Path]:
        if self._directory is None:
            return []
        return sorted(self._directory.glob("*.log"))

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
        file.close(remove=not fresh or self._file is not None)
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


def _records(entries: Sequence[Entry]) -> Iterator[_Added]:
    """Gather neighbours that share a route, up to about `_WRITE_BYTES`."""
    for (submitted, route), group in itertools.groupby(entries, itemgetter(0, 1)):
        tasks: list[NewTask] = []
        nbytes = 0
        for entry in group:
            if nbytes > _WRITE_BYTES:
                yield _added(submitted, route, tasks)
                tasks, nbytes = [], 0
            tasks.append(entry.task)
            nbytes += cost(entry.task)
        yield _added(submitted, route, tasks)


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
