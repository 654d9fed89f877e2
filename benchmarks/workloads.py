"""The workloads. Each takes a running peer and gives named figures; performance is wall time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks.functions import increment, noop, sleep_10_ms
from benchmarks.peers import Peer

Figures = dict[str, float]


def sequential(peer: Peer, trips: int = 300) -> Figures:
    """W1: one no-op after another; milliseconds."""
    for _ in range(20):
        peer.submit(noop).result()
    times = []
    for _ in range(trips):
        start = time.perf_counter()
        peer.submit(noop).result()
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return {"p50_ms": statistics.median(times), "p95_ms": times[int(trips * 0.95)]}


def burst(peer: Peer, calls: int = 10_000) -> Figures:
    """W2: submit every no-op on its own, then gather; calls a second."""
    start = time.perf_counter()
    for future in [peer.submit(noop) for _ in range(calls)]:
        future.result()
    return {"per_s": calls / (time.perf_counter() - start)}


def mapped(peer: Peer, items: int = 10_000) -> Figures:
    """W3: one map over small items, chunked as the peer does best; items a second."""
    start = time.perf_counter()
    assert peer.map_all(increment, range(items)) == list(range(1, items + 1))
    return {"per_s": items / (time.perf_counter() - start)}


def ten_milliseconds(peer: Peer, calls: int = 2_000, workers: int = 2) -> Figures:
    """W5: 2,000 calls of 10 ms on two workers; makespan over the ideal."""
    start = time.perf_counter()
    for future in [peer.submit(sleep_10_ms, index) for index in range(calls)]:
        future.result()
    return {"x_ideal": (time.perf_counter() - start) / (calls * 0.01 / workers)}


WORKLOADS: dict[str, Callable[[Peer], Figures]] = {
    "W1": sequential,
    "W2": burst,
    "W3": mapped,
    "W5": ten_milliseconds,
}
