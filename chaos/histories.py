"""Random histories of the real decision modules: ``python -m chaos.histories --histories 200000``.

Client, hub service, two agents with one key and their workers live in one process, without sockets, threads
or real time; a seed decides what happens next and what goes wrong.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chaos.model.store import Disk
from chaos.model.world import TASKS, World

#: Histories that once had a flaw; they are run first. What each showed, in its day:
REGRESSIONS = {
    57: "a task whose function was lost on its way failed as FUNCTION_NOT_FOUND",
    599: "a task that an earlier process had handed over was cancelled without asking the service",
    263: "a task cancelled before it left stayed in the journal, and ran from there",
    100589: "a task that came again while its cancelled call ran was forgotten by the engine",
    101540: "the same, at the other agent",
}
_TITLE = "Histories of a model world"
_disk: list[Disk] = []


@dataclass
class Summary:
    """What some histories gave."""

    histories: int = 0
    starts: int = 0
    #: seconds of a core
    seconds: float = 0.0
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    #: by seed, and in each by kind what was seen first
    flawed: dict[int, dict[str, Any]] = field(default_factory=dict)

    def add(self, other: Summary) -> None:
        """Add what others gave."""
        self.histories += other.histories
        self.starts += other.starts
        self.seconds += other.seconds
        self.outcomes += other.outcomes
        self.flawed |= other.flawed

    @property
    def kinds(self) -> collections.Counter[str]:
        """How many histories had each kind of flaw."""
        return collections.Counter(kind for flaws in self.flawed.values() for kind in flaws)

    def __str__(self) -> str:
        tasks = self.histories * TASKS
        return (
            f"{self.histories} histories, {tasks} tasks, {self.starts / max(1, tasks):.2f} starts a task, "
            f"{len(self.flawed)} flaws, {1000 * self.seconds / max(1, self.histories):.0f} ms of a core each"
        )


def live(seed: int) -> World:
    """Return the world at the end of one history."""
    if not _disk:
        _disk.append(Disk())
    world = World(seed, _disk[0])
    world.run()
    return world


def history(seed: int) -> dict[str, Any]:
    """Return the flaws of one history: kind -> what was seen first."""
    return live(seed).truth.flaws


def _part(seeds: range) -> Summary:
    summary, begun = Summary(len(seeds)), time.process_time()
    for seed in seeds:
        try:
            truth = live(seed).truth
        except Exception:  # a flaw like any other: the search goes on
            summary.flawed[seed] = {"exception": traceback.format_exc(limit=-4)[-1000:]}
            continue
        summary.starts += sum(truth.starts.values())
        summary.outcomes.update(code or state for state, _, code in truth.shown.values())
        if truth.flaws:
            summary.flawed[seed] = truth.flaws
    summary.seconds = time.process_time() - begun
    return summary


def run(first: int, count: int, jobs: int) -> Iterator[Summary]:
    """Yield summaries of ``count`` histories from seed ``first``, some at a time, and of the regressions."""
    size = max(1, min(200, count // (4 * jobs)))
    parts = [range(start, min(start + size, first + count)) for start in range(first, first + count, size)]
    known = [range(seed, seed + 1) for seed in REGRESSIONS if not first <= seed < first + count]
    with multiprocessing.Pool(jobs) as pool:
        for found in pool.imap_unordered(_part, known):
            found.histories = 0  # not of those that were asked for
            yield found
        yield from pool.imap_unordered(_part, parts)


def _tell(seed: int) -> int:
    """Print what happened in one history; 1 if it had a flaw."""
    world = live(seed)
    for task_id in world.truth.tasks:
        runs = world.truth.starts[task_id]
        print(f"{task_id} {world.truth.shown.get(task_id)} {runs} runs")
    print(f"ended at {world.clock.now:.3f}; flaws: {world.truth.flaws}")
    return int(bool(world.truth.flaws))


def section(summary: Summary, command: str) -> str:
    """Return the section of docs/reliability.md."""
    outcomes = ", ".join(f"{count:,} {name}" for name, count in summary.outcomes.most_common())
    flaws = "\n".join(f"* {count} × {kind}" for kind, count in summary.kinds.most_common())
    tasks = summary.histories * TASKS
    return f"""`{command}`: SDK, hub service, agent and engine decide in
modules without I/O. Here they all live in one process on a stepped clock, over SQLite, and a seed decides
what comes next: frames lost, doubled, reordered and very late; programs that die; commits that stall while
tasks have left already, and are then lost; full disks; two agents with one key; spools lost, deleted and
copied; workers that die, are cut off or wrongly given up; clients that die, hang up and come again.

| histories | tasks | executions per task | histories with a flaw |
|---:|---:|---:|---:|
| {summary.histories:,} | {tasks:,} | {summary.starts / max(1, tasks):.2f} | {len(summary.flawed)} |

How the tasks ended: {outcomes}.
{flaws}"""


def main(argv: list[str] | None = None) -> int:
    """Run histories and say what was found; 0 if there was no flaw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", type=int, metavar="SEED", help="run this history alone, and tell of it")
    parser.add_argument("--write", action="store_true", help="write the section of docs/reliability.md")
    given = parser.parse_args(argv)
    if given.one is not None:
        return _tell(given.one)
    total = Summary()
    for found in run(given.seed, given.histories, given.jobs):
        total.add(found)
        for seed, flaws in found.flawed.items():
            print(f"history {seed}: {flaws}", flush=True)
    print(total)
    for kind, count in total.kinds.most_common():
        print(f"  {count:6} {kind}")
    if given.write:
        from chaos.report import PAGE, write

        command = f"python -m chaos.histories --histories {given.histories} --seed {given.seed}"
        write(PAGE, _TITLE, section(total, command))
    return int(bool(total.flawed))


if __name__ == "__main__":
    sys.exit(main())
