"""Ours: the embedded hub service and its endpoint, started in a folder of their own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.peers import Peer
from funcx_lab import Executor
from funcx_lab.embedded import stop_service


@contextmanager
def open_peer(workers: int, directory: str) -> Iterator[Peer]:
    os.environ["FUNCX_LAB_HOME"] = directory
    try:
        with Executor("local") as pool:
            yield Peer(pool.submit, lambda function, items: list(pool.map(function, items, chunksize=None)))
    finally:
        stop_service()
