"""Programs are killed and frozen at random while tasks run: nothing is lost, nothing ends twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.faults import VICTIMS, Fault, plan
from chaos.run import Settings, perform

#: Seconds until tasks flow again, on a machine that does other things too; the goals stand in the report.
LIMIT_S = 90.0


def check(settings: Settings, directory: Path) -> None:
    result = perform(settings, directory)
    assert result.verdict.complaints() == []
    assert result.left == []
    assert result.verdict.tasks >= settings.tasks - settings.kills
    assert len(result.faults) == settings.kills + settings.freezes
    # None: every task had ended by then. Where tasks waited and nothing came, `perform` has raised `Stuck`.
    slow = [fault for fault in result.faults if (fault.recovery or 0.0) > LIMIT_S]
    assert slow == []


@pytest.mark.timeout(300)
def test_ten_random_kills_over_a_thousand_tasks(tmp_path: Path) -> None:
    check(Settings(tasks=1000, kills=8, freezes=2, seed=4, longest_s=0.1, longest_freeze_s=3), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fifty_random_kills_over_five_thousand_tasks(tmp_path: Path) -> None:
    check(Settings(tasks=5000, kills=50, freezes=10, seed=5, longest_s=0.1, longest_freeze_s=8), tmp_path)


def test_a_plan_is_the_seeds_and_gives_every_victim_its_share() -> None:
    def planned(seed: int) -> list[Fault]:
        return list(plan(16, 8, seed, 30.0))

    assert planned(1) == planned(1) != planned(2)
    faults = planned(1)
    for victim in VICTIMS:
        assert [fault.kind for fault in faults if fault.victim == victim].count("kill -9") == 2
        assert [fault.kind for fault in faults if fault.victim == victim].count("freeze") == 1
    assert all(0.5 <= fault.seconds <= 30 for fault in faults if fault.kind == "freeze")
