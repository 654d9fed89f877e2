"""The spool's file: what it keeps, what it does when it is copied, damaged, deleted, full or too new."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.errors import ConfigError
from funcx_lab_endpoint import spool as spool_module
from funcx_lab_endpoint.changes import Change
from funcx_lab_endpoint.instructions import Save
from funcx_lab_endpoint.spool import Spool

Eventually = Callable[..., Any]
LIMIT = 1_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    directory = tmp_path / "endpoint"
    directory.mkdir()
    return directory / "spool.db"


@pytest.fixture
def open_spool(path: Path) -> Iterator[Callable[..., Spool]]:
    opened: list[Spool] = []

    def make(where: Path = path, limit: int = LIMIT) -> Spool:
        opened.append(Spool(where, limit))
        opened[-1].start()
        return opened[-1]

    yield make
    for each in opened:
        each.close(5.0)


class Writer:
    """Hands changes to a spool and waits until they are on disk."""

    def __init__(self, spool: Spool, eventually: Eventually) -> None:
        self.spool = spool
        self.number = 0
        self.facts: list[int | None] = []
        self._eventually = eventually

    def write(self, *changes: tuple[str, str, bytes | None], whole: str = "") -> None:
        self.number += 1
        self.spool.save(Save(self.number, [Change(*each) for each in changes], whole))
        self.wait(self.number)

    def wait(self, fact: int | None) -> None:
        def came() -> bool:
            self.facts += self.spool.facts()
            return fact in self.facts

        self._eventually(came, f"{fact} never came")


@pytest.fixture
def write(open_spool: Callable[..., Spool], eventually: Eventually) -> Writer:
    return Writer(open_spool(), eventually)


TASK = ("task", "a", b"a task")
RESULT = ("result", "b", b"a result")


def test_what_was_written_is_there_in_the_next_life(write: Writer, open_spool: Callable[..., Spool]) -> None:
    write.write(TASK, RESULT, ("loss", "c", b"1"))
    write.write(("loss", "c", None), ("task", "a", None), ("result", "a", b"done"))
    first = write.spool.id
    assert write.spool.close(5.0)
    again = open_spool()
    assert sorted(again.entries()) == [Change("result", "a", b"done"), Change(*RESULT)]
    assert (again.id, again.is_copy, again.note) == (first, False, "")


def test_what_was_handed_in_before_the_end_is_written(
    write: Writer, open_spool: Callable[..., Spool]
) -> None:
    for number in range(200):
        write.spool.save(Save(number, [Change("task", f"t{number}", b"x" * 1000)]))
    assert write.spool.close(5.0)
    assert len(open_spool().entries()) == 200


def test_only_the_user_can_read_it(write: Writer, path: Path) -> None:
    write.write(TASK)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "spool.db" in modes


def test_a_copy_gets_an_identity_of_its_own_and_keeps_results_only(
    write: Writer, open_spool: Callable[..., Spool], path: Path, tmp_path: Path
) -> None:
    write.write(TASK, RESULT, ("function", "f", b"body"))
    original = write.spool.id
    write.spool.close(5.0)
    shutil.copytree(path.parent, tmp_path / "copy")
    copy = open_spool(tmp_path / "copy" / "spool.db")
    assert copy.is_copy
    assert copy.id != original
    assert "copied" in copy.note
    assert copy.entries() == [Change(*RESULT)]
    assert len(open_spool().entries()) == 3
    copy.close(5.0)
    assert open_spool(tmp_path / "copy" / "spool.db").id == copy.id


def test_a_moved_endpoint_is_no_copy(
    write: Writer, open_spool: Callable[..., Spool], path: Path, tmp_path: Path
) -> None:
    write.write(TASK)
    write.spool.close(5.0)
    path.parent.rename(tmp_path / "renamed")
    again = open_spool(tmp_path / "renamed" / "spool.db")
    assert (again.id, again.is_copy) == (write.spool.id, False)


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def _damaged_page(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(4096 + 8)
        file.write(os.urandom(3000))


def _flipped_bit(path: Path) -> None:
    data = path.read_bytes()
    assert TASK[2] in data
    path.write_bytes(data.replace(TASK[2], b"b task", 1))


@pytest.mark.parametrize("damage", [_not_a_database, _damaged_page, _flipped_bit])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    write: Writer, open_spool: Callable[..., Spool], path: Path, damage: Callable[[Path], None]
) -> None:
    write.write(TASK, *(("task", f"t{number}", b"x" * 500) for number in range(50)))
    write.spool.close(5.0)
    damage(path)
    again = open_spool()
    assert again.entries() == []
    assert again.id != write.spool.id
    assert "damaged" in again.note
    assert len(list(path.parent.glob("spool.damaged-*.db"))) == 1


def test_a_file_deleted_under_a_living_agent_is_written_anew(
    write: Writer, open_spool: Callable[..., Spool], path: Path
) -> None:
    write.write(TASK)
    path.unlink()
    write.write(RESULT)
    write.wait(None)
    assert "deleted" in write.spool.note
    write.write(TASK, RESULT, whole=write.spool.id)
    write.spool.close(5.0)
    again = open_spool()
    assert again.id == write.spool.id
    assert len(again.entries()) == 2


def test_one_that_was_not_filled_again_before_the_end_has_another_identity(
    write: Writer, open_spool: Callable[..., Spool], path: Path
) -> None:
    write.write(TASK)
    path.unlink()
    write.write(RESULT)
    write.spool.close(5.0)
    again = open_spool()
    assert again.id != write.spool.id
    assert not again.is_copy


def test_a_file_replaced_under_a_living_agent_is_written_anew(write: Writer, path: Path) -> None:
    write.write(TASK)
    (path.parent / "other").write_bytes(path.read_bytes())
    os.replace(path.parent / "other", path)
    write.write(RESULT)
    write.wait(None)


def test_nothing_more_is_accepted_above_nine_tenths_of_the_limit(
    open_spool: Callable[..., Spool], eventually: Eventually
) -> None:
    spool = open_spool(limit=1_000_000)
    write = Writer(spool, eventually)
    assert spool.trouble == ""
    write.write(*(("task", f"t{number}", os.urandom(100_000)) for number in range(10)))
    eventually(lambda: "full" in spool.trouble)
    write.write(RESULT)  # results still are
    write.write(*(("task", f"t{number}", None) for number in range(10)))
    eventually(lambda: spool.trouble == "", "it never had room again")


def test_a_full_disk_is_waited_for(
    write: Writer, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "RETRY_S", 0.01)
    connection = write.spool._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    write.spool.save(Save(1, [Change("task", "a", os.urandom(100_000))]))
    eventually(lambda: "full" in write.spool.trouble)
    assert list(write.spool.facts()) == []
    connection.execute("PRAGMA max_page_count = 1000000")
    write.wait(1)
    eventually(lambda: write.spool.trouble == "")


def test_a_disk_almost_full_is_told(
    open_spool: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "FREE_FLOOR", 1 << 60)
    assert "disk is full" in open_spool().trouble


def test_a_file_of_a_newer_agent_is_left_alone(write: Writer, path: Path) -> None:
    write.spool.close(5.0)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="newer"):
        Spool(path, LIMIT)
    assert path.read_bytes() == before


def test_a_file_in_use_is_left_alone(write: Writer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write.write(TASK)
    monkeypatch.setattr(spool_module, "BUSY_S", 0.05)
    with pytest.raises(ConfigError, match="locked"):
        Spool(path, LIMIT)
    assert list(path.parent.glob("spool.damaged-*")) == []


def test_a_directory_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used as the endpoint's spool"):
        Spool(tmp_path / "missing" / "spool.db", LIMIT)


def test_a_dead_writer_is_told_to_the_loop(
    write: Writer, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(write.spool, "_commit", fail)
    write.spool.save(Save(1, [Change(*TASK)]))

    def raises() -> bool:
        try:
            list(write.spool.facts())
        except RuntimeError:
            return True
        return False

    eventually(raises)


def test_few_damaged_files_are_kept(path: Path) -> None:
    for number in range(6):
        old = path.with_name(f"spool.damaged-{number}.db")
        old.write_bytes(b"")
        old.with_name(f"{old.name}-wal").write_bytes(b"")
    path.write_bytes(b"garbage" * 1000)
    Spool(path, LIMIT).close(1.0)
    assert len(list(path.parent.glob("spool.damaged-*.db"))) == 3
