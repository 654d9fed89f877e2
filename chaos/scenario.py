"""One named fault under a running load, judged like every run: what it is made of, and what comes of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chaos.checker import Verdict
from chaos.lab import Stuck, until
from chaos.run import STUCK_S, Run, Settings
from funcx_lab.locks import is_held, locked

#: A program that was told to end has so many seconds.
END_S = 30.0


@dataclass(slots=True)
class Trouble:
    """What a scenario did.

    Attributes
    ----------
    ended : float
        Monotonic time at which it was over.
    seen : dict
        What was measured or read meanwhile: words to a figure.
    """

    ended: float
    seen: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault with a name.

    Attributes
    ----------
    what : str
        What is done, for people.
    act : callable
        Does it to a run with tasks under way, and returns when it is over.
    limit_s : float
        Tasks must flow again so many seconds after it.
    prepare : callable
        Called before anything is started; what it mounts is gone after the run.
    needs : tuple of str
        Debian packages without which it cannot be done.
    forgets : bool
        Whether it may take ended tasks and seen values from the hub service's database: its disk is hurt.
    """

    what: str
    act: Callable[[Run], Trouble]
    limit_s: float = 10.0
    tasks: int = 400
    longest_s: float = 0.3
    prepare: Callable[[Run], None] | None = None
    needs: tuple[str, ...] = ()
    forgets: bool = False


@dataclass(slots=True)
class Suffered:
    """What a scenario gave.

    Attributes
    ----------
    recovery : float
        Seconds from its end until the client saw the outcome of a run that had begun after it.
    left : list of int
        Processes that outlived the stop.
    """

    name: str
    recovery: float
    verdict: Verdict
    seen: dict[str, float]
    left: list[int]


def suffer(name: str, scenario: Scenario, directory: Path) -> Suffered:
    """Run tasks, do it, and judge.

    Raises
    ------
    Stuck
        If nothing moves any more.
    """
    run = Run(directory, Settings(scenario.tasks, 1, 0, 1, scenario.longest_s))
    if scenario.prepare is not None:
        scenario.prepare(run)
    try:
        run.lab.start()
        run.start_client()
        run.wait_for(scenario.tasks // 8)
        trouble = scenario.act(run)
        until(lambda: run.freshest() > trouble.ended, STUCK_S, f"an outcome after {name}")
        recovery = time.monotonic() - trouble.ended
        run.wait_for(scenario.tasks + 1)
    finally:
        left = run.end()
    verdict = run.judge(forgets=scenario.forgets)
    return Suffered(name, recovery, verdict, trouble.seen, left)


# --- in a mount namespace of its own ----------------------------------------------------------------


def suffer_alone(name: str, scenario: Scenario, directory: Path) -> Suffered:
    """Run a scenario in a process and a mount namespace of its own; needs root.

    Raises
    ------
    Stuck
        If it did not come to its end; with what it said. If a program is missing; with its Debian package.
    """
    if missing := [program for program in scenario.needs if shutil.which(program) is None]:
        raise Stuck(f"{name} needs the Debian packages: {' '.join(missing)}")
    result = directory / "suffered.json"
    module = [sys.executable, "-m", "chaos.disk_faults", "--alone", str(directory), name]
    done = subprocess.run(
        ["unshare", "--mount", *module], cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise Stuck(f"{name} in {directory}: {done.stderr[-3000:]}")
    document = json.loads(result.read_text())
    return Suffered(**{**document, "verdict": Verdict(**document["verdict"])})


def save(suffered: Suffered, directory: Path) -> None:
    """Leave the result for who called `suffer_alone`."""
    (directory / "suffered.json").write_text(json.dumps(asdict(suffered)))


def small_disk(path: Path, megabytes: int) -> None:
    """Put a small disk of its own at ``path``; it goes with the mount namespace."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = f"size={megabytes}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)


def fill(directory: Path) -> Path:
    """Write a file until there is no byte left; remove it to free the disk.

    No more is written than is free now: the service gives up its reserve meanwhile, and that is not ours.
    """
    filler = directory / "filler"
    room = shutil.disk_usage(directory).free
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while room >= size:
                    room -= file.write(b"x" * size)
    return filler


# --- programs that are down -------------------------------------------------------------------------


@contextlib.contextmanager
def hub_down(run: Run, *, damaged: bool = False) -> Iterator[Path]:
    """Kill the hub service, and let nobody start it before the end of the block; gives its database.

    ``damaged``: the start then says by its status that the database is damaged.
    """
    home = run.lab.home
    with locked(home / "start.lock", wait_s=END_S) as mine:
        if not mine:
            raise Stuck("somebody is starting the hub service for ever")
        run.lab.find("hub").kill()
        until(lambda: not is_held(home / "service.lock"), END_S, "the end of the hub service")
        yield home / "hub" / "hub.db"
    with contextlib.suppress(*[Stuck] * damaged):
        run.lab.start()


@contextlib.contextmanager
def agent_down(run: Run) -> Iterator[Path]:
    """Kill the agent, and let nobody start it before the end of the block; gives its directory."""
    directory = run.lab.home / "endpoints" / "local"
    run.lab.find("agent").kill()
    with locked(directory / "agent.lock", wait_s=0.8) as mine:  # sooner than it is started again
        if not mine:
            raise Stuck("another agent is there already")
        yield directory


def said(run: Run, file: str, words: str) -> int:
    """Return how many lines of a log of this run hold ``words``."""
    path = run.directory / file
    return path.read_text(errors="replace").count(words) if path.exists() else 0


def hurt(path: Path, offset: int, value: int | None = None) -> None:
    """Flip one bit of a file at ``offset`` (from the end if negative), or put a byte there."""
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        old = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([old ^ 0x10 if value is None else value]))


def settle(database: Path) -> None:
    """Move what the log of a SQLite database holds into its file."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
