"""Kill and freeze programs at random while tasks run, then compare three records.

``python -m chaos.run --kills 200 --tasks 20000``, or ``make chaos ARGS="..."``. Prints what it found and
rewrites the section `Random kills` of docs/reliability.md. Ends with status 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chaos import report
from chaos.checker import Verdict, check
from chaos.faults import Fault, plan
from chaos.lab import Lab, Stuck, until
from chaos.network import in_namespace
from chaos.records import SEEN, Execution, Tail, read_client, read_executions, read_hub

#: Without any outcome for so long, a run is stuck.
STUCK_S = 300.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is to do; the same settings give the same tasks and faults."""

    tasks: int = 1000
    kills: int = 10
    freezes: int = 0
    seed: int = 1
    longest_s: float = 0.5
    longest_freeze_s: float = 30.0
    workers: int = 4
    cuts: int = 0
    resets: int = 0
    one_way_cuts: int = 0

    def faults(self) -> list[Fault]:
        """Return what is done, in order."""
        network = (self.cuts, self.resets, self.one_way_cuts)
        return list(plan(self.kills, self.freezes, self.seed, self.longest_freeze_s, *network))

    @property
    def needs_namespace(self) -> bool:
        """Whether links are cut or broken."""
        return bool(self.cuts or self.resets or self.one_way_cuts)


@dataclass(slots=True)
class Result:
    """What a run gave."""

    settings: Settings
    verdict: Verdict
    faults: list[Fault]
    seconds: float
    #: processes that outlived the stop
    left: list[int] = field(default_factory=list)


class Run:
    """A run: a lab, a client, and who is looked at from outside.

    Parameters
    ----------
    directory : Path
        Of this run alone; holds the home and the records.
    settings : Settings
        What to do.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.settings = settings
        self.lab = Lab(directory / "home", settings.workers)
        self.group_id = str(uuid.uuid4())
        self._process: subprocess.Popen[bytes] | None = None
        self._seen, self._executions = Tail(directory / "client"), Tail(directory / "executions")
        self._begun: dict[str, float] = {}
        self._workers: dict[int, bool] = {}
        self._outcomes = 0
        self._fresh = 0.0
        self._latest, self._silence = 0.0, 0.0
        document = {**asdict(settings), "group_id": self.group_id}
        (directory / "client.json").write_text(json.dumps(document))

    # --- the client ---------------------------------------------------------------------------------

    @property
    def client(self) -> subprocess.Popen[bytes]:
        """The client's process."""
        assert self._process is not None, "it was not started"
        return self._process

    def start_client(self) -> None:
        """Start the client."""
        log = os.open(self.directory / "client.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chaos.client", str(self.directory)],
                env=self.lab.environment,
                cwd=Path(__file__).parents[1],
                stdout=log,
                stderr=log,
            )
        finally:
            os.close(log)

    def restart_client(self) -> None:
        """Start the client again after it was killed."""
        self.client.wait()
        self.start_client()

    # --- looking on ---------------------------------------------------------------------------------

    def workers(self) -> dict[int, bool]:
        """Return which processes have run tasks, the one that began longest ago first, and which do now."""
        self._look()
        return dict(self._workers)

    def outcomes(self) -> int:
        """Return how many tasks the client has seen end."""
        self._look()
        return self._outcomes

    def _look(self) -> None:
        for line in self._executions.lines():
            kind, _number, token, pid, at = line.split()
            if kind == "begin":
                self._begun[token] = float(at)
                self._workers.pop(int(pid), None)
            self._workers[int(pid)] = kind == "begin"
        for line in self._seen.lines():
            entry = json.loads(line)
            if entry[0] == SEEN:
                self._outcomes += 1
                if entry[2] > self._latest:
                    self._silence = max(self._silence, entry[2] - self._latest)
                    self._latest = entry[2]
                if entry[3] == "ok":
                    self._fresh = max(self._fresh, self._begun.get(entry[5], 0.0))

    def wait_for(self, outcomes: int) -> None:
        """Wait until the client has seen so many outcomes."""
        last, since = -1, time.monotonic()
        while (now := self.outcomes()) < outcomes:
            if now > last:
                last, since = now, time.monotonic()
            if time.monotonic() > since + STUCK_S:
                raise Stuck(f"{now} outcomes, and no further one within {STUCK_S:.0f} s")
            if self.client.poll() is not None:
                if self.client.returncode == 0:
                    return
                raise Stuck(
                    f"the client ended with {self.client.returncode}: see {self.directory}/client.log"
                )
            time.sleep(0.02)

    def hit(self, fault: Fault) -> None:
        """Do ``fault`` and wait until the outcome of a run that began after it is seen."""
        fault.do(self)
        self._look()
        self._latest, self._silence = fault.ended, 0.0

        def flows() -> bool:
            return self.freshest() > fault.ended or self.client.poll() is not None

        until(flows, STUCK_S, f"an outcome after {fault.name}")
        if self._fresh > fault.ended:
            fault.recovery = time.monotonic() - fault.ended

    def silence(self) -> float:
        """Return the longest time since the last fault without an outcome, in seconds."""
        self._look()
        return self._silence

    def freshest(self) -> float:
        """Return when the latest of the runs began whose outcome the client has seen (monotonic seconds)."""
        self._look()
        return self._fresh

    # --- the end ------------------------------------------------------------------------------------

    def end(self) -> list[int]:
        """End everything; return the processes that were left over."""
        if self._process is not None:
            self.client.kill()
            self.client.wait()
        return self.lab.stop()

    def judge(self, *, forgets: bool = False) -> Verdict:
        """Compare the records; the service has stopped. ``forgets``: its disk was hurt."""
        executions: list[Execution] = read_executions(self.directory / "executions")
        hub = read_hub(self.lab.home / "hub" / "hub.db", self.group_id)
        return check(read_client(self.directory / "client"), hub, executions, forgets=forgets)


def perform(settings: Settings, directory: Path, say: bool = False) -> Result:
    """Run it all in ``directory`` and return what it gave.

    Raises
    ------
    Stuck
        If nothing moves any more; everything has been ended then, too.
    """
    run, begin = Run(directory, settings), time.monotonic()
    faults = settings.faults()
    try:
        run.lab.start()
        run.start_client()
        for number, fault in enumerate(faults, 1):
            run.wait_for(number * settings.tasks // (len(faults) + 1))
            if number > 1:
                faults[number - 2].silence = run.silence()
            run.hit(fault)
            if say:
                seconds = "?" if fault.recovery is None else f"{fault.recovery:.1f} s"
                print(f"{run.outcomes()} tasks, {number}/{len(faults)} {fault.name}: {seconds}", flush=True)
        run.wait_for(settings.tasks + 1)
        if faults:
            faults[-1].silence = run.silence()
    finally:
        left = run.end()
    return Result(settings, run.judge(), faults, time.monotonic() - begin, left)


def main() -> None:
    """Read the command line, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how many programs are killed")
    parser.add_argument("--freezes", type=int, help="how many are frozen for a while; a quarter of the kills")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-ms", type=float, default=500, help="tasks take 0 to so many ms")
    parser.add_argument("--longest-freeze", type=float, default=30, metavar="S")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument(
        "--cuts", type=int, default=0, help="how often the network is cut for a while; needs root"
    )
    parser.add_argument("--resets", type=int, default=0, help="how often connections are broken; needs root")
    parser.add_argument(
        "--one-way-cuts", type=int, default=0, help="how often a direction is cut; needs root and nftables"
    )
    parser.add_argument("--limit", type=float, default=STUCK_S, metavar="S", help="longest recovery allowed")
    parser.add_argument("--title", default="Random kills", help="the section of the page")
    parser.add_argument("--directory", type=Path, help="where to run; kept. A temporary one by default")
    parser.add_argument("--output", type=Path, default=report.PAGE)
    options = parser.parse_args()
    freezes = options.kills // 4 if options.freezes is None else options.freezes
    settings = Settings(
        *(options.tasks, options.kills, freezes, options.seed),
        *(options.longest_ms / 1000, options.longest_freeze, options.workers),
        *(options.cuts, options.resets, options.one_way_cuts),
    )
    if settings.needs_namespace:
        in_namespace()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        result = perform(settings, directory, say=True)
    except Stuck as stuck:
        raise SystemExit(f"STUCK: {stuck}. Everything is kept in {directory}") from stuck
    report.write(options.output, options.title, report.random_kills(result))
    if not result.verdict.is_clean or result.left:
        raise SystemExit(f"NOT CLEAN; everything is kept in {directory}")
    if slow := [fault.name for fault in result.faults if (fault.recovery or 0.0) > options.limit]:
        raise SystemExit(f"TOO SLOW after {', '.join(slow)}; everything is kept in {directory}")
    if options.directory is None:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
