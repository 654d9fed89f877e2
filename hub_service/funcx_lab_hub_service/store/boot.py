"""Which life of the service this is: a number that never repeats, even when an old copy is put back.

``boot.json`` stands beside the database and is never part of a backup. When the database's own number is
behind the file's, or the database says that it is a copy, somebody put an older copy back: the count goes on
from the file's, under a new epoch.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path

from funcx_lab.config import write_private
from funcx_lab.errors import ConfigError

#: Added when nobody knows how many lives there were since a backup.
UNKNOWN_LIVES = 1000


@dataclass(frozen=True, slots=True)
class Boot:
    """One life of one store.

    Parameters
    ----------
    boot : int
        Number of this life.
    epoch : str
        Changes whenever older data is put back.
    """

    boot: int
    epoch: str


def boot_file(database: Path) -> Path:
    """Return where the number of a database's last life stands."""
    return database.with_name("boot.json")


def read(database: Path) -> Boot | None:
    """Return the last life of a database; None if there was none.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    path = boot_file(database)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Boot(int(document["boot"]), str(document["epoch"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be used: {error}. It keeps task numbers from repeating. Write "
            '{"boot": N, "epoch": "x"} into it, N greater than the number of starts so far.'
        ) from error


def write(database: Path, boot: Boot) -> None:
    """Put a life on disk."""
    write_private(boot_file(database), json.dumps(asdict(boot)))


def new_epoch() -> str:
    """Return an epoch that was never used."""
    return secrets.token_hex(8)


def mark_copy(connection: sqlite3.Connection) -> None:
    """Let the database say that it is a copy, so that it is not taken for the original one day."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('copy', 1)")


def is_copy(connection: sqlite3.Connection) -> bool:
    """Whether the database is a copy that was put back, and nobody has drawn the consequences yet."""
    return connection.execute("SELECT 1 FROM meta WHERE key = 'copy'").fetchone() is not None


def unmark_copy(connection: sqlite3.Connection) -> None:
    """Let the database be the original."""
    connection.execute("DELETE FROM meta WHERE key = 'copy'")


def count(connection: sqlite3.Connection, database: Path) -> tuple[Boot, str]:
    """Count this life, which is on disk then; return it and what people should know."""
    last = read(database)
    notice = ""
    stored = int(connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()[0])
    if last is None:
        boot = Boot(stored + (UNKNOWN_LIVES if is_copy(connection) else 1), new_epoch())
    elif stored < last.boot or is_copy(connection):
        boot = Boot(max(stored, last.boot) + 1, new_epoch())
        if stored:
            mark_copy(connection)
        found = f"is an older copy, of start {stored}" if stored else "was missing and is new"
        notice = (
            f"{database} {found}; the last start was number {last.boot}. What happened since is known to "
            "clients and endpoints only, and they send it again as far as they have it."
        )
    else:
        boot = Boot(stored + 1, last.epoch)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'boot'", (boot.boot,))
    write(database, boot)
    return boot, notice
