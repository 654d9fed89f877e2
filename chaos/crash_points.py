"""End a program at each named place once, while tasks run, then compare three records.

``python -m chaos.crash_points [NAME ...]``. The places and what has just happened there stand in
``funcx_lab/crash_points.py``.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import sqlite_utils

from chaos import report
from chaos.checker import Verdict
from chaos.lab import Stuck, until
from chaos.run import STUCK_S, Run, Settings
from funcx_lab.crash_points import CRASH_POINTS
from funcx_lab_hub_service.store.schema import _migrations

#: At which time the program ends there; so late that tasks run. The first time unless said otherwise.
TIMES = {
    "hub.before_commit": 60,
    "hub.after_commit": 60,
    "hub.dispatched": 30,
    "hub.judged": 20,
    "hub.published": 20,
    "hub.before_acks": 20,
    "hub.reconciling": 2,
    "hub.reconciled": 2,
    "agent.welcome_came": 2,
    "agent.inventory_left": 2,
    "agent.reconciled_came": 2,
    "agent.tasks_came": 20,
    "agent.accepted_left": 10,
    "agent.before_calls": 20,
    "agent.after_calls": 20,
    "agent.before_spool_commit": 10,
    "agent.after_spool_commit": 10,
    "agent.outcome_came": 30,
    "agent.results_left": 20,
    "agent.ack_came": 20,
}
#: These need a new session: the other program is killed when so many tasks have ended.
NEW_SESSION, AFTER = dict.fromkeys(("hub.leased", "hub.reconciling", "hub.reconciled"), "agent"), 40
NEW_SESSION |= {f"agent.{name}": "hub" for name in ("welcome_came", "inventory_left", "reconciled_came")}
#: An agent writes down only tasks that take longer than some tenths of a second.
_LONGEST_S = {"hub": 0.05, "agent": 0.4}
_TASKS = 120


@dataclass(frozen=True, slots=True)
class Crash:
    """What one place gave.

    Attributes
    ----------
    recovery : float or None
        Seconds from the crash until the client saw the outcome of a run that began after it.
    """

    name: str
    recovery: float | None
    verdict: Verdict
    left: list[int]


def crash(name: str, directory: Path, tasks: int = _TASKS) -> Crash:
    """Run tasks, end a program at the place ``name``, and judge.

    Raises
    ------
    Stuck
        If nothing comes to that place, or nothing moves any more.
    """
    run, mark = (
        Run(directory, Settings(tasks, 1, 0, 1, _LONGEST_S[name.split(".")[0]])),
        directory / "crashed",
    )
    if name == "hub.migrating":
        _make_first_release(run.lab.home / "hub")
    try:
        _start(run, mark, {"FUNCX_LAB_CRASH_AT": f"{name}:{TIMES.get(name, 1)}:{mark}"})
        run.start_client()
        if name in NEW_SESSION:
            run.wait_for(AFTER)
            run.lab.find(NEW_SESSION[name]).kill()
        until(lambda: mark.exists() or run.client.poll() is not None, STUCK_S, f"a crash at {name}")
        if not mark.exists():
            raise Stuck(f"nothing came to {name}")
        ended = time.monotonic() - (time.time() - mark.stat().st_mtime)
        until(lambda: run.freshest() > ended, STUCK_S, f"an outcome after {name}")
        recovery = time.monotonic() - ended
        run.wait_for(tasks + 1)
    finally:
        left = run.end()
    return Crash(name, recovery, run.judge(), left)


def _start(run: Run, mark: Path, also: dict[str, str]) -> None:
    try:
        run.lab.start(also)
    except Stuck:
        if not mark.exists():
            raise
        run.lab.start()  # it crashed on its way up, as it should


def _make_first_release(directory: Path) -> None:
    """Leave a database that the first release could have made."""
    directory.mkdir(mode=0o700)
    connection = sqlite3.connect(directory / "hub.db")
    _migrations.apply(sqlite_utils.Database(connection), stop_before="m002_retention")
    connection.execute("UPDATE meta SET value = 1 WHERE key = 'boot'")
    connection.commit()
    connection.close()


def section(crashes: list[Crash]) -> str:
    """Return the section of docs/reliability.md."""
    rows = [
        f"| `{c.name}` | {CRASH_POINTS[c.name]} | {'–' if c.recovery is None else f'{c.recovery:.1f}'} |"
        f" {len(c.verdict.lost)} | {len(c.verdict.duplicated)} | {len(c.verdict.changed)} |"
        f" {c.verdict.executions - c.verdict.tasks} |"
        for c in crashes
    ]
    return f"""`python -m chaos.crash_points`: the program ends at once, as by `kill -9`, when it comes to
that place, while {_TASKS} tasks of 0 to 50 ms run (0 to 400 ms for the agent's).

| place | what has just happened | recovery s | lost | duplicated | changed | runs more than tasks |
|---|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}"""


def main() -> None:
    """Read the command line, crash, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *CRASH_POINTS], default=[])
    parser.add_argument("--output", type=Path, default=report.PAGE)
    options = parser.parse_args()
    crashes = []
    for name in options.names or CRASH_POINTS:
        directory = Path(tempfile.mkdtemp(prefix=f"crash-{name}-"))
        crashes.append(crash(name, directory))
        print(name, crashes[-1].recovery, crashes[-1].verdict.complaints(), flush=True)
        shutil.rmtree(directory, ignore_errors=True)
    if not options.names:
        report.write(options.output, "Crash points", section(crashes))
    if not all(each.verdict.is_clean and not each.left for each in crashes):
        raise SystemExit("NOT CLEAN")


if __name__ == "__main__":
    main()
