"""What is done to a run: each fault begins, lasts, and ends; recovery counts from its end."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from chaos.run import Run

#: Programs of the service; workers are found by what they run, and the client is started by the run.
PROGRAMS = ("hub", "agent", "engine", "interchange", "manager")
VICTIMS = (*PROGRAMS, "busy worker", "idle worker", "client")
#: So long an idle worker is waited for, before the one that began longest ago is taken.
_IDLE_S = 3.0


@dataclass(slots=True)
class Fault:
    """One thing that was done.

    Attributes
    ----------
    kind : {"kill -9", "freeze"}
        What was done.
    victim : str
        To whom.
    seconds : float
        How long a freeze lasts.
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
        pid = _pid_of(self.victim, run)
        if self.kind == "freeze":
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(self.seconds)  # this is the fault
            finally:
                with contextlib.suppress(ProcessLookupError):  # a watchdog ended it meanwhile
                    os.kill(pid, signal.SIGCONT)
        else:
            with contextlib.suppress(ProcessLookupError):  # it came to its end by itself
                os.kill(pid, signal.SIGKILL)
        if self.victim == "client" and self.kind == "kill -9":
            run.restart_client()
        self.ended = time.monotonic()


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


def plan(kills: int, freezes: int, seed: int, longest_freeze_s: float) -> Iterator[Fault]:
    """Yield the faults of a run in the order that ``seed`` gives; every victim gets its share."""
    chance = random.Random(f"faults {seed}")
    victims = {"kill -9": _shares(kills, chance), "freeze": _shares(freezes, chance)}
    kinds = ["kill -9"] * kills + ["freeze"] * freezes
    chance.shuffle(kinds)
    for kind in kinds:
        # Most are short, as most faults are.
        seconds = 0.5 * math.exp(chance.uniform(0, math.log(2 * longest_freeze_s)))
        yield Fault(kind, victims[kind].pop(), seconds if kind == "freeze" else 0.0)


def _shares(count: int, chance: random.Random) -> list[str]:
    victims: list[str] = []
    while len(victims) < count:
        victims += chance.sample(VICTIMS, len(VICTIMS))
    return victims[:count]
