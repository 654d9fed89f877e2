"""What is done to a run: each fault begins, lasts, and ends; recovery counts from its end."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from chaos import network

if TYPE_CHECKING:
    from chaos.run import Run

#: Programs of the service; workers are found by what they run, and the client is started by the run.
PROGRAMS = ("hub", "agent", "engine", "interchange", "manager")
VICTIMS = (*PROGRAMS, "busy worker", "idle worker", "client")
_LASTING = ("freeze", "cut", "one-way cut")
#: So long an idle worker is waited for, before the one that began longest ago is taken.
_IDLE_S = 3.0


@dataclass(slots=True)
class Fault:
    """One thing that was done.

    Attributes
    ----------
    kind : {"kill -9", "freeze", "cut", "one-way cut", "reset"}
        What was done.
    victim : str
        To whom.
    seconds : float
        How long a freeze or a cut lasts.
    ended : float
        Monotonic time at which it was over.
    recovery : float or None
        Seconds from then until the client saw the outcome of a run that had begun after it.
    silence : float
        The longest time in seconds, from then to the next fault, in which the client saw no outcome.
    """

    kind: str
    victim: str
    seconds: float = 0.0
    ended: float = 0.0
    recovery: float | None = None
    silence: float = 0.0

    @property
    def name(self) -> str:
        """What people read."""
        return f"{self.kind} {self.victim}"

    def do(self, run: Run) -> None:
        """Find the victim, do it, and return when it is over."""
        if self.kind == "cut":
            with network.cut():
                time.sleep(self.seconds)  # this is the fault
        elif self.kind == "one-way cut":
            with network.cut_one_way(run.lab.home, self.victim):
                time.sleep(self.seconds)  # this is the fault
        elif self.kind == "reset":
            network.reset(run.lab.home, self.victim)
        elif self.kind == "freeze":
            _freeze(_pid_of(self.victim, run), self.seconds)
        else:
            with contextlib.suppress(ProcessLookupError):  # it came to its end by itself
                os.kill(_pid_of(self.victim, run), signal.SIGKILL)
            if self.victim == "client":
                run.restart_client()
        self.ended = time.monotonic()


def _freeze(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)  # this is the fault
    finally:
        with contextlib.suppress(ProcessLookupError):  # a watchdog ended it meanwhile
            os.kill(pid, signal.SIGCONT)


def _pid_of(victim: str, run: Run) -> int:
    if victim == "client":
        return run.client.pid
    if victim in PROGRAMS:
        return run.lab.find(victim).pid
    return _worker(run, busy=victim == "busy worker")


def _worker(run: Run, *, busy: bool) -> int:
    """Return a process that runs a task now, or one that does not, if there is one soon."""
    deadline = time.monotonic() + _IDLE_S
    while True:
        workers = run.workers()
        for pid, is_busy in workers.items():
            if is_busy == busy and psutil.pid_exists(pid):
                return pid
        alive = [pid for pid in workers if psutil.pid_exists(pid)]
        if time.monotonic() > deadline and alive:
            return alive[0]
        time.sleep(0.02)


def plan(
    kills: int,
    freezes: int,
    seed: int,
    longest_freeze_s: float,
    cuts: int = 0,
    resets: int = 0,
    one_way_cuts: int = 0,
) -> Iterator[Fault]:
    """Yield the faults of a run in the order that ``seed`` gives; every victim gets its share."""
    chance = random.Random(f"faults {seed}")
    faults = [("kill -9", victim) for victim in _shares(kills, VICTIMS, chance)]
    faults += [("freeze", victim) for victim in _shares(freezes, VICTIMS, chance)]
    faults += [("cut", network.ALL_LINKS)] * cuts
    faults += [("reset", victim) for victim in _shares(resets, tuple(network.LINKS), chance)]
    faults += [("one-way cut", victim) for victim in _shares(one_way_cuts, tuple(network.ONE_WAY), chance)]
    chance.shuffle(faults)
    for kind, victim in faults:
        # Most are short, as most faults are.
        seconds = 0.5 * math.exp(chance.uniform(0, math.log(2 * longest_freeze_s)))
        yield Fault(kind, victim, seconds if kind in _LASTING else 0.0)


def _shares(count: int, victims: Sequence[str], chance: random.Random) -> list[str]:
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += chance.sample(victims, len(victims))
    return chosen[:count]
