"""Damage, backups, putting one back, and numbers that never repeat whatever is put back."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils

from funcx_lab.errors import ConfigError, StoreDamaged
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.store import backup, boot, schema
from funcx_lab_hub_service.store.backup import Backups
from funcx_lab_hub_service.store.database import Database

ME = Principal("me")


async def started(path: Path) -> Database:
    database = Database(path)
    await database.start()
    return database


def add(name: str) -> Any:
    return lambda connection: connection.execute("INSERT INTO users (name) VALUES (?)", (name,)) and None


async def use(path: Path, *names: str) -> int:
    """Live once: write users and return the boot number."""
    database = await started(path)
    for name in names:
        await database.write(add(name))
    await database.close()
    return database.boot


def users(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT name FROM users ORDER BY id")]
    finally:
        connection.close()


def spoil(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    connection = sqlite3.connect(path)
    page, size = connection.execute(
        "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master WHERE name = ?",
        (table,),
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_damaged_database_is_only_read_and_says_how_to_restore(tools: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id, ended = await core.submit_one(), await core.submit_one()
            await core.end(ended)
        newest = Backups(tmp_path / "hub.db", 1).make()
        spoil(tmp_path / "hub.db", "results")
        damaged = tools.core()
        await damaged.database.start()
        damaged.wire()
        try:
            assert str(newest) in damaged.database.damage
            for write in (
                lambda: damaged.database.write(lambda connection: None),
                lambda: damaged.tasks.submit(ME, "box", core.function_id, core.group_id, [tools.task()]),
            ):
                with pytest.raises(StoreDamaged, match="restore") as refused:
                    await write()
                assert refused.value.status == 503
            with pytest.raises(StoreDamaged):
                await damaged.tasks.cancel(ME, [task_id])
            assert damaged.tasks.record(ME, task_id).task_id == task_id
            with pytest.raises(StoreDamaged):
                damaged.tasks.outcome(ME, ended)  # its page is the damaged one
        finally:
            await damaged.database.close()
        assert boot.read(tmp_path / "hub.db").boot == 1

    tools.run(main())


def test_a_file_that_cannot_be_opened_says_how_to_restore(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    asyncio.run(use(path, "a"))
    newest = Backups(path, 1).make()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match="restore") as refused:
        asyncio.run(use(path))
    assert str(newest) in str(refused.value)


def test_a_backup_is_whole_private_and_only_the_last_three_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "hub.db"
        database = await started(path)
        moments = iter(range(1_800_000_000, 1_900_000_000, 60))
        maker = Backups(path, 1, clock=moments.__next__)
        made = []
        for number in range(5):
            await database.write(add(f"u{number}"))
            made.append(await asyncio.to_thread(maker.make))
        assert backup.backups(path) == made[2:]
        assert users(made[2]) == ["u0", "u1", "u2"]
        assert made[4].stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700
        await database.close()

    asyncio.run(main())


def test_backups_are_made_while_there_are_writes(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "hub.db"
        database = await started(path)
        maker = Backups(path, 0.05)
        maker.start()
        await asyncio.sleep(0.3)
        assert backup.backups(path) == []  # nothing was written since the start
        await database.write(add("a"))
        deadline = time.monotonic() + 30
        while not backup.backups(path):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        maker.stop()
        assert users(backup.backups(path)[0]) == ["a"]
        await database.close()

    asyncio.run(main())


def test_no_backup_is_begun_without_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hub.db"
    asyncio.run(use(path, "a"))
    full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda directory: full)
    with pytest.raises(Exception, match="bytes free"):
        Backups(path, 1).make()
    assert list((tmp_path / "backups").iterdir()) == []


def test_restoring_puts_the_backup_in_place_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    assert asyncio.run(use(path, "a")) == 1
    made = Backups(path, 1).make()
    assert asyncio.run(use(path, "b")) == 2
    spoil(path, "tasks")
    before = boot.read(path)
    aside = backup.restore(path, made)
    assert users(path) == ["a"]
    assert aside is not None
    assert aside.exists()
    assert asyncio.run(use(path, "c")) == 3  # never 2 again
    after = boot.read(path)
    assert after.epoch != before.epoch
    assert path.stat().st_mode & 0o777 == 0o600


def test_restoring_without_the_number_of_the_last_start_leaves_a_wide_gap(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    asyncio.run(use(path, "a"))
    made = Backups(path, 1).make()
    boot.boot_file(path).unlink()
    path.unlink()
    backup.restore(path, made)
    assert asyncio.run(use(path)) > boot.UNKNOWN_LIVES


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_under_the_service_stops_it(tmp_path: Path, replaced: bool) -> None:
    async def main() -> None:
        path = tmp_path / "hub.db"
        stopped: list[BaseException] = []
        database = Database(path, stopped.append)
        await database.start()
        database.check_file()
        assert stopped == []
        path.rename(tmp_path / "elsewhere")
        if replaced:
            path.write_bytes(b"")
        database.check_file()
        assert "restore" in str(stopped[0])
        await database.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["garbage", "damaged", "other", "newer", "missing"])
def test_what_is_no_sound_backup_is_refused_and_nothing_is_touched(tmp_path: Path, kind: str) -> None:
    path, bad = tmp_path / "hub.db", tmp_path / "bad.db"
    asyncio.run(use(path, "a"))
    if kind == "garbage":
        bad.write_bytes(b"x" * 5000)
    elif kind == "other":
        sqlite3.connect(bad).execute("CREATE TABLE t (x)").connection.close()
    elif kind != "missing":
        shutil.copyfile(path, bad)
    if kind == "damaged":
        spoil(bad, "tasks")
    elif kind == "newer":
        connection = sqlite3.connect(bad)
        connection.execute("UPDATE _sqlite_migrations SET name = 'm999_later' WHERE name LIKE 'm001%'")
        connection.commit()
        connection.close()
    with pytest.raises(ConfigError):
        backup.restore(path, bad)
    assert users(path) == ["a"]


def test_a_boot_number_is_never_used_twice_when_an_old_copy_is_put_back_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    asyncio.run(use(path, "a"))
    shutil.copyfile(path, tmp_path / "old.db")
    epoch = boot.read(path).epoch
    assert [asyncio.run(use(path)) for _ in range(3)] == [2, 3, 4]
    assert boot.read(path).epoch == epoch
    shutil.copyfile(tmp_path / "old.db", path)
    assert asyncio.run(use(path)) == 5
    assert boot.read(path).epoch != epoch
    path.unlink()
    assert asyncio.run(use(path)) == 6
    boot.boot_file(path).unlink()  # an upgrade from a release without the file
    assert asyncio.run(use(path)) == 7


def test_a_backup_of_this_very_life_is_known_as_old(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    asyncio.run(use(path, "a"))
    made, epoch = Backups(path, 1).make(), boot.read(path).epoch
    shutil.copyfile(made, path)
    assert asyncio.run(use(path)) == 2
    assert boot.read(path).epoch != epoch


def test_what_must_run_once_is_not_run_again_from_an_older_copy(tools: Any, tmp_path: Path) -> None:
    path = tmp_path / "hub.db"

    async def main() -> None:
        async with tools.opened() as core:
            once = await core.submit_one(options=TaskOptions(at_most_once=True))
            usual = await core.submit_one()
            Backups(path, 1).make()
        [made] = backup.backups(path)
        backup.restore(path, made)
        for ends in (1, 0):
            async with tools.opened() as core:
                assert boot.is_copy(core.database.reader) == bool(ends)
                if ends:
                    core.tasks.facts.end_doubtful()
                await core.database.write(lambda connection: None)
                assert core.tasks.outcome(ME, once).error.code == "LOST_UNKNOWN"
                assert core.tasks.outcome(ME, usual) is None
                assert not boot.is_copy(core.database.reader)

    tools.run(main())


@pytest.mark.parametrize(
    ("place", "said"), [("header", True), ("begin", True), ("middle", True), ("end", False), ("cut", False)]
)
def test_a_log_that_was_damaged_afterwards_is_told_from_a_torn_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str, said: bool
) -> None:
    async def main() -> None:
        """Leave a log, as a crash does."""
        database = await started(path)
        for number in range(20):
            await database.write(add(f"u{number}"))
        for name in ("hub.db", "hub.db-wal", "boot.json"):
            shutil.copyfile(path.parent / name, tmp_path / name)
        await database.close()

    (tmp_path / "first").mkdir()
    path = tmp_path / "first" / "hub.db"
    asyncio.run(main())
    path = tmp_path / "hub.db"
    wal, size = tmp_path / "hub.db-wal", (tmp_path / "hub.db-wal").stat().st_size
    with wal.open("r+b") as file:
        if place == "cut":
            file.truncate(size - 1)
        else:
            offset = {"header": 20, "begin": 100, "middle": size // 2, "end": size - 1}[place]
            file.seek(offset)
            old = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([old ^ 4]))
    assert asyncio.run(use(path, "again")) == 2
    assert ("commits are lost" in caplog.text) == said
    caplog.clear()
    assert asyncio.run(use(path, "later")) == 3
    assert "commits are lost" not in caplog.text
    assert users(path)[-2:] == ["again", "later"]


def test_a_boot_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    asyncio.run(use(path))
    for text in ("{", '{"boot": 1}', "[]", '{"boot": "x", "epoch": ""}'):
        boot.boot_file(path).write_text(text)
        with pytest.raises(ConfigError, match=r"boot\.json"):
            asyncio.run(use(path))
    boot.boot_file(path).write_text(json.dumps({"boot": 9, "epoch": "x"}))
    assert asyncio.run(use(path)) == 10


def test_a_database_of_the_first_release_is_upgraded_after_a_backup(tools: Any, tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    golden(path)

    async def main() -> None:
        core = tools.core()
        await core.database.start()
        core.wire()
        ended, queued = (f"{number}" * 8 + "-0000-0000-0000-000000000000" for number in (1, 2))
        assert core.tasks.outcome(ME, ended).payload == b"out"
        assert core.tasks.record(ME, queued).state == "waiting-for-ep"
        assert {str(state): n for state, n in core.tasks.counts(ME).items()} == {
            "success": 1,
            "waiting-for-ep": 1,
        }
        row = core.database.reader.execute("SELECT size, closed FROM tasks ORDER BY id").fetchall()
        assert row[0][1] > time.time() - 60  # kept for a full retention time from the upgrade on
        assert row[1] == (2, None)
        assert [refusal.error["code"] for refusal in await core.submit(tools.task(queued, b"other"))] == [
            "CONFLICT"
        ]
        await core.database.close()

    tools.run(main())
    copies = list(tmp_path.glob("hub.db.before-m002*"))
    assert len(copies) == 1
    assert users(copies[0]) == ["me"]


def golden(path: Path) -> None:
    """Write a database as the first release did: one ended task, one queued."""
    connection = sqlite3.connect(path, isolation_level=None)
    first = sqlite_utils.Migrations("funcx_lab_hub_service")
    first()(schema.m001_first_tables)
    first.apply(sqlite_utils.Database(connection))
    for statement in (
        "INSERT INTO users VALUES (1, 'me')",
        "INSERT INTO task_groups VALUES (1, 1, 'g')",
        "INSERT INTO endpoints (id, endpoint_id, owner, name, metadata, created)"
        " VALUES (1, '00000000-0000-0000-0000-0000000000ee', 1, 'box', '{}', 1.0)",
        "INSERT INTO functions VALUES"
        " (1, '00000000-0000-0000-0000-0000000000ff', 1, 'f', 'funcx-lab', 'x', '{}', 1.0, NULL, x'00')",
        "INSERT INTO tasks (id, task_id, owner, grp, endpoint, function, state, received, ended, outcome_seq)"
        " VALUES (1, '11111111-0000-0000-0000-000000000000', 1, 1, 1, 1, 5, 1.0, 2.0, 7)",
        "INSERT INTO tasks (id, task_id, owner, grp, endpoint, function, state, received)"
        " VALUES (2, '22222222-0000-0000-0000-000000000000', 1, 1, 1, 1, 1, 1.0)",
        "INSERT INTO bodies VALUES (1, x'00', NULL, NULL), (2, x'0102', NULL, NULL)",
        "INSERT INTO results VALUES (1, CAST('out' AS BLOB), NULL, NULL)",
        "INSERT INTO tally VALUES (1, 5, 1), (1, 1, 1)",
    ):
        connection.execute(statement)
    connection.close()
