"""One peer a file. Each has ``open_peer(workers, directory)``, a context manager that gives a `Peer`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

#: In the order of the table: what it is called there, and the packages whose versions matter.
PEERS = {
    "ours": ("funcx-lab (durable, authenticated, CURVE)", ("parsl", "tornado", "pyzmq")),
    "htex_encrypted": ("HTEX direct, prefetch 8, encrypted", ("parsl",)),
    "htex": ("HTEX direct, prefetch 8, not encrypted", ("parsl",)),
    "dfk": ("Parsl DataFlowKernel, prefetch 8", ("parsl",)),
    "dask": ("Dask distributed", ("distributed",)),
    "ipyparallel": ("ipyparallel", ("ipyparallel",)),
    "process_pool": ("ProcessPoolExecutor (no network, not durable)", ()),
}


@dataclass
class Peer:
    """A running peer.

    Attributes
    ----------
    submit : callable
        ``submit(function, *args)`` gives something with ``result()``.
    map_all : callable
        ``map_all(function, items)`` gives the list of results, chunked as the peer does best.
    """

    submit: Callable[..., Future[Any] | Any]
    map_all: Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]


def open_peer(name: str, workers: int, directory: str) -> AbstractContextManager[Peer]:
    """Start the peer called ``name`` with ``workers`` worker processes and its files in ``directory``."""
    module = importlib.import_module(f"benchmarks.peers.{name.removesuffix('_encrypted')}")
    if name.startswith("htex"):
        return module.open_peer(workers, directory, encrypted=name.endswith("_encrypted"))  # type: ignore[no-any-return]
    return module.open_peer(workers, directory)  # type: ignore[no-any-return]
