"""Hurt disks, files and clocks while tasks run, then compare three records.

``python -m chaos.disk_faults [NAME ...]``; needs root, for disks of its own. Prints what it found, and
rewrites the section `Disks, files and clocks` of docs/reliability.md if all was done.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from chaos import database_faults, process_faults, report, spool_faults
from chaos.lab import Stuck, until
from chaos.run import Run
from chaos.scenario import (
    END_S,
    Scenario,
    Suffered,
    Trouble,
    fill,
    said,
    save,
    small_disk,
    suffer,
    suffer_alone,
)

TITLE = "Disks, files and clocks"
_FULL_S = 6.0


def _small_data(run: Run) -> None:
    small_disk(run.lab.home / "hub", 64)


def full_hub(run: Run) -> Trouble:
    """Fill the disk, let tasks end meanwhile, free it."""
    data = run.lab.home / "hub"
    filler = fill(data)
    before = run.outcomes()
    until(lambda: said(run, "client.log", "disk is full") > 0, END_S, "a refused submit")
    time.sleep(_FULL_S)  # this is the fault
    ended_meanwhile = run.outcomes() - before
    filler.unlink()
    return Trouble(time.monotonic(), {"outcomes while full": ended_meanwhile})


def sync_error(run: Run) -> Trouble:
    """Let the hub service's next syncs fail until it ends, and see it started again."""
    hub = run.lab.find("hub")
    inject = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO:when=3+"]
    strace = subprocess.Popen(
        ["strace", "-f", "-q", "-o", "/dev/null", *inject, "-p", str(hub.pid)], stderr=subprocess.DEVNULL
    )
    begin = time.monotonic()
    try:
        until(lambda: not hub.is_running() or hub.status() == "zombie", END_S, "the end of the hub service")
    finally:
        strace.kill()  # it may wait for ever for a thread that is gone
        strace.wait(END_S)
    ended = time.monotonic()
    lines = said(run, "home/logs/hub.log", "cannot be written safely any more, stopping")
    if not lines:
        raise Stuck("the hub service did not end for its disk")
    return Trouble(ended, {"s until it ended": ended - begin})


SCENARIOS = {
    **database_faults.SCENARIOS,
    **spool_faults.SCENARIOS,
    **process_faults.SCENARIOS,
    "hub disk full": Scenario(
        "the disk of the hub service's data runs full, and is freed", full_hub, prepare=_small_data
    ),
    "hub sync fails": Scenario(
        "fsync and fdatasync of the hub service give EIO; it ends and is started again",
        sync_error,
        needs=("strace",),
    ),
}


def section(found: list[Suffered]) -> str:
    """Return the section of docs/reliability.md."""
    rows = [_row(each) for each in found]
    return f"""`python -m chaos.disk_faults`: each once, while some hundred tasks of 0 to 0.3 s are under way.

| fault | what is done | flows again after s | lost | duplicated | changed | what else was seen |
|---|---|---:|---:|---:|---:|---|
{chr(10).join(rows)}

*Told*: the hub service has lost the task with its disk, and whoever waits for it is told so by an error.
*Outcomes gone* and *from another run*: the client has seen how the task ended, and the hub service has lost
that with its disk; it has no record of the task any more, or has run it again. A task that was acknowledged
and lost is submitted again by the client that waits for it, under the same id; one with at_most_once ends as
LOST_UNKNOWN."""


def _row(each: Suffered) -> str:
    verdict = each.verdict
    counts = {
        "outcomes gone": verdict.gone,
        "from another run": verdict.replaced,
        "told": verdict.told,
        "LOST_UNKNOWN": verdict.unknown,
        "processes left": len(each.left),
    }
    seen = [f"{words}: {figure:.4g}" for words, figure in {**each.seen, **counts}.items() if figure]
    wrong = (len(verdict.lost), len(verdict.duplicated), len(verdict.changed) + len(verdict.failed))
    figures = " | ".join(str(number) for number in (f"{each.recovery:.1f}", *wrong))
    return f"| {each.name} | {SCENARIOS[each.name].what} | {figures} | {', '.join(seen)} |"


def main() -> None:
    """Read the command line, do it all, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *SCENARIOS], default=[])
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=report.PAGE)
    options = parser.parse_args()
    if options.alone is not None:
        [name] = options.names
        save(suffer(name, SCENARIOS[name], options.alone), options.alone)
        return
    found, is_clean = [], True
    for name in options.names or SCENARIOS:
        directory = Path(tempfile.mkdtemp(prefix="fault-"))
        try:
            found.append(suffer_alone(name, SCENARIOS[name], directory))
        except Stuck as stuck:
            is_clean = False
            print(f"STUCK: {stuck}. Everything is kept in {directory}", flush=True)
            continue
        print(_row(found[-1]), *found[-1].verdict.complaints()[:9], sep="\n", flush=True)
        if found[-1].verdict.is_clean and not found[-1].left:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            is_clean = False
            print(f"NOT CLEAN; everything is kept in {directory}", flush=True)
    if not options.names and len(found) == len(SCENARIOS):
        report.write(options.output, TITLE, f"{section(found)}\n\n{report.machine()}")
    if not is_clean:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
