"""concurrent.futures.ProcessPoolExecutor: the floor on one machine."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from benchmarks.peers import Peer


@contextmanager
def open_peer(workers: int, directory: str) -> Iterator[Peer]:
    with ProcessPoolExecutor(workers) as pool:
        yield Peer(pool.submit, lambda function, items: list(pool.map(function, items, chunksize=100)))
