"""Histories of the real decision modules in one world: nothing is lost, changed or run twice.

They run in processes of their own, since the world puts its clock into the modules that it steps.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def histories(*arguments: str, hash_seed: str = "random") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chaos.histories", *arguments]
    environment = {"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.timeout(660)
def test_2000_histories_without_a_flaw() -> None:
    done = histories("--histories", "2000", "--jobs", "2")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.match(r"2000 histories, 12000 tasks, [\d.]+ starts a task, 0 flaws", done.stdout)


def test_the_same_seed_gives_the_same_history_in_every_process() -> None:
    one, other = (histories("--one", "7", hash_seed=hash_seed).stdout for hash_seed in "12")
    assert len(one) > 100
    assert one == other
