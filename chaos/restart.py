"""Kill the hub service while many tasks are queued, start it again, and take the time.

``python -m chaos.restart --tasks 100000``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from chaos import report
from chaos.lab import Lab, until
from funcx_lab import Executor
from funcx_lab_hub_service.store.database import BOOT_SHIFT

LIMIT_S = 120.0
#: Short, so that the endpoint soon wants more; yet most are still queued when all are submitted.
_TASK_S = 0.02


@dataclass(frozen=True, slots=True)
class Restart:
    """What one restart gave.

    Attributes
    ----------
    queued : int
        Tasks that had not ended when the hub service was killed.
    listens, dispatches : float
        Seconds from the start of the new process until it answers, and until it has leased a task.
    kept : int
        How many of the tasks the new process has.
    """

    queued: int
    listens: float
    dispatches: float
    kept: int


def submit(tasks: int) -> None:
    """Submit, and return when all are acknowledged."""
    executor = Executor("local")
    executor.submit(time.sleep, 0).result(LIMIT_S)
    futures = [executor.submit(time.sleep, _TASK_S) for _ in range(tasks)]
    assert all(future.wait_accepted(LIMIT_S) for future in futures)


def measure(tasks: int, directory: Path) -> Restart:
    """Queue ``tasks`` tasks, kill the hub service and start it again."""
    lab = Lab(directory / "home", workers=2)
    database = lab.home / "hub" / "hub.db"
    try:
        lab.start()
        code = f"import os; from chaos.restart import submit; submit({tasks}); os._exit(0)"
        root = Path(__file__).parents[1]
        subprocess.run([sys.executable, "-c", code], env=lab.environment, cwd=root, check=True, timeout=600)
        lab.find("hub").kill()
        until(lambda: lab.look("hub") is None, LIMIT_S, "the end of the hub service")
        queued, _ = _count(database)
        begin = time.monotonic()
        starting = subprocess.Popen(
            [sys.executable, "-m", "funcx_lab.cli", "start"], env=lab.environment, stdout=subprocess.DEVNULL
        )
        until(lambda: _answers(lab.home), LIMIT_S, "an answer of the new hub service")
        listens = time.monotonic() - begin
        until(lambda: _has_leased(database), LIMIT_S, "a lease by the new hub service")
        dispatches = time.monotonic() - begin
        starting.wait(LIMIT_S)
        _, kept = _count(database)
    finally:
        lab.stop()
    return Restart(queued, listens, dispatches, kept)


def _answers(home: Path) -> bool:
    try:
        url = json.loads((home / "service.json").read_text())["url"]
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _ask(database: Path, sql: str, *values: object) -> list[tuple[int, ...]]:
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def _count(database: Path) -> tuple[int, int]:
    """Return how many tasks have not ended, and how many there are."""
    [(live, total)] = _ask(
        database, "SELECT count(*) FILTER (WHERE outcome_seq IS NULL), count(*) FROM tasks"
    )
    return live, total


def _has_leased(database: Path) -> bool:
    """Whether the present life of the service has given a lease."""
    [(boot,)] = _ask(database, "SELECT value FROM meta WHERE key = 'boot'")
    return bool(_ask(database, "SELECT 1 FROM tasks WHERE tag >= ? LIMIT 1", boot << BOOT_SHIFT))


def section(found: Restart) -> str:
    """Return the section of docs/reliability.md."""
    return f"""`python -m chaos.restart --tasks {found.kept}`: the hub service is killed with {found.queued}
tasks queued. Counted from the start of the new process: it answers after {found.listens:.1f} s (aim 5 s), and
has leased the first task to the endpoint after {found.dispatches:.1f} s (aim 10 s). None is missing."""


def main() -> None:
    """Read the command line, restart, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=report.PAGE)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="restart-"))
    found = measure(options.tasks, directory)
    report.write(options.output, "Restart with a long queue", section(found))
    shutil.rmtree(directory, ignore_errors=True)
    if found.kept < options.tasks:
        raise SystemExit(f"LOST: {options.tasks - found.kept} of {options.tasks} tasks")


if __name__ == "__main__":
    main()
