"""Backups of the database: made while it is in use, put back while it is not."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from funcx_lab.errors import ConfigError, ServiceStartError, StorageFull
from funcx_lab_hub_service.store import boot
from funcx_lab_hub_service.store.schema import pending

log = logging.getLogger(__name__)

_PATTERN = "hub-*.db"
#: A service that was started with an old backup, or none, has so many seconds before it makes one.
_SOON_S = 60.0


def backups(database: Path) -> list[Path]:
    """Return the regular backups of a database, oldest first."""
    return sorted((database.parent / "backups").glob(_PATTERN))


def how_to_restore(database: Path) -> str:
    """Return what to do about a database that is damaged."""
    made = [path.absolute() for path in backups(database)]
    data = database.parent.absolute()
    words = [sys.executable, "-m", "funcx_lab_hub_service", "--data", str(data), "restore"]
    if not made:
        command = f"{shlex.join(words)} BACKUP"
        return (
            f"There is no backup in {data / 'backups'}; stop the hub service and put back your own: {command}"
        )
    command = shlex.join([*words, str(made[-1])])
    return f"Stop the hub service and put back the newest of {len(made)} backups: {command}"


def copy_to(database: Path, target: Path) -> None:
    """Write a consistent copy of a database in use to ``target``, whole or not at all.

    Raises
    ------
    StorageFull
        If there is no room for it.
    sqlite3.Error, OSError
        If it cannot be read or written.
    """
    size = database.stat().st_size
    if shutil.disk_usage(target.parent).free < 2 * size:
        raise StorageFull(f"A backup of {database} needs {2 * size} bytes free at {target.parent}.")
    scratch = target.with_name(f".{target.name}")
    scratch.unlink(missing_ok=True)
    os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as connection:
            connection.execute("VACUUM INTO ?", (str(scratch),))
        with contextlib.closing(sqlite3.connect(scratch, isolation_level=None)) as connection:
            boot.mark_copy(connection)
        _sync(scratch)
        scratch.replace(target)
        _sync(target.parent)
    finally:
        scratch.unlink(missing_ok=True)


def restore(database: Path, backup: Path) -> Path | None:
    """Put a backup in a database's place; nothing may have the database open.

    The database that was there stays beside it.

    Returns
    -------
    Path or None
        Where the old database is now; None if there was none.

    Raises
    ------
    ConfigError
        If the backup is damaged, no database of the hub service, or of a newer release.
    ServiceStartError
        If it cannot be copied.
    """
    _check(backup)
    last = boot.read(database)
    scratch = database.with_name(f".{database.name}.restored")
    try:
        shutil.copyfile(backup, scratch)
        scratch.chmod(0o600)
        _sync(scratch)
        aside = _put_aside(database)
        scratch.replace(database)
        lives = _stored_boot(database) + boot.UNKNOWN_LIVES if last is None else last.boot
        boot.write(database, boot.Boot(lives, boot.new_epoch()))
        _sync(database.parent)
    except OSError as error:
        raise ServiceStartError(f"{backup} cannot be put in place of {database}: {error}.") from error
    return aside


def _check(backup: Path) -> None:
    try:
        with contextlib.closing(_read_only(backup)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise ConfigError(f"{backup} is damaged too: {found}. Take an older one.")
            connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()[0]
            pending(connection)
    except (sqlite3.Error, TypeError) as error:
        raise ConfigError(f"{backup} is no backup of a hub service: {error}.") from error


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _stored_boot(database: Path) -> int:
    with contextlib.closing(_read_only(database)) as connection:
        return int(connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()[0])


def _put_aside(database: Path) -> Path | None:
    """Move a database and what belongs to it out of the way."""
    aside = database.with_name(f"{database.name}.replaced-{time.strftime('%Y%m%d-%H%M%S')}")
    for ending in ("-wal", "-shm", ""):
        old = database.with_name(database.name + ending)
        if old.exists():
            old.replace(aside.with_name(aside.name + ending))
    return aside if aside.exists() else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Backups:
    """Make a backup now and then, in a thread of its own, if anything was written since the last.

    Parameters
    ----------
    database : Path
        The database; open elsewhere.
    interval_s : float
        Seconds between two backups; 0 for none.
    keep : int
        So many are kept.
    clock : callable
        Unix seconds, for the names.
    """

    def __init__(
        self, database: Path, interval_s: float, keep: int = 3, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._interval_s = interval_s
        self._keep = keep
        self._clock = clock
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the first backup comes after one interval, sooner if the last one is old."""
        if self._interval_s > 0:
            self._thread = threading.Thread(target=self._run, name="store-backup", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Begin no further backup; one that is being made is left to the end of the process."""
        self._over.set()

    def _run(self) -> None:
        with contextlib.closing(_read_only(self._database)) as connection:
            seen = _version(connection)
            wait_s = self._first_wait()
            while not self._over.wait(wait_s):
                wait_s = self._interval_s
                try:
                    now = _version(connection)
                    if now != seen:
                        self.make()
                        seen = now
                except Exception:
                    log.exception("A backup failed; it is tried again in %s s", self._interval_s)

    def _first_wait(self) -> float:
        made = backups(self._database)
        age = self._clock() - made[-1].stat().st_mtime if made else self._interval_s
        return min(self._interval_s, max(_SOON_S, self._interval_s - age))

    def make(self) -> Path:
        """Make a backup now and delete those that are too many; return it."""
        directory = self._database.parent / "backups"
        directory.mkdir(mode=0o700, exist_ok=True)
        name = time.strftime("hub-%Y%m%d-%H%M%S.db", time.gmtime(self._clock()))
        copy_to(self._database, directory / name)
        for old in backups(self._database)[: -self._keep]:
            old.unlink(missing_ok=True)
        return directory / name


def _version(connection: sqlite3.Connection) -> int:
    """Return a number that changes whenever another connection has committed."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
