"""What is done to a run: each fault begins, lasts, and ends; recovery counts from its end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from chaos.run import Run

#: Programs of the service; workers are found by what they run, and the client is started by the run.
PROGRAMS = ("hub", "agent", "engine", "interchange", "manager")
VICTIMS = (*PROGRAMS, "busy worker", "idle worker", "client")
#: Links on this machine, and the port of the hub service's that each leads to; `cut` cuts all at once.
LINKS = {"agent's link": "forwarder", "client's link": "http"}
ALL_LINKS = "all links"
#: So long an idle worker is waited for, before the one that began longest ago is taken.
_IDLE_S = 3.0
_INSIDE = "CHAOS_NAMESPACE"


@dataclass(slots=True)
class Fault:
    """One thing that was done.

    Attributes
    ----------
    kind : {"kill -9", "freeze", "cut", "reset"}
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
            _set_loopback("down")
            time.sleep(self.seconds)  # this is the fault
            _set_loopback("up")
        elif self.kind == "reset":
            _reset(run.lab.home / "hub" / "ports.json", LINKS[self.victim])
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


def _set_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def _reset(ports: Path, name: str) -> None:
    """Break the connections to one of the hub service's ports, as a router that forgets them does."""
    port = json.loads(ports.read_text())[name]
    # It lists what it breaks, and complains at the end.
    subprocess.run(["ss", "-K", "dport", "=", str(port)], check=True, capture_output=True)


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
    kills: int, freezes: int, seed: int, longest_freeze_s: float, cuts: int = 0, resets: int = 0
) -> Iterator[Fault]:
    """Yield the faults of a run in the order that ``seed`` gives; every victim gets its share."""
    chance = random.Random(f"faults {seed}")
    faults = [("kill -9", victim) for victim in _shares(kills, VICTIMS, chance)]
    faults += [("freeze", victim) for victim in _shares(freezes, VICTIMS, chance)]
    faults += [("cut", ALL_LINKS)] * cuts
    faults += [("reset", victim) for victim in _shares(resets, tuple(LINKS), chance)]
    chance.shuffle(faults)
    for kind, victim in faults:
        # Most are short, as most faults are.
        seconds = 0.5 * math.exp(chance.uniform(0, math.log(2 * longest_freeze_s)))
        yield Fault(kind, victim, seconds if kind in ("freeze", "cut") else 0.0)


def _shares(count: int, victims: Sequence[str], chance: random.Random) -> list[str]:
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += chance.sample(victims, len(victims))
    return chosen[:count]


def in_namespace() -> None:
    """Go on in a network namespace of this run's own, where links can be cut; needs root."""
    if os.environ.get(_INSIDE) is None:
        up = 'ip link set lo up && exec "$@"'
        command = ["unshare", "--net", "sh", "-c", up, "sh", sys.executable, *sys.orig_argv[1:]]
        os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})
