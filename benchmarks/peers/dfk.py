"""Parsl as its users use it: python apps through the DataFlowKernel."""

from collections.abc import Iterator
from contextlib import contextmanager

import parsl
from parsl.app.python import PythonApp

from benchmarks.peers import Peer
from benchmarks.peers.htex import executor


@contextmanager
def open_peer(workers: int, directory: str) -> Iterator[Peer]:
    config = parsl.Config(executors=[executor(workers, encrypted=True)], run_dir=directory, strategy="none")
    with parsl.load(config):
        apps = {}

        def submit(function, *args):
            app = apps.setdefault(function, PythonApp(function))
            return app(*args)

        def map_all(function, items):
            return [future.result() for future in [submit(function, item) for item in items]]

        yield Peer(submit, map_all)
