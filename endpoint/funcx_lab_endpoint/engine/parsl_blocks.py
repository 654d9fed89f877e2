"""Sessions on Parsl executors: blocks, managers and workers are Parsl's. It and `block_care` know Parsl.

The executors run without the DataFlowKernel. What is set against the user's config, and why:
prefetch 0 (a second session would sit behind a busy worker), short heartbeats (a killed worker
comes back only after one), an own block error handler (the default one ends the executor for good
after one dead block).
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import time
from pathlib import Path
from typing import Any

from parsl.addresses import get_all_addresses
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_INTERCHANGE_LAUNCH_CMD
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.job_status_poller import JobStatusPoller
from parsl.launchers import SimpleLauncher, SingleNodeLauncher
from parsl.providers import LocalProvider

from funcx_lab.errors import WorkerLost
from funcx_lab_endpoint.config import EndpointConfig
from funcx_lab_endpoint.engine.block_care import BlockCare, guard_scale_in
from funcx_lab_endpoint.engine.processes import cores
from funcx_lab_endpoint.worker.session import serve

logger = logging.getLogger(__name__)

HEARTBEAT_S = 2
HEARTBEAT_LIMIT_S = 8
STRATEGY_PERIOD_S = 1.0


class ParslBlocks:
    """Opens sessions as tasks of Parsl executors and lets Parsl scale their blocks.

    Parameters
    ----------
    config : EndpointConfig
        The endpoint's config.
    directory : Path
        Where Parsl keeps logs, scripts and certificates of this life of the engine.
    """

    def __init__(self, config: EndpointConfig, directory: Path) -> None:
        self._executors = list(config.executors) or [_default_executor(config)]
        self._config, self._directory = config, directory
        self._ended: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._open: dict[str, Any] = {}
        self._cares: list[BlockCare] = []
        idle = min(10.0, config.idle_seconds)
        self._poller = JobStatusPoller(
            strategy="htex_auto_scale", max_idletime=idle, strategy_period=STRATEGY_PERIOD_S
        )

    def start(self) -> dict[str, Any]:
        """Start the executors and return what the agent must know of them."""
        for executor in self._executors:
            self._prepare(executor)
            executor.start()
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
            listener = getattr(executor, "_result_queue_thread", None)
            if listener is not None and not listener.is_alive():
                raise WorkerLost(f"The thread of {executor.label} that takes results has died.")
        ended = []
        while not self._ended.empty():
            sid, how = self._ended.get()
            self._open.pop(sid, None)
            ended.append((sid, how))
        return ended

    def status(self) -> dict[str, Any]:
        """Return blocks with their states and reasons, managers and workers; end blocks that fell silent."""
        blocks: dict[str, Any] = {}
        nodes: dict[str, Any] = {}
        for care in self._cares:
            managers = care.managers()
            for block in care.look(managers, time.monotonic()):
                care.end(block)
            blocks.update({self._name(care, block): facts for block, facts in care.facts().items()})
            nodes.update(
                {
                    manager["manager"]: {
                        "block": self._name(care, manager["block_id"]),
                        "tasks": manager["tasks"],
                        "workers": manager["worker_count"],
                    }
                    for manager in managers
                }
            )
        return {
            "blocks": blocks,
            "nodes": nodes,
            "managers": len(nodes),
            "workers": sum(node["workers"] for node in nodes.values()),
            "jobs": [facts["job"] for facts in blocks.values() if facts["job"]],
            "trouble": "; ".join(care.trouble for care in self._cares if care.trouble),
        }

    def end_block(self, name: str) -> None:
        """End a block that takes sessions and starts none."""
        for care in self._cares:
            for block in care.facts():
                if self._name(care, block) == name:
                    care.end(block)

    def cancel(self, jobs: list[str]) -> None:
        """Cancel batch jobs that an earlier engine left behind, if the provider knows how."""
        for executor in self._executors:
            provider = getattr(executor, "provider", None)
            if provider is not None and not isinstance(provider, LocalProvider):
                _cancel(provider, jobs)

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
            guard_scale_in(executor)
            care = BlockCare(executor)
            executor.block_error_handler = care.handle
            self._cares.append(care)
        if isinstance(executor, HighThroughputExecutor):
            command = list(executor.interchange_launch_cmd)
            if command == DEFAULT_INTERCHANGE_LAUNCH_CMD:
                command = [sys.executable, "-m", "funcx_lab_endpoint.engine.interchange"]
            tether = [sys.executable, "-m", "funcx_lab_endpoint.engine.tether"]
            executor.interchange_launch_cmd = [*tether, *command]
            executor.prefetch_capacity = 0
            executor.heartbeat_period = HEARTBEAT_S
            executor.heartbeat_threshold = HEARTBEAT_LIMIT_S
            if _is_on_this_machine(executor):
                executor.address = "127.0.0.1"
                executor.all_addresses = {"127.0.0.1"}

    def _name(self, care: BlockCare, block: str) -> str:
        """Return a name for people; executors number their blocks each for itself."""
        return block if len(self._cares) == 1 else f"{care.label}/{block}"


def _cancel(provider: Any, jobs: list[str]) -> None:
    """Cancel jobs that this provider did not submit in this life."""
    resources = getattr(provider, "resources", {})
    strange = [job for job in jobs if job not in resources]
    resources.update({job: {"job_id": job, "status": None} for job in strange})
    try:
        provider.cancel(strange)
    except Exception:  # providers raise what they like; the jobs end by themselves without an interchange
        logger.exception("Batch jobs %s of an earlier engine could not be cancelled", strange)
    for job in strange:
        resources.pop(job, None)


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
