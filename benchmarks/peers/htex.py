"""Parsl's HighThroughputExecutor without the DataFlowKernel."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from parsl.executors import HighThroughputExecutor
from parsl.jobs.job_status_poller import JobStatusPoller
from parsl.providers import LocalProvider

from benchmarks.peers import Peer


def executor(workers: int, encrypted: bool, blocks: int = 1) -> HighThroughputExecutor:
    return HighThroughputExecutor(
        label="bench",
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        max_workers_per_node=workers,
        prefetch_capacity=8,
        encrypted=encrypted,
        provider=LocalProvider(init_blocks=blocks, min_blocks=blocks, max_blocks=1),
    )


@contextmanager
def open_peer(workers: int, directory: str, *, encrypted: bool) -> Iterator[Peer]:
    htex = executor(workers, encrypted, blocks=0)  # started by hand below, so that nobody adds a second
    htex.run_id, htex.run_dir = "bench", directory
    htex.provider.script_dir = os.path.join(directory, "scripts")
    os.makedirs(htex.provider.script_dir, exist_ok=True)
    htex.start()
    poller = JobStatusPoller(strategy="none", max_idletime=120, strategy_period=5)
    poller.add_executors([htex])
    htex.scale_out_facade(1)

    def submit(function, *args):
        return htex.submit(function, {}, *args)

    def map_all(function, items):
        return [future.result() for future in [submit(function, item) for item in items]]

    try:
        yield Peer(submit, map_all)
    finally:
        poller.close()
        htex.shutdown()
