"""dask.distributed with its default scheduler and one thread a worker process."""

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster

from benchmarks.peers import Peer


@contextmanager
def open_peer(workers: int, directory: str) -> Iterator[Peer]:
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, local_directory=directory
        ) as cluster,
        Client(cluster) as client,
    ):

        def submit(function, *args):
            return client.submit(function, *args, pure=False)

        def map_all(function, items):
            return client.gather(client.map(function, list(items), pure=False, batch_size=100))

        yield Peer(submit, map_all)
