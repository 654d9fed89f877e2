"""Disks, files and clocks are hurt while tasks run: nothing is lost, and what the disk took is said."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from chaos.checker import Verdict
from chaos.disk_faults import SCENARIOS, section
from chaos.scenario import Suffered, suffer_alone

#: A new engine takes half a minute on a machine that does other things, too.
SLACK_S = 60.0
#: Each kind of trouble once; `python -m chaos.disk_faults` does them all (docs/reliability.md).
CHOSEN = (
    *("hub disk full", "hub sync fails", "hub WAL bit flipped", "hub database deleted", "hub page damaged"),
    *("endpoint copied", "spool disk full", "spool damaged while down", "spool deleted while it runs"),
    *("clock jumps", "no descriptors"),
)
#: Without its database, the hub service knows no function any more.
TELLS = "hub database deleted"


def _has_namespaces() -> bool:
    try:
        return (
            subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
        )
    except FileNotFoundError:
        return False


# Small disks need a mount namespace, which not every machine gives.
if os.geteuid() == 0 and _has_namespaces():

    @pytest.mark.slow
    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("name", CHOSEN)
    def test_a_hurt_disk_file_or_clock_loses_nothing(tmp_path: Path, name: str) -> None:
        scenario = SCENARIOS[name]
        found = suffer_alone(name, scenario, tmp_path)
        assert found.verdict.complaints() == []
        assert found.left == []
        assert found.recovery < scenario.limit_s + SLACK_S
        assert found.verdict.told == 0 or name == TELLS
        assert found.verdict.acknowledged >= scenario.tasks - found.verdict.told - 1


def test_the_page_says_what_was_done_and_seen() -> None:
    suffered = Suffered("hub WAL cut", 1.25, Verdict(tasks=3, gone=2), {"s to restore": 3.14159}, [])
    row = section([suffered]).splitlines()[4]
    assert row.startswith(f"| hub WAL cut | {SCENARIOS['hub WAL cut'].what} | 1.2 | 0 | 0 | 0 |")
    assert row.endswith("| s to restore: 3.142, outcomes gone: 2 |")
