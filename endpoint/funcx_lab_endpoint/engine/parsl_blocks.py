"""Sessions on Parsl executors: blocks, managers and workers are Parsl's. The only file that knows Parsl.

The executors run without the DataFlowKernel. What is set against the user's config, and why:
prefetch 0 (a second session would sit behind a busy worker), short heartbeats (a killed worker
comes back only after one), an own block error handler (the default one ends the executor for good
after one dead block).
"""

from __future__ import annotations

import logging
import os
import queue
import time
from pathlib import Path
from typing import Any

from parsl.addresses import get_all_addresses
from parsl.executors import HighThroughputExecutor
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.job_status_poller import JobStatusPoller
from parsl.jobs.states import JobState
from parsl.launchers import SimpleLauncher, SingleNodeLauncher
from parsl.providers import LocalProvider

from funcx_lab.errors import WorkerLost
from funcx_lab_endpoint.config import EndpointConfig
from funcx_lab_endpoint.engine.processes import cores
from funcx_lab_endpoint.worker.session import serve

logger = logging.getLogger(__name__)

HEARTBEAT_S = 2
HEARTBEAT_LIMIT_S = 8
STRATEGY_PERIOD_S = 1.0
#: Blocks that fail are asked for again after 1, 2, 4 ... seconds, at most this many.
BACKOFF_LIMIT_S = 60.0
_LIVE = (JobState.PENDING, JobState.RUNNING, JobState.HELD, JobState.UNKNOWN)
_BAD = (JobState.FAILED, JobState.MISSING, JobState.CANCELLED)


class ParslBlocks:
    """Opens sessions as tasks of Parsl executors and lets Parsl scale their blocks.

    Parameters
    ----------
    config : EndpointConfig
        The endpoint's config.
    directory : Path
        Where Parsl keeps logs, scripts and certificates of this life of the engine.
    old_jobs : list of str
        Batch jobs that an earlier life left behind; cancelled if the provider knows how.
    """

    def __init__(self, config: EndpointConfig, directory: Path, old_jobs: list[str]) -> None:
        self._executors = list(config.executors) or [_default_executor(config)]
        self._config, self._directory = config, directory
        self._old_jobs = old_jobs
        self._ended: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._open: dict[str, Any] = {}
        self._backoffs = {executor.label: _Backoff() for executor in self._executors}
        idle = min(10.0, config.idle_seconds)
        self._poller = JobStatusPoller(
            strategy="htex_auto_scale", max_idletime=idle, strategy_period=STRATEGY_PERIOD_S
        )

    def start(self) -> dict[str, Any]:
        """Start the executors and return what the agent must know of them."""
        for executor in self._executors:
            self._prepare(executor)
            executor.start()
        self._cancel_old_jobs()
        initial = sum(_slots(executor, "init_blocks") for executor in self._executors)
        scaled = [executor for executor in self._executors if isinstance(executor, BlockProviderExecutor)]
        for executor in scaled:
            # Parsl's poller would ask for the first blocks a second later.
            executor.scale_out_facade(executor.provider.init_blocks)
            executor.provider.init_blocks = 0
        self._poller.add_executors(scaled)
        first = self._executors[0]
        is_local = all(_is_on_this_machine(executor) for executor in self._executors)
        return {
            "interface": "127.0.0.1" if is_local else "*",
            "addresses": ["127.0.0.1"] if is_local else _addresses(first),
            "ports": None if is_local else getattr(first, "worker_port_range", None),
            "encrypted": getattr(first, "encrypted", True),
            "limit": sum(_slots(executor, "max_blocks") for executor in self._executors),
            "initial": initial,
            "minimum": sum(_slots(executor, "min_blocks") for executor in self._executors),
            "tells_exit": False,
            "watch": [
                executor.interchange_proc.pid
                for executor in self._executors
                if getattr(executor, "interchange_proc", None) is not None
            ],
        }

    def open(self, arguments: dict[str, Any]) -> None:
        """Ask the least loaded executor to run a session."""
        executor = min(self._executors, key=_load)
        sid = arguments["sid"]
        future = executor.submit(serve, {}, arguments)
        self._open[sid] = future
        future.add_done_callback(lambda done: self._ended.put((sid, _how(done))))

    def poll(self) -> list[tuple[str, str]]:
        """Return the sessions that Parsl says have ended, and how.

        Raises
        ------
        WorkerLost
            If an executor cannot go on and must be built anew.
        """
        for executor in self._executors:
            interchange = getattr(executor, "interchange_proc", None)
            if interchange is not None and interchange.poll() is not None:
                raise WorkerLost(f"The interchange of {executor.label} ended with code {interchange.poll()}.")
            if executor.bad_state_is_set:
                raise WorkerLost(f"{executor.label} is broken: {executor.executor_exception}")
        ended = []
        while not self._ended.empty():
            sid, how = self._ended.get()
            self._open.pop(sid, None)
            ended.append((sid, how))
        return ended

    def status(self) -> dict[str, Any]:
        """Return blocks with their states and reasons, managers and workers."""
        facts: dict[str, Any] = {"blocks": {}, "managers": 0, "workers": 0, "jobs": []}
        for executor in self._executors:
            if not isinstance(executor, BlockProviderExecutor):
                continue
            for block, status in list(executor.status_facade.items()):
                if status.state in _LIVE:
                    job = executor.blocks_to_job_id.get(block)
                    facts["blocks"][block] = {
                        "state": status.state.name.lower(),
                        "job": job,
                        "reason": status.message or "",
                    }
                    facts["jobs"].append(job)
            facts.setdefault("trouble", self._backoffs[executor.label].trouble)
            if isinstance(executor, HighThroughputExecutor):
                managers = [manager for manager in executor.connected_managers() if manager["active"]]
                facts["managers"] += len(managers)
                facts["workers"] += sum(manager["worker_count"] for manager in managers)
        return facts

    def stop(self) -> None:
        """Cancel every block and end the executors."""
        self._poller.close()
        for executor in self._executors:
            executor.shutdown()

    def _prepare(self, executor: Any) -> None:
        executor.run_id = self._directory.name
        executor.run_dir = str(self._directory)
        provider = getattr(executor, "provider", None)
        if provider is not None:
            provider.script_dir = str(self._directory / "submit_scripts")
            os.makedirs(provider.script_dir, mode=0o700, exist_ok=True)
        if isinstance(executor, BlockProviderExecutor):
            backoff = self._backoffs[executor.label]
            executor.block_error_handler = backoff.handle
            backoff.max_blocks = executor.provider.max_blocks
        if isinstance(executor, HighThroughputExecutor):
            executor.prefetch_capacity = 0
            executor.heartbeat_period = HEARTBEAT_S
            executor.heartbeat_threshold = HEARTBEAT_LIMIT_S
            if _is_on_this_machine(executor):
                executor.address = "127.0.0.1"
                executor.all_addresses = {"127.0.0.1"}

    def _cancel_old_jobs(self) -> None:
        provider = getattr(self._executors[0], "provider", None)
        if not self._old_jobs or provider is None or isinstance(provider, LocalProvider):
            return
        resources = getattr(provider, "resources", {})
        for job in self._old_jobs:
            resources.setdefault(job, {"job_id": job, "status": None})
        try:
            provider.cancel(self._old_jobs)
        except Exception:  # providers raise what they like; the jobs end by themselves without us
            logger.exception("Batch jobs %s of an earlier engine could not be cancelled", self._old_jobs)
        for job in self._old_jobs:
            resources.pop(job, None)


class _Backoff:
    """Asks for failing blocks ever more slowly instead of giving the executor up."""

    def __init__(self) -> None:
        self.max_blocks = 1
        self.trouble = ""
        self._seen: set[str] = set()
        self._failures = 0
        self._until = 0.0

    def handle(self, executor: Any, status: dict[str, Any]) -> None:
        """Parsl's ``block_error_handler``: called after each look at the blocks."""
        now = time.monotonic()
        connected = set(executor.connected_blocks()) if hasattr(executor, "connected_blocks") else set()
        for block, job in status.items():
            if job.state in _BAD and block not in self._seen:
                self._seen.add(block)
                self._failures = 0 if block in connected else self._failures + 1
                self._until = now + min(2.0**self._failures - 1.0, BACKOFF_LIMIT_S)
                self.trouble = f"block {block} {job.state.name.lower()}: {_explain(job)}"
                logger.warning("%s", self.trouble)
            elif job.state == JobState.RUNNING and block in connected:
                self._failures, self.trouble = 0, ""
        live = sum(job.state in _LIVE for job in status.values())
        # Parsl's strategy never goes over max_blocks: holding it down is how one says "not now".
        executor.provider.max_blocks = self.max_blocks if now >= self._until else min(live, self.max_blocks)


def _explain(job: Any) -> str:
    words = [job.message or "", f"exit code {job.exit_code}" if job.exit_code is not None else ""]
    words.append((job.stderr_summary or "").strip()[-500:])
    return "; ".join(word for word in words if word) or "no reason given"


def _default_executor(config: EndpointConfig) -> HighThroughputExecutor:
    provider = config.provider or LocalProvider(
        init_blocks=config.init_blocks,
        min_blocks=config.min_blocks,
        max_blocks=config.max_blocks,
        worker_init=config.worker_init,
    )
    return HighThroughputExecutor(
        label="htex",
        provider=provider,
        address=config.address,
        max_workers_per_node=config.max_workers_per_node or cores(),
    )


def _is_on_this_machine(executor: Any) -> bool:
    provider = getattr(executor, "provider", None)
    if not isinstance(provider, LocalProvider) or getattr(executor, "address", None) not in (
        None,
        "127.0.0.1",
    ):
        return False
    return isinstance(provider.launcher, (SimpleLauncher, SingleNodeLauncher))


def _addresses(executor: Any) -> list[str]:
    return sorted(getattr(executor, "all_addresses", None) or get_all_addresses())


def _slots(executor: Any, blocks: str) -> int:
    provider = getattr(executor, "provider", None)
    if provider is None:
        return cores()
    per_block = executor.workers_per_node * provider.nodes_per_block
    return max(int(getattr(provider, blocks) * per_block), 0)


def _load(executor: Any) -> float:
    outstanding = executor.outstanding() if hasattr(executor, "outstanding") else 0
    return float(outstanding) / max(1, _slots(executor, "max_blocks"))


def _how(future: Any) -> str:
    error = future.exception()
    if error is None:
        return str(future.result().get("reason", "ended"))
    return f"{type(error).__name__}: {error}"
