"""Opening the database: looked at first, never used when it is damaged."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funcx_lab.crash_points import crash_point
from funcx_lab.errors import ConfigError, StoreDamaged
from funcx_lab_hub_service.store import boot, write_log
from funcx_lab_hub_service.store.backup import copy_to, how_to_restore
from funcx_lab_hub_service.store.schema import migrate, pending

log = logging.getLogger(__name__)

_NO_DATABASE = "not a database"


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of it: a connection to write with, or what is wrong."""

    writer: sqlite3.Connection | None
    boot: int
    damage: str = ""
    #: what people should know though nothing is damaged: the database is new, or older than the last
    notice: str = ""


def open_writer(path: Path) -> Opened:
    """Check the database, bring it to this release's shape and count this boot.

    A backup is made before a migration.

    Raises
    ------
    ConfigError
        If the file cannot be used, or a newer release wrote it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        frames = write_log.read_frames(path)
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=30
        )
        try:
            return _prepare(connection, path, frames)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"{path} cannot be used as the hub service's database: {error}. "
            f"Free space, mend its permissions, or restore a backup. {how_to_restore(path)}"
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path, frames: write_log.Frames) -> Opened:
    damage = find_damage(connection)
    if damage:
        connection.close()
        last = boot.read(path)
        text = f"{path} is damaged ({damage}). {how_to_restore(path)}"
        log.critical("It is only read until it is restored: %s", text)
        return Opened(None, 0 if last is None else last.boot, text)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -65536")
    lost = write_log.lost_commits(connection, path, frames)
    needed = pending(connection)
    if needed:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        copy_to(path, path.with_name(f"{path.name}.before-{needed[0]}-{stamp}"))
    migrate(connection)
    crash_point("hub.migrated")
    if lost:
        log.critical(
            "The log of %s was damaged while nobody used it: at least the last %d commits are lost.",
            path,
            lost,
        )
        boot.mark_copy(connection)
    life, notice = boot.count(connection, path)
    if notice:
        notice = f"{notice} If that was not meant: {how_to_restore(path)}"
        log.warning("%s", notice)
    return Opened(connection, life.boot, notice=notice)


def find_damage(connection: sqlite3.Connection) -> str:
    """Return what is wrong with the database's pages; ``""`` if nothing is.

    Raises
    ------
    sqlite3.DatabaseError
        If it is no database at all.
    """
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if _NO_DATABASE in str(error) or isinstance(error, sqlite3.OperationalError):
            raise
        return str(error)
    return "" if found == "ok" else " ".join(str(found).split())


def open_reader(path: Path, damage: str) -> Any:
    """Return a read-only connection; one that names the damage when it comes upon it."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only = 1")
    return DamagedReader(connection, damage) if damage else connection


class DamagedReader:
    """Reads what can be read of a damaged database.

    Parameters
    ----------
    connection : sqlite3.Connection
        Read-only.
    damage : str
        What is wrong, for people.
    """

    def __init__(self, connection: sqlite3.Connection, damage: str) -> None:
        self._connection = connection
        self._damage = damage

    def execute(self, statement: str, values: Any = ()) -> _Rows:
        """Return all rows of a query.

        Raises
        ------
        StoreDamaged
            If they stand in a damaged part.
        """
        try:
            return _Rows(self._connection.execute(statement, values).fetchall())
        except sqlite3.DatabaseError as error:
            raise StoreDamaged(self._damage) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class _Rows:
    """A cursor whose rows are all there."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)
