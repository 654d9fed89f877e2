"""What may happen to the agent's spool: the disk full, the file damaged, deleted or copied."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from chaos.lab import until
from chaos.run import Run
from chaos.scenario import END_S, Scenario, Trouble, agent_down, fill, said, settle, small_disk

_LOG = "home/endpoints/local/agent.log"
_FULL_S = 6.0


def _small(run: Run) -> None:
    directory = run.lab.home / "endpoints" / "local"
    config = (directory / "config.py").read_text()
    small_disk(directory, 32)
    (directory / "config.py").write_text(config)
    (directory / "config.py").chmod(0o600)


def _full(run: Run) -> Trouble:
    directory = run.lab.home / "endpoints" / "local"
    filler = fill(directory)
    before = run.outcomes()
    # Its log lies on the same disk; the hub service is told, and tells whoever asks.
    until(
        lambda: "disk is full" in run.lab.command("status"), END_S, "an endpoint that says its disk is full"
    )
    time.sleep(_FULL_S)  # this is the fault
    outcomes = run.outcomes() - before
    filler.unlink()
    return Trouble(time.monotonic(), {"outcomes while full": outcomes})


def _spoil(path: Path) -> None:
    """Write rubbish over all of a file but its first page."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(max(0, size - 4096)))


def _spoiled_while_down(run: Run) -> Trouble:
    with agent_down(run) as directory:
        settle(directory / "spool.db")
        _spoil(directory / "spool.db")
        ended = time.monotonic()
    until(lambda: said(run, _LOG, "the spool was damaged") > 0, END_S, "a spool that is set aside")
    return Trouble(ended)


def _spoiled_while_it_runs(run: Run) -> Trouble:
    agent = run.lab.find("agent")
    for path in (run.lab.home / "endpoints" / "local").glob("spool.db*"):
        _spoil(path)
    ended = time.monotonic()
    time.sleep(2.0)
    agent.kill()  # what it does not notice while it lives, the next one must
    return Trouble(ended)


def _delete(directory: Path) -> None:
    for path in directory.glob("spool.db*"):
        path.unlink()


def _deleted_while_down(run: Run) -> Trouble:
    with agent_down(run) as directory:
        _delete(directory)
        ended = time.monotonic()
    return Trouble(ended)


def _deleted_while_it_runs(run: Run) -> Trouble:
    _delete(run.lab.home / "endpoints" / "local")
    ended = time.monotonic()
    until(lambda: said(run, _LOG, "written anew") > 0, END_S, "a spool that is written anew")
    return Trouble(ended)


def _copied(run: Run) -> Trouble:
    """Start an agent on a copy of the endpoint beside the first, and then instead of it."""
    home = run.directory / "copy"
    copy = home / "endpoints" / "local"
    left_out = shutil.ignore_patterns("runs", "agent.log", "agent.json")
    shutil.copytree(run.lab.home / "endpoints" / "local", copy, ignore=left_out)
    for path in (home, copy.parent, copy):
        path.chmod(0o700)
    environment = {**run.lab.environment, "FUNCX_LAB_HOME": str(home)}
    begin = time.monotonic()
    agent = subprocess.Popen(
        [sys.executable, "-m", "funcx_lab_endpoint.cli", "start", "local", "--foreground"],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    try:
        until(lambda: _state(copy) == "refused", END_S, "an agent that is refused as the second")
        refused = time.monotonic() - begin
        run.wait_for(run.outcomes() + 20)  # the first is not disturbed
        with agent_down(run):
            begin = time.monotonic()
            until(lambda: _state(copy) == "connected", END_S, "a second agent in place of the first")
            connected = time.monotonic() - begin
            run.wait_for(run.outcomes() + 20)
    finally:
        stop = [sys.executable, "-m", "funcx_lab_endpoint.cli", "stop", "local", "--now"]
        subprocess.run(stop, env=environment, check=True, capture_output=True)
        agent.wait(END_S)
    return Trouble(time.monotonic(), {"s until refused": refused, "s until in place of the first": connected})


def _state(directory: Path) -> str:
    try:
        return str(json.loads((directory / "agent.json").read_text())["state"])
    except (OSError, ValueError):
        return ""


SCENARIOS = {
    "endpoint copied": Scenario(
        "an agent is started on a copy of the endpoint's directory; the first is killed and stays away; the "
        "copy ends, and the first is back",
        _copied,
        limit_s=20,
    ),
    "spool disk full": Scenario("the disk of the endpoint runs full, and is freed", _full, prepare=_small),
    "spool damaged while down": Scenario(
        "rubbish is written over the spool of a killed agent", _spoiled_while_down, limit_s=15
    ),
    "spool damaged while it runs": Scenario(
        "rubbish is written over the spool of a live agent, which is killed 2 s later",
        _spoiled_while_it_runs,
        limit_s=15,
    ),
    "spool deleted while down": Scenario(
        "the spool of a killed agent is deleted", _deleted_while_down, limit_s=15
    ),
    "spool deleted while it runs": Scenario(
        "the spool of a live agent is deleted", _deleted_while_it_runs, limit_s=15
    ),
}
