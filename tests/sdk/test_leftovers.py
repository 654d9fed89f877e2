"""Whoever carries the mark of a stopped service is ended, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from funcx_lab.leftovers import end_leftovers, find_leftovers, mark_for

POLITE = "import sys; print(1, flush=True); sys.stdin.read()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {POLITE}"


def start(code: str, directory: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **mark_for(directory)}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    return process


def test_polite_and_stubborn_processes_end(tmp_path: Path) -> None:
    processes = [start(POLITE, tmp_path), start(STUBBORN, tmp_path)]
    assert {process.pid for process in find_leftovers(tmp_path)} == {process.pid for process in processes}
    assert end_leftovers(tmp_path, grace_s=0.3) == 2
    assert find_leftovers(tmp_path) == []
    for process in processes:
        process.communicate()


def test_the_processes_of_another_home_are_left_alone(tmp_path: Path) -> None:
    other = start(POLITE, tmp_path / "other")
    try:
        assert end_leftovers(tmp_path / "mine") == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()


def test_a_link_to_the_home_is_the_same_home(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    process = start(POLITE, tmp_path / "link")
    assert end_leftovers(tmp_path / "real") == 1
    process.communicate()
