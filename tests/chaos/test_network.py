"""Links are cut in one direction, and connections broken, while tasks run: tasks flow again within 15 s."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.faults import plan
from chaos.network import LINKS, ONE_WAY, with_network

#: Of these, one cut of each direction lasts longer than silence is borne (15 s).
ONE_WAY_CUTS, RESETS, SEED, LONG_S = 4, 2, 1870, 16.0
LIMIT_S = 15


def _has_namespaces() -> bool:
    try:
        made = subprocess.run(with_network(["nft", "list", "tables"]), capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return made.returncode == 0


# To cut links takes a network namespace and nftables, which not every machine gives.
if os.geteuid() == 0 and _has_namespaces():

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_links_cut_in_one_direction_or_broken_lose_nothing(tmp_path: Path) -> None:
        what = ["--kills", "0", "--one-way-cuts", str(ONE_WAY_CUTS), "--resets", str(RESETS)]
        how = ["--seed", str(SEED), "--tasks", "500", "--longest-ms", "300", "--limit", str(LIMIT_S)]
        where = ["--directory", str(tmp_path / "run"), "--output", str(tmp_path / "page.md")]
        done = subprocess.run(
            [sys.executable, "-m", "chaos.run", *what, *how, *where],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        page = (tmp_path / "page.md").read_text()
        for direction in ONE_WAY:
            assert f"| one-way cut {direction} |" in page


def test_each_direction_is_cut_for_long_and_each_link_broken() -> None:
    faults = list(plan(0, 0, SEED, 30.0, 0, RESETS, ONE_WAY_CUTS))
    for direction in ONE_WAY:
        assert max(fault.seconds for fault in faults if fault.victim == direction) > LONG_S
    assert {fault.victim for fault in faults if fault.kind == "reset"} == set(LINKS)
