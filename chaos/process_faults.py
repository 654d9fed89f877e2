"""What may happen around live programs: a clock that jumps, a program that is frozen, no descriptors left."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chaos.faults import Fault
from chaos.lab import Stuck, until
from chaos.run import Run
from chaos.scenario import END_S, Scenario, Trouble, hub_down, said

_HOUR, _TEN_YEARS = 3600, 10 * 365 * 86400
_FROZEN_S = 30.0
_LOOK_S = 1.2


# --- the wall clock ---------------------------------------------------------------------------------


def _own_clocks(run: Run) -> None:
    """Let hub service, agent and client each have a wall clock that can be set."""
    (run.directory / "clocks").mkdir()
    run.lab.environment |= {
        "PYTHONPATH": str(Path(__file__).with_name("clock")),
        "CHAOS_CLOCKS": str(run.directory / "clocks"),
    }


def _jumps(run: Run) -> Trouble:
    """Let each program's clock jump forth and back; the hub service is also started with a wrong one."""
    for program in ("hub", "agent", "client"):
        for seconds in (_HOUR, -_HOUR, _TEN_YEARS, -_TEN_YEARS):
            _set_clock(run, program, seconds)
            if program == "hub" and abs(seconds) == _TEN_YEARS:
                with hub_down(run):
                    pass
            _await_outcomes(run, f"with the clock of the {program} off by {seconds:+d} s")
        _set_clock(run, program, 0)
    jumps = said(run, "home/logs/hub.log", "The clock jumped by")
    if not jumps:
        raise Stuck("the hub service did not notice that its clock jumped")
    return Trouble(time.monotonic(), {"jumps that the hub service noticed": jumps})


def _set_clock(run: Run, program: str, seconds: int) -> None:
    scratch = run.directory / "clock.new"
    scratch.write_text(str(seconds))
    scratch.replace(run.directory / "clocks" / program)


def _await_outcomes(run: Run, when: str, count: int = 15) -> None:
    wanted = run.outcomes() + count
    until(lambda: run.outcomes() >= wanted, END_S, f"outcomes {when}")
    time.sleep(_LOOK_S)  # the hub service looks at its clock once a second


# --- frozen for half a minute -----------------------------------------------------------------------


def _frozen(victim: str) -> Callable[[Run], Trouble]:
    def freeze(run: Run) -> Trouble:
        fault = Fault("freeze", victim, _FROZEN_S)
        fault.do(run)
        return Trouble(fault.ended)

    return freeze


# --- no descriptors ---------------------------------------------------------------------------------


def _no_descriptors(run: Run) -> Trouble:
    """Leave the hub service no descriptor, knock at its door, see that what is connected goes on."""
    hub = run.lab.find("hub")
    old = resource.prlimit(hub.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (hub.num_fds(), old[1]))
    port = json.loads((run.lab.home / "hub" / "ports.json").read_text())["http"]
    before, busy = run.outcomes(), hub.cpu_times().user
    begin = time.monotonic()
    with _knocking(port, 50):
        until(lambda: run.outcomes() > before + 40, END_S, "outcomes without descriptors")
        outcomes, seconds = run.outcomes() - before, time.monotonic() - begin
        busy = hub.cpu_times().user - busy
    if not hub.is_running():
        raise Stuck("the hub service ended")
    resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, old)
    ended = time.monotonic()
    run.lab.command("status")
    seen = {"outcomes meanwhile": outcomes, "in s": seconds, "s of processor": busy}
    return Trouble(ended, {**seen, "lines in its log": said(run, "home/logs/hub.log", "Too many open files")})


@contextlib.contextmanager
def _knocking(port: int, count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        yield


SCENARIOS = {
    "clock jumps": Scenario(
        "the wall clocks of hub service, agent and client jump by an hour and by ten years, forth and back; "
        "the hub service is also started with a wrong one",
        _jumps,
        tasks=500,
        prepare=_own_clocks,
    ),
    "no descriptors": Scenario(
        "the hub service may open no file and take no connection; 50 knock at its port", _no_descriptors
    ),
    **{
        f"{victim} frozen 30 s": Scenario(
            f"{victim} gets SIGSTOP, and SIGCONT 30 s later", _frozen(victim), limit_s=limit_s, longest_s=0.5
        )
        for victim, limit_s in {"hub": 15.0, "agent": 15.0, "engine": 75.0, "manager": 75.0}.items()
    },
}
