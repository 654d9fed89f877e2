"""No acknowledged commit is lost when the power goes; and the test would see it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from chaos.power_loss import cut
from chaos.recorder import SECTOR, Disk


def test_five_hundred_power_losses_lose_no_acknowledged_commit() -> None:
    verdict = cut(500, seed=7, lives=2, rounds=60)
    assert (verdict.lossy, verdict.corrupt) == ([], [])
    assert verdict.facts > 300
    assert verdict.commits > 100


def test_without_the_sync_of_each_commit_the_same_test_sees_losses() -> None:
    verdict = cut(50, seed=7, synchronous="NORMAL", lives=1, rounds=60)
    assert len(verdict.lossy) > 10


@pytest.fixture
def left(tmp_path: Path) -> Any:
    """Return the contents that 300 power losses leave of a file."""

    def left(*entries: tuple[Any, ...]) -> set[bytes | None]:
        disk, chance = Disk(), random.Random(1)
        for entry in entries:
            disk.follow(entry)
        found = set()
        for _ in range(300):
            (tmp_path / "f").unlink(missing_ok=True)
            disk.lose_power(tmp_path, chance)
            found.add((tmp_path / "f").read_bytes() if (tmp_path / "f").exists() else None)
        return found

    return left


WRITE, SYNC = ("write", "f", 0, b"a"), ("sync", "f")


def test_what_was_synced_stays(left: Any) -> None:
    assert left(WRITE, SYNC) == {b"a"}


def test_what_was_not_synced_may_be_gone_and_so_may_a_new_file(left: Any) -> None:
    assert left(WRITE) == {None, b"", b"a"}
    assert left(WRITE, SYNC, ("write", "f", 0, b"b")) == {b"a", b"b"}


def test_a_write_is_torn_between_sectors(left: Any) -> None:
    two = ("write", "f", 0, b"b" * 2 * SECTOR)
    old, new = b"a" * SECTOR, b"b" * SECTOR
    before = ("write", "f", 0, old + old)
    assert left(before, SYNC, two) == {old + old, old + new, new + old, new + new}


def test_a_truncation_may_not_have_happened(left: Any) -> None:
    assert left(WRITE, SYNC, ("truncate", "f", 0)) == {b"a", b""}


def test_a_deleted_file_may_come_back_unless_the_directory_was_synced(left: Any) -> None:
    assert left(WRITE, SYNC, ("delete", "f", False)) == {b"a", None}
    assert left(WRITE, SYNC, ("delete", "f", True)) == {None}
    assert left(WRITE, SYNC, ("delete", "f", False), ("sync", "log-wal")) == {None}
