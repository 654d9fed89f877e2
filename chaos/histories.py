"""Random histories of the real decision modules: ``python -m chaos.histories --histories 200000``."""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterable
from typing import Any

from chaos.model.store import Disk
from chaos.model.world import TASKS, one

_disk: list[Disk] = []


def history(seed: int) -> dict[str, Any]:
    """Return the flaws of one history: kind -> what was seen first."""
    if not _disk:
        _disk.append(Disk())
    return one(seed, _disk[0])


def _part(seeds: range) -> list[tuple[int, dict[str, Any]]]:
    return [(seed, flaws) for seed in seeds if (flaws := _safely(seed))]


def _safely(seed: int) -> dict[str, Any]:
    try:
        return history(seed)
    except Exception:  # a flaw like any other: the search goes on
        return {"exception": traceback.format_exc(limit=-4)[-600:]}


def run(first: int, count: int, jobs: int) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yield the seeds with flaws among ``count`` from ``first``."""
    size = max(1, min(50, count // (4 * jobs)))
    parts = [range(start, min(start + size, first + count)) for start in range(first, first + count, size)]
    with multiprocessing.Pool(jobs) as pool:
        for found in pool.imap_unordered(_part, parts):
            yield from found


def main(argv: list[str] | None = None) -> int:
    """Run histories and say what was found; 0 if there was no flaw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", type=int, help="run this history alone, in this process")
    given = parser.parse_args(argv)
    if given.one is not None:
        flaws = history(given.one)
        print(flaws)
        return bool(flaws)
    begun, used = time.monotonic(), sum(os.times()[:4])
    kinds: collections.Counter[str] = collections.Counter()
    for seed, flaws in run(given.seed, given.histories, given.jobs):
        kinds.update(flaws.keys())
        print(f"history {seed}: {flaws}", flush=True)
    seconds = time.monotonic() - begun
    print(
        f"{given.histories} histories, {given.histories * TASKS} tasks, {sum(kinds.values())} flaws, "
        f"{seconds:.0f} s ({1000 * (sum(os.times()[:4]) - used) / given.histories:.0f} ms of a core each)"
    )
    for kind, count in kinds.most_common():
        print(f"  {count:6} {kind}")
    return bool(kinds)


if __name__ == "__main__":
    sys.exit(main())
