"""Keeps one engine process alive: starts it, listens to it, kills and replaces it when it fails."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from funcx_lab_endpoint.engine.leftovers import MARK, Record, end_marked
from funcx_lab_endpoint.engine.readiness import Readiness
from funcx_lab_endpoint.worker.surroundings import scrub_environment

logger = logging.getLogger(__name__)

#: Seconds an engine process may be silent while it starts, and later.
START_LIMIT_S = 180.0
SILENCE_LIMIT_S = 20.0
#: Restarts wait 0.5, 1, 2 ... seconds, at most this long; forgotten after so long in health.
BACKOFF_LIMIT_S = 30.0
_HEALTHY_S = 20.0
#: Log directories of earlier lives that are kept.
_KEPT_RUNS = 5


class Supervisor:
    """One engine process and its successors.

    Parameters
    ----------
    config : Path
        The endpoint's config file, read by the engine process itself.
    runs : Path
        Directory for the engine's logs and records.
    readiness : Readiness
        Told of the engine's pipe and of processes whose end matters.
    """

    def __init__(self, config: Path, runs: Path, readiness: Readiness) -> None:
        self._config, self._runs, self._readiness = config, runs, readiness
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._record = Record(runs / "engines.json")
        self._old_jobs: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._stdout = -1
        self._outgoing = bytearray()
        self._buffer = b""
        self._watched: list[int] = []
        self._heard = self._started = self._restart_at = 0.0
        self._failures = 0
        #: the mark of the engine that lives now
        self.mark = ""
        self.is_ready = False
        self.restarts = 0
        #: why the last engine failed
        self.trouble = ""

    @property
    def pid(self) -> int:
        """The engine process, 0 if there is none now."""
        return self._process.pid if self._process is not None else 0

    @property
    def watched(self) -> list[int]:
        """Pids of processes that the engine cannot live without (Parsl's interchange)."""
        return list(self._watched)

    def start(self, now: float) -> None:
        """End what earlier lives left behind and start the engine process."""
        self._old_jobs = self._record.reap()
        self._clear_runs()
        self._spawn(now)

    def open(self, arguments: dict[str, Any]) -> None:
        """Ask the engine for one session."""
        self._tell({"open": arguments})

    def end_block(self, block: str, reason: str) -> None:
        """Ask the engine to end a block that does not work."""
        logger.error("Block %s is ended: %s", block, reason)
        self.trouble = f"block {block} was ended: {reason}"
        self._tell({"end_block": block})

    def forgive(self, now: float) -> None:
        """Count no silence before ``now``."""
        self._heard = now

    def poll(self, now: float, ready: list[Any]) -> list[dict[str, Any]]:
        """Return what the engine reports; ``{"event": "failed", "mark", "reason"}`` when it was killed."""
        process = self._process
        if process is None:
            if now >= self._restart_at:
                self._spawn(now)
            return []
        self._write()
        events = self._read(now) if ("engine", self.mark) in ready else []
        for event in events:
            self._note(event)
        reason = self._why_fail(now, ready, events)
        if reason:
            events.append({"event": "failed", "mark": self.mark, "reason": reason})
            self.fail(reason, now)
        return events

    def next_deadline(self, now: float) -> float:
        """Return when `poll` wants to be called at the latest."""
        if self._process is None:
            return self._restart_at
        return self._heard + (SILENCE_LIMIT_S if self.is_ready else START_LIMIT_S)

    def fail(self, reason: str, now: float) -> None:
        """Kill the engine process and what it cannot live without; start another one soon.

        Workers are left alone: their sessions may still serve. `release` ends them.
        """
        logger.error("The engine is started anew: %s", reason)
        self.trouble = reason
        if now - self._started > _HEALTHY_S:
            self._failures = 0
        self._restart_at = now + min(0.5 * 2.0**self._failures, BACKOFF_LIMIT_S)
        self._failures += 1
        self.restarts += 1
        for pid in self._watched:
            _kill(pid)
        self._bury()

    def release(self, mark: str) -> None:
        """End whatever an engine that failed has left; its batch jobs are cancelled by the next one."""
        end_marked(mark)
        self._old_jobs += self._record.jobs(mark)
        self._cancel_old_jobs()
        self._record.forget(mark)

    def stop(self, timeout: float) -> None:
        """End the engine, its blocks and every process of it."""
        deadline = time.monotonic() + timeout
        if self._process is not None:
            self._tell({"stop": True})
            try:
                self._process.wait(max(0.1, 0.7 * timeout))
            except subprocess.TimeoutExpired:
                logger.warning("The engine did not stop within %.0f s and is killed.", 0.7 * timeout)
            self._bury()
        for mark in list(self._record.engines):
            end_marked(mark, timeout=max(1.0, deadline - time.monotonic()))
            self._record.forget(mark)

    def _spawn(self, now: float) -> None:
        self.mark = secrets.token_hex(8)
        self._record.note(self.mark, jobs=self._old_jobs)  # before there is anything to end
        directory = self._runs / self.mark
        directory.mkdir(mode=0o700)
        environment = dict(os.environ)
        scrub_environment(environment)
        environment[MARK] = self.mark
        environment["SPT_NOENV"] = "1"  # else the title of Parsl's interchange overwrites its mark
        with open(self._runs / "engine.log", "ab") as log:
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "funcx_lab_endpoint.engine.child"],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=environment,
            )
        self._record.note(self.mark, pid=process.pid)
        assert process.stdout is not None  # noqa: S101  # asked for above
        assert process.stdin is not None  # noqa: S101  # asked for above
        os.set_blocking(process.stdin.fileno(), False)
        self._stdout = process.stdout.fileno()
        os.set_blocking(self._stdout, False)
        self._readiness.watch(self._stdout, ("engine", self.mark))
        self._heard = self._started = now
        self._tell({"config": str(self._config), "directory": str(directory)})

    def _cancel_old_jobs(self) -> None:
        if self.is_ready and self._old_jobs:
            self._tell({"cancel": self._old_jobs})
            self._old_jobs = []

    def _tell(self, command: dict[str, Any]) -> None:
        self._outgoing += json.dumps(command).encode() + b"\n"
        self._write()

    def _write(self) -> None:
        """Write what the pipe takes; an engine that hangs must not hang the agent."""
        if self._process is None or self._process.stdin is None or not self._outgoing:
            return
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # its end will be noticed; later
            written = os.write(self._process.stdin.fileno(), self._outgoing)
            del self._outgoing[:written]

    def _read(self, now: float) -> list[dict[str, Any]]:
        try:
            data = os.read(self._stdout, 1 << 20)
        except BlockingIOError:
            return []
        if not data:
            return [{"event": "fatal", "message": "the engine process ended"}]
        self._heard = now
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _note(self, event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            self.is_ready = True
            self._watched = event["watch"]
            for pid in self._watched:
                self._readiness.watch_process(pid, ("interchange", pid))
            self._record.note(self.mark, interchange=self._watched)
            self._cancel_old_jobs()
        elif event["event"] == "status" and event["jobs"]:
            self._record.note(self.mark, jobs=event["jobs"])

    def _why_fail(self, now: float, ready: list[Any], events: list[dict[str, Any]]) -> str:
        for event in events:
            if event["event"] == "fatal":
                return str(event["message"])
        for pid in self._watched:
            if ("interchange", pid) in ready:
                return f"the interchange (pid {pid}) died"
        if now > self.next_deadline(now):
            return f"the engine was silent for {now - self._heard:.0f} s"
        return ""

    def _bury(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdout is None:
            return
        for pid in self._watched:
            self._readiness.unwatch_process(("interchange", pid))
        self._watched, self._buffer, self.is_ready = [], b"", False
        self._outgoing.clear()
        self._readiness.unwatch(self._stdout)
        process.kill()
        process.wait()
        process.stdout.close()
        if process.stdin is not None:
            process.stdin.close()

    def _clear_runs(self) -> None:
        runs = sorted(
            (path for path in self._runs.iterdir() if path.is_dir()), key=lambda p: p.stat().st_mtime
        )
        for path in runs[:-_KEPT_RUNS]:
            shutil.rmtree(path, ignore_errors=True)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
