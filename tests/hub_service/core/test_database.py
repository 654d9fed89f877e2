"""The writer: order, group commit, and what a failing disk does."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.errors import ConfigError, ServiceUnavailable, StorageFull
from funcx_lab_hub_service.store.database import Database


def add(name: str) -> Any:
    return lambda connection: connection.execute("INSERT INTO users (name) VALUES (?)", (name,)).lastrowid


def names(database: Database) -> list[str]:
    return [row[0] for row in database.reader.execute("SELECT name FROM users ORDER BY id")]


async def started(path: Path, **options: Any) -> Database:
    database = Database(path, **options)
    await database.start()
    return database


def test_operations_run_in_order_and_are_answered_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        told: list[int] = []
        for number in range(300):
            database.submit(add(f"u{number}"), lambda value, error: told.append(value))
        await database.write(lambda connection: None)
        assert told == list(range(1, 301))
        assert names(database) == [f"u{number}" for number in range(300)]
        await database.close()

    asyncio.run(main())


def test_what_gathers_behind_a_slow_operation_shares_its_commit(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        entered, gate = threading.Event(), threading.Event()
        first = database.write(lambda connection: (entered.set(), gate.wait(10)))
        await asyncio.to_thread(entered.wait, 10)
        rest = [database.write(add(f"u{number}")) for number in range(50)]
        commits: list[str] = []
        assert database._writer is not None
        database._writer.set_trace_callback(
            lambda statement: commits.append(statement) if statement == "COMMIT" else None
        )
        gate.set()
        await asyncio.gather(first, *rest)
        assert len(commits) == 1
        await database.close()

    asyncio.run(main())


def test_a_patient_operation_shares_the_commit_of_the_next_impatient_one(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        commits: list[str] = []
        assert database._writer is not None
        database._writer.set_trace_callback(
            lambda statement: commits.append(statement) if statement == "COMMIT" else None
        )
        told: list[str] = []
        database.submit(add("patient"), lambda value, error: told.append("patient"), patience_s=30.0)
        database.submit(add("too"), lambda value, error: told.append("too"), patience_s=30.0)
        await asyncio.wait_for(database.write(add("impatient")), 10)
        assert (told, commits) == (["patient", "too"], ["COMMIT"])
        await database.close()

    asyncio.run(main())


def test_a_patient_operation_is_committed_without_company(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        done = asyncio.Event()
        database.submit(add("patient"), lambda value, error: done.set(), patience_s=0.01)
        await asyncio.wait_for(done.wait(), 10)
        assert names(database) == ["patient"]
        await database.close()

    asyncio.run(main())


def test_closing_does_not_wait_for_company(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        database.submit(add("patient"), lambda value, error: None, patience_s=300.0)
        await asyncio.wait_for(database.close(), 10)

    asyncio.run(main())


def test_an_operation_that_raises_is_undone_alone(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")

        def half(connection: sqlite3.Connection) -> None:
            add("half")(connection)
            raise ValueError("no")

        results = await asyncio.gather(
            *(database.write(operation) for operation in (add("a"), half, add("b"))), return_exceptions=True
        )
        assert isinstance(results[1], ValueError)
        with pytest.raises(ValueError, match="no"):
            await database.write(half)
        assert names(database) == ["a", "b"]
        await database.close()

    asyncio.run(main())


def test_a_full_disk_refuses_the_group_and_the_service_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        pages = database.reader.execute("PRAGMA page_count").fetchone()[0]
        await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 2}"))
        writes = [database.write(add("x" * 3000 + str(number))) for number in range(100)]
        answers = await asyncio.gather(*writes, return_exceptions=True)
        assert any(isinstance(answer, StorageFull) for answer in answers)
        kept = len(names(database))
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
        await database.write(add("after"))
        assert names(database)[kept:] == ["after"]
        await database.close()

    asyncio.run(main())


@pytest.mark.parametrize("text", ["disk I/O error", "database disk image is malformed"])
def test_a_broken_disk_stops_the_writer_for_good(tmp_path: Path, text: str) -> None:
    async def main() -> None:
        fatal = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        database = await started(
            tmp_path / "hub.db", on_fatal=lambda error: loop.call_soon_threadsafe(fatal.set_result, error)
        )

        def fail(connection: sqlite3.Connection) -> None:
            raise sqlite3.OperationalError(text)

        answer = database.write(fail)
        assert text in str(await asyncio.wait_for(fatal, 5))
        assert not answer.done()  # nobody is told that it was written, nor that it was not
        await database.close()

    asyncio.run(main())


def test_the_process_ends_when_writing_is_not_safe(tmp_path: Path) -> None:
    code = f"""
import asyncio, pathlib, sqlite3
from funcx_lab_hub_service.store.database import Database
async def main():
    database = Database(pathlib.Path({str(tmp_path)!r}) / "hub.db")
    await database.start()
    def fail(connection): raise sqlite3.OperationalError("disk I/O error")
    await database.write(fail)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 74
    assert "disk I/O error" in done.stderr


def test_acknowledged_rows_survive_kill_9(tmp_path: Path) -> None:
    code = f"""
import asyncio, pathlib
from funcx_lab_hub_service.store.database import Database
async def main():
    database = Database(pathlib.Path({str(tmp_path)!r}) / "hub.db")
    await database.start()
    n = 0
    while True:
        names = [f"u{{n + k}}" for k in range(20)]
        await asyncio.gather(*(database.write(lambda connection, name=name: connection.execute(
            "INSERT INTO users (name) VALUES (?)", (name,)) and None) for name in names))
        print("\\n".join(names), flush=True)
        n += 20
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(400)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.read().split("\n")[:-1]
    process.stdout.close()
    assert process.wait(10) == -signal.SIGKILL

    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        assert database.boot == 2
        assert set(acknowledged) <= set(names(database))
        await database.close()

    asyncio.run(main())


def test_each_start_has_its_own_number(tmp_path: Path) -> None:
    async def main() -> None:
        for boot in (1, 2, 3):
            database = await started(tmp_path / "hub.db")
            assert database.boot == boot
            await database.close()

    asyncio.run(main())


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        await database.write(
            lambda connection: connection.execute(
                "UPDATE _sqlite_migrations SET name = 'm999_from_the_future' WHERE name LIKE 'm001%'"
            )
        )
        await database.close()
        with pytest.raises(ConfigError, match="newer"):
            await Database(tmp_path / "hub.db").start()

    asyncio.run(main())


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(os.urandom(8192))
    with pytest.raises(ConfigError, match=r"hub\.db"):
        asyncio.run(Database(tmp_path / "hub.db").start())


def test_a_closed_database_takes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        last = database.write(add("last"))
        await database.close()
        await last
        with pytest.raises(ServiceUnavailable):
            await database.write(add("late"))

    asyncio.run(main())


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    async def main() -> None:
        database = await started(tmp_path / "hub.db")
        assert (tmp_path / "hub.db").stat().st_mode & 0o777 == 0o600
        pragmas = await database.write(
            lambda connection: [
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        )
        assert pragmas == ["wal", 2, 1]
        await database.close()

    asyncio.run(main())
