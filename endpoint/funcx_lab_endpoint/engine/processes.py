"""The engine without Parsl: one process on this machine per session."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from typing import Any

logger = logging.getLogger(__name__)


class Processes:
    """Starts a worker process for each session.

    Parameters
    ----------
    workers : int or None
        Most processes at a time; one per core if None.
    """

    def __init__(self, workers: int | None) -> None:
        self._limit = workers or cores()
        self._living: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> dict[str, Any]:
        """Return what the agent must know of this engine."""
        return {
            "interface": "127.0.0.1",
            "addresses": ["127.0.0.1"],
            "ports": None,
            "encrypted": True,
            "limit": self._limit,
            "initial": self._limit,
            "minimum": 0,
            "tells_exit": True,
            "watch": [],
        }

    def open(self, arguments: dict[str, Any]) -> None:
        """Start a worker process that serves one session."""
        command = [sys.executable, "-m", "funcx_lab_endpoint.worker"]
        worker = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, start_new_session=True)
        self._living[arguments["sid"]] = worker
        assert worker.stdin is not None  # noqa: S101  # asked for above
        with contextlib.suppress(BrokenPipeError):  # it has died already; `poll` tells
            worker.stdin.write(json.dumps(arguments).encode() + b"\n")
        worker.stdin.close()

    def poll(self) -> list[tuple[str, str]]:
        """Return the sessions whose process ended, and how."""
        ended = []
        for sid, worker in list(self._living.items()):
            code = worker.poll()
            if code is not None:
                del self._living[sid]
                ended.append((sid, f"signal {-code}" if code < 0 else f"exit code {code}"))
        return ended

    def status(self) -> dict[str, Any]:
        """Return facts for people."""
        return {"blocks": {}, "managers": 0, "workers": len(self._living), "jobs": []}

    def end_block(self, name: str) -> None:
        """Do nothing: there are no blocks."""

    def cancel(self, jobs: list[str]) -> None:
        """Do nothing: there are no batch jobs."""

    def stop(self) -> None:
        """End every worker process."""
        for worker in self._living.values():
            worker.kill()
        for worker in self._living.values():
            worker.wait()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
