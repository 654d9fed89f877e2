"""What may happen to the hub service's database while the service is down."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chaos.lab import Stuck
from chaos.run import Run
from chaos.scenario import Scenario, Trouble, hub_down, hurt, said, settle

_LOG = "home/logs/hub.log"
#: Between a backup and the end of the database that it is a backup of, so many tasks end.
_SINCE_BACKUP = 60


def _while_down(act: Callable[[Path], None]) -> Callable[[Run], Trouble]:
    def act_and_start(run: Run) -> Trouble:
        with hub_down(run) as database:
            act(database)
            ended = time.monotonic()
        return Trouble(ended)

    return act_and_start


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _cut_log(database: Path) -> None:
    with open(_log_of(database), "r+b") as file:
        file.truncate(_log_of(database).stat().st_size - 1)


def _flip_log(run: Run) -> Trouble:
    with hub_down(run) as database:
        hurt(_log_of(database), _log_of(database).stat().st_size // 2)
        ended = time.monotonic()
    if not said(run, _LOG, "commits are lost"):
        raise Stuck("nobody said that the database's log is damaged")
    return Trouble(ended)


def _delete(database: Path) -> None:
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()


def _command(run: Run, *arguments: str) -> None:
    command = [sys.executable, "-m", "funcx_lab_hub_service", *arguments]
    done = subprocess.run(command, env=run.lab.environment, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Stuck(f"{arguments}: {done.stderr}")


def _backup(run: Run) -> Path:
    """Make a backup, and let tasks end that it does not know."""
    target = run.directory / "backup.db"
    _command(run, "backup", str(target))
    run.wait_for(run.outcomes() + _SINCE_BACKUP)
    return target


def _put_back_by_hand(run: Run) -> Trouble:
    backup = _backup(run)
    with hub_down(run) as database:
        _delete(database)
        shutil.copyfile(backup, database)
        database.chmod(0o600)
        ended = time.monotonic()
    if not said(run, _LOG, "is an older copy"):
        raise Stuck("nobody said that the database is an older copy")
    return Trouble(ended)


def _restored(run: Run) -> Trouble:
    backup = _backup(run)
    with hub_down(run):
        _command(run, "restore", str(backup))
        ended = time.monotonic()
    return Trouble(ended)


def _spoil_page(database: Path) -> None:
    """Write over the first page of the tasks."""
    settle(database)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        [size] = connection.execute("PRAGMA page_size").fetchone()
        [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'tasks'").fetchone()
    with open(database, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)


def _page(run: Run) -> Trouble:
    """Damage a page, see that it is said, restore."""
    backup = _backup(run)
    run.client.send_signal(signal.SIGSTOP)  # a damaged service refuses tasks for good
    try:
        with hub_down(run, damaged=True) as database:
            _spoil_page(database)
        if not said(run, _LOG, "is damaged"):
            raise Stuck("nobody said that the database is damaged")
        begin = time.monotonic()
        with hub_down(run):
            _command(run, "restore", str(backup))
            ended = time.monotonic()
        restored = time.monotonic()
    finally:
        run.client.send_signal(signal.SIGCONT)
    return Trouble(ended, {"s to restore": restored - begin})


SCENARIOS = {
    "hub WAL cut": Scenario("the database's log loses its last byte", _while_down(_cut_log), forgets=True),
    "hub WAL bit flipped": Scenario(
        "one bit in the middle of the database's log flips", _flip_log, forgets=True
    ),
    "hub database deleted": Scenario("the database is deleted", _while_down(_delete), forgets=True),
    "old backup by hand": Scenario(
        f"a backup is copied over the database {_SINCE_BACKUP} ended tasks later",
        _put_back_by_hand,
        forgets=True,
    ),
    "old backup restored": Scenario(
        f"a backup is restored by command {_SINCE_BACKUP} ended tasks later", _restored, forgets=True
    ),
    "hub page damaged": Scenario(
        "a page of the database is overwritten; the service says so, reads only, and a backup is restored",
        _page,
        limit_s=60,
        forgets=True,
    ),
}
