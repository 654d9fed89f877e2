"""A hub service that cannot go on ends; it never looks healthy without being so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from funcx_lab_hub_service.vitals import EXIT_STATUS

#: Starts the service with one thing broken, as soon as it has said that it listens.
BROKEN = """
import asyncio, os, sys, threading
from funcx_lab_hub_service import app, cli, vitals
from funcx_lab_hub_service.forwarder import forwarder, socket
from funcx_lab_hub_service.store import database

def fail(*_arguments, **_named):
    raise RuntimeError("broken on purpose")

async def fail_soon(*_arguments, **_named):
    fail()

def thread():
    threading.Thread(target=fail).start()

def break_it():
    {breaking}

ready = cli._ready
cli._ready = lambda *arguments: (ready(*arguments), break_it())
sys.exit(cli.main(["--data", sys.argv[1], "--ready-fd", sys.argv[2]]))
"""
CASES = {
    "a tick of the forwarder": "forwarder.Forwarder.tick = fail",
    "a thread": "thread()",
    "the rounds": "app.Audit.flush = fail",
    "the store's writer": "database.Database._commit_group = fail; "
    "asyncio.get_running_loop().create_task(app_write())",
}
WRITE = """
async def app_write():
    import gc
    hub, = [thing for thing in gc.get_objects() if isinstance(thing, app.HubService)]
    hub.database.submit(lambda connection: None, lambda value, error: None)
    hub.database.submit(lambda connection: None, lambda value, error: None)
"""


@pytest.fixture
def launch(data: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("case", list(CASES))
def test_a_part_that_dies_ends_the_process(
    launch: list[subprocess.Popen[bytes]], data: Path, case: str
) -> None:
    read_end, write_end = os.pipe()
    program = WRITE + BROKEN.replace("{breaking}", CASES[case])
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(data), str(write_end)],
        pass_fds=(write_end,),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    launch.append(process)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert '"url"' in pipe.readline()
    began = time.monotonic()
    status = process.wait(20)
    assert process.stdout is not None
    output = process.stdout.read().decode()
    assert status in (EXIT_STATUS, 74), output
    assert time.monotonic() - began < 15
    assert "broken on purpose" in output
