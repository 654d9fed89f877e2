"""Locks say who lives."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

from funcx_lab.locks import is_held, locked, take_lock, wait_released

HOLDER = """
import sys
from pathlib import Path
from funcx_lab.locks import take_lock
assert take_lock(Path(sys.argv[1])) is not None
print("held", flush=True)
sys.stdin.read()
"""


def hold_elsewhere(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.communicate()


def test_a_lock_that_nobody_made_is_free(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    holder = hold_elsewhere(tmp_path / "lock")
    try:
        assert is_held(tmp_path / "lock")
        assert take_lock(tmp_path / "lock") is None
    finally:
        end(holder)
    assert not is_held(tmp_path / "lock")


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    descriptor = take_lock(tmp_path / "lock")
    assert descriptor is not None
    os.close(descriptor)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_waiting_takes_the_lock_when_its_holder_ends(tmp_path: Path) -> None:
    holder = hold_elsewhere(tmp_path / "lock")
    threading.Timer(0.1, holder.kill).start()
    with locked(tmp_path / "lock", wait_s=10) as mine:
        assert mine
        assert is_held(tmp_path / "lock")
    end(holder)
    assert not is_held(tmp_path / "lock")


def test_waiting_ends_in_time(tmp_path: Path) -> None:
    holder = hold_elsewhere(tmp_path / "lock")
    try:
        began = time.monotonic()
        assert not wait_released(tmp_path / "lock", 0.05)
        with locked(tmp_path / "lock", wait_s=0.05) as mine:
            assert not mine
        assert time.monotonic() - began < 5
    finally:
        end(holder)


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    descriptor = take_lock(tmp_path / "lock")
    assert descriptor is not None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.close(descriptor)
    try:
        assert not is_held(tmp_path / "lock")
    finally:
        child.communicate(b"\n")
