"""Care for the blocks of one Parsl executor: those that fail, and those whose manager has gone silent."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

from parsl.executors import HighThroughputExecutor
from parsl.jobs.states import JobState, JobStatus
from parsl.providers import LocalProvider

logger = logging.getLogger(__name__)

#: Blocks that fail are asked for again after 1, 2, 4 ... seconds, at most this many.
BACKOFF_LIMIT_S = 60.0
#: A block that was served and whose managers have all been gone for this long is ended (seconds).
SILENT_LIMIT_S = 20.0
#: A block that runs and whose manager has not connected for this long is ended, on this machine and in
#: a batch system; doubles each time in a row. A manager may lose the answer it waits for without end.
START_LIMIT_S, BATCH_START_LIMIT_S = 60.0, 300.0
_MOST_DOUBLINGS = 4
LIVE = (JobState.PENDING, JobState.RUNNING, JobState.HELD, JobState.UNKNOWN)
_BAD = (JobState.FAILED, JobState.MISSING, JobState.CANCELLED)


class BlockCare:
    """Asks for failing blocks ever more slowly instead of giving the executor up; ends dead ones."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._max_blocks = executor.provider.max_blocks
        #: why the last block failed; empty while one serves
        self.trouble = ""
        self._seen: set[str] = set()
        self._connected: set[str] = set()
        self._silent_since: dict[str, float] = {}
        self._starting_since: dict[str, float] = {}
        self._late_starts = 0
        self._failures = 0
        self._until = 0.0

    def handle(self, executor: Any, status: dict[str, Any]) -> None:
        """Parsl's ``block_error_handler``: called after each look at the blocks."""
        now = time.monotonic()
        for block, job in list(status.items()):
            if job.state in _BAD and block not in self._seen:
                self._fail(block, job, now)
            elif job.state == JobState.RUNNING and block in self._connected:
                self._failures, self.trouble = 0, ""
        live = sum(job.state in LIVE for job in status.values())
        # Parsl's strategy never goes over max_blocks: holding it down is how one says "not now".
        executor.provider.max_blocks = self._max_blocks if now >= self._until else min(live, self._max_blocks)

    @property
    def label(self) -> str:
        """The executor's name."""
        return str(self._executor.label)

    def managers(self) -> list[dict[str, Any]]:
        """Return what the interchange says of the managers that it hears."""
        if not isinstance(self._executor, HighThroughputExecutor):
            return []
        return [manager for manager in self._executor.connected_managers() if manager["active"]]

    def look(self, managers: list[dict[str, Any]], now: float) -> list[str]:
        """Return the blocks that no manager serves, any more or yet, for too long; they are to be ended."""
        served = {manager["block_id"] for manager in managers}
        self._connected |= served
        if served:
            self._late_starts = 0
        if not isinstance(self._executor, HighThroughputExecutor):
            return []
        running = {block for block, job in self._jobs() if job.state == JobState.RUNNING} - served
        silent, starting = running & self._connected, running - self._connected
        self._silent_since = {block: self._silent_since.get(block, now) for block in silent}
        self._starting_since = {block: self._starting_since.get(block, now) for block in starting}
        mute = [block for block, since in self._silent_since.items() if now - since > SILENT_LIMIT_S]
        return mute + self._late(now)

    def _late(self, now: float) -> list[str]:
        """Return the blocks whose managers ought to have connected by now."""
        is_local = isinstance(self._executor.provider, LocalProvider)
        limit = (START_LIMIT_S if is_local else BATCH_START_LIMIT_S) * 2.0**self._late_starts
        late = [block for block, since in self._starting_since.items() if now - since > limit]
        if late:
            self._late_starts = min(self._late_starts + 1, _MOST_DOUBLINGS)
            self.trouble = f"block {late[0]} was ended: its manager did not connect within {limit:.0f} s"
        return late

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return the blocks that live: state, job and reason."""
        return {
            block: {
                "state": job.state.name.lower(),
                "job": self._executor.blocks_to_job_id.get(block),
                "reason": job.message or self._reason(block, job.state),
            }
            for block, job in self._jobs()
            if job.state in LIVE
        }

    def end(self, block: str) -> bool:
        """Cancel a block; on this machine, kill it, since a stopped process heeds nothing less."""
        executor = self._executor
        job = executor.blocks_to_job_id.get(block)
        if job is None or executor.status_facade[block].state not in LIVE:
            return False
        if isinstance(executor.provider, LocalProvider):
            _kill_group(int(executor.provider.resources[job]["remote_pid"]))
        executor.provider.cancel([job])
        status = JobStatus(JobState.SCALED_IN)
        executor._simulated_status[block] = executor._status[block] = status  # as scale_in_facade does
        self._silent_since.pop(block, None)
        self._starting_since.pop(block, None)
        logger.warning("Block %s (job %s) was ended.", block, job)
        return True

    def _fail(self, block: str, job: Any, now: float) -> None:
        self._seen.add(block)
        self._failures = 0 if block in self._connected else self._failures + 1
        self._until = now + min(2.0**self._failures - 1.0, BACKOFF_LIMIT_S)
        self.trouble = f"block {block} {job.state.name.lower()}: {_explain(job)}"
        logger.warning("%s", self.trouble)

    def _jobs(self) -> list[tuple[str, Any]]:
        return list(self._executor.status_facade.items())

    def _reason(self, block: str, state: JobState) -> str:
        if state != JobState.RUNNING or not isinstance(self._executor, HighThroughputExecutor):
            return ""
        if block in self._silent_since:
            return "but its manager is not heard any more"
        return "" if block in self._connected else "but its manager has not connected yet"


def guard_scale_in(executor: Any) -> None:
    """Have "scale in by no block" end none: Parsl's strategy asks for that, and its executor ends all.

    The victims would be the blocks that are just starting, whose workers nobody has kept busy yet:
    they would be launched and ended again without end whenever a block has more workers than are wanted.
    """
    scale_in = executor.scale_in

    def guarded(blocks: int, *args: Any, **kwargs: Any) -> list[str]:
        return list(scale_in(blocks, *args, **kwargs)) if blocks > 0 else []

    executor.scale_in = guarded


def _explain(job: Any) -> str:
    words = [job.message or "", f"exit code {job.exit_code}" if job.exit_code is not None else ""]
    words.append((job.stderr_summary or "").strip()[-500:])
    return "; ".join(word for word in words if word) or "no reason given"


def _kill_group(pid: int) -> None:
    try:
        group = os.getpgid(pid)
        if group != os.getpgrp():
            os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself
