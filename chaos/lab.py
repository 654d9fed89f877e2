"""A real local service in a home of its own: its programs by role, found from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from funcx_lab.leftovers import find_leftovers

#: What the command line of each program holds.
ROLES = {
    "hub": "funcx_lab_hub_service --embedded",
    "agent": "funcx_lab_endpoint.cli start",
    "engine": "funcx_lab_endpoint.engine.child",
    "interchange": "HTEX interchange",
    "manager": "process_worker_pool.py --max_workers",
}
_CONFIG = "from funcx_lab_endpoint.config import Config\n\nconfig = Config(max_workers_per_node={workers})\n"
#: A program that was ended is started again after a pause that grows.
FIND_S = 120.0


class Stuck(Exception):
    """Something that had to happen did not."""


def until(condition: Callable[[], object], limit_s: float, what: str) -> None:
    """Wait until ``condition`` is true; raise `Stuck` with ``what`` was awaited otherwise."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise Stuck(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.02)


class Lab:
    """An embedded hub service and its endpoint ``local``.

    Parameters
    ----------
    home : Path
        Made when absent; nothing else may use it.
    workers : int
        How many tasks the endpoint runs at a time; tasks that sleep need no core each.
    """

    def __init__(self, home: Path, workers: int = 4) -> None:
        self.home = home
        self.environment = {**os.environ, "FUNCX_LAB_HOME": str(home)}
        directory = home / "endpoints" / "local"
        for path in (home, directory.parent, directory):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "config.py").write_text(_CONFIG.format(workers=workers))
        (directory / "config.py").chmod(0o600)

    def command(self, *arguments: str, also: Mapping[str, str] | None = None) -> str:
        """Run ``funcx-lab`` with ``arguments`` and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "funcx_lab.cli", *arguments],
            env={**self.environment, **(also or {})},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise Stuck(f"funcx-lab {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self, also: Mapping[str, str] | None = None) -> None:
        """Start the service, with the variables ``also`` in its environment."""
        self.command("start", also=also)

    def processes(self) -> list[psutil.Process]:
        """Return all live programs of this home."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # gone, or another user's
                is_ours = process.environ().get("FUNCX_LAB_HOME") == str(self.home)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                    found.append(process)
        return found

    def look(self, role: str) -> psutil.Process | None:
        """Return the youngest program of a role, None if there is none now."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):  # gone meanwhile
                # Shells carry the command line of what they start.
                if ROLES[role] in " ".join(process.cmdline()) and process.name() not in ("bash", "sh"):
                    found.append(process)
        return max(found, key=lambda process: process.create_time(), default=None)

    def find(self, role: str) -> psutil.Process:
        """Return the program of a role, waiting for it if it is being started."""
        until(lambda: self.look(role) is not None, FIND_S, f"a running {role}")
        return self.look(role) or self.find(role)

    def stop(self) -> list[int]:
        """End everything; return the processes that were still there afterwards, and end them too."""
        self.command("stop")
        left = [*find_leftovers(self.home), *self.processes()]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return sorted({process.pid for process in left})
