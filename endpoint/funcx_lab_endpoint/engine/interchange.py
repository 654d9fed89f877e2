"""``python -m funcx_lab_endpoint.engine.interchange``: Parsl's interchange, which hears who dials twice.

A manager first tries whether it gets through, then dials again under the same name and waits without
end for an answer. If the network failed in between, the first connection still stands here, and by
ZeroMQ's default whoever comes second under a name is never heard. Here the newer connection counts.
"""

from __future__ import annotations

import pickle
import sys

import zmq
from parsl.executors.high_throughput.interchange import Interchange
from parsl.utils import setproctitle


def main() -> None:
    """Do as Parsl's ``interchange.py`` does."""
    setproctitle("parsl: HTEX interchange")
    # From the engine process, through a pipe of its own.
    interchange = Interchange(**pickle.load(sys.stdin.buffer))  # noqa: S301
    interchange.manager_sock.setsockopt(zmq.ROUTER_HANDOVER, 1)
    interchange.start()


if __name__ == "__main__":
    main()
