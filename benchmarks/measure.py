"""Run some workloads on one peer in this process and print the figures as one line of JSON.

``python -m benchmarks.measure PEER W1 W2 ...``. W7 is this whole process: `benchmarks.run` times it
from outside until the line ``first result``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from benchmarks.functions import increment
from benchmarks.peers import open_peer
from benchmarks.workloads import WORKLOADS

WORKERS = 2


def main() -> None:
    name, *wanted = sys.argv[1:]
    # Parsl finds its interchange and worker pool by PATH.
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory:
        with open_peer(name, WORKERS, directory) as peer:
            assert peer.submit(increment, 1).result() == 2
            print("first result", flush=True)
            figures = {workload: WORKLOADS[workload](peer) for workload in wanted}
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
