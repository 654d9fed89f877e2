"""The hub service and the agent end at named places, once each: nothing is lost, nothing ends twice."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.crash_points import crash
from funcx_lab.crash_points import CRASH_POINTS, STATUS

ROOT = Path(__file__).parents[2]
#: Nothing is purged in a run of some seconds; see below.
IN_THE_STORE = "hub.purging"
FILES = (".db", ".json", ".key", ".lock", ".log")
#: One for each way in which the two programs may come to disagree; the others come with the slow tests.
QUICK = ["hub.dispatched", "hub.after_commit", "agent.after_calls"]


def check(name: str, directory: Path) -> None:
    found = crash(name, directory)
    assert found.verdict.complaints() == []
    assert found.left == []
    assert found.recovery is not None
    assert found.recovery < 60


@pytest.mark.parametrize("name", QUICK)
def test_a_crash_loses_nothing(tmp_path: Path, name: str) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CRASH_POINTS.keys() - {*QUICK, IN_THE_STORE}))
def test_a_crash_at_any_place_loses_nothing(tmp_path: Path, name: str) -> None:
    check(name, tmp_path)


def test_every_place_is_in_the_table_and_in_the_programs() -> None:
    found = []
    for folder in ("hub_service", "endpoint"):
        for path in (ROOT / folder).rglob("*.py"):
            found += re.findall(r'"((?:hub|agent)\.\w+)"', path.read_text())
    assert sorted(name for name in found if not name.endswith(FILES)) == sorted(CRASH_POINTS)


def run(code: str, directory: Path, crash_at: str = "") -> int:
    environment = {**os.environ, "FUNCX_LAB_CRASH_AT": crash_at}
    return subprocess.run([sys.executable, "-c", code], cwd=directory, env=environment).returncode


def test_the_count_and_the_file_say_when(tmp_path: Path) -> None:
    code = "from funcx_lab.crash_points import crash_point\nfor _ in range(3): crash_point('hub.leased')"
    assert run(code, tmp_path) == 0
    assert run(code, tmp_path, "hub.judged") == 0
    assert run(code, tmp_path, "hub.leased") == STATUS
    assert run(code, tmp_path, "hub.leased:3") == STATUS
    assert run(code, tmp_path, "hub.leased:4") == 0
    assert run(code, tmp_path, f"hub.leased:2:{tmp_path}/once") == STATUS
    assert run(code, tmp_path, f"hub.leased:2:{tmp_path}/once") == 0


PURGE = """
import sqlite3
from funcx_lab_hub_service.store.retention import purge
connection = sqlite3.connect("hub.db", isolation_level=None)
connection.execute("BEGIN")
purge(connection, 0, 1e12, 1.0, 100)
connection.execute("COMMIT")
"""
OLD_TASK: dict[str, dict[str, object]] = {
    "users": {"id": 1, "name": "me"},
    "task_groups": {"id": 1, "owner": 1, "group_id": "g"},
    "endpoints": {"id": 1, "endpoint_id": "e", "owner": 1, "name": "e", "metadata": "", "created": 0},
    "functions": {
        **{"id": 1, "function_id": "f", "owner": 1, "name": "f", "format": "", "sha256": "", "meta": ""},
        **{"created": 0, "body": b""},
    },
    "tasks": {
        **{"id": 1, "task_id": "old", "owner": 1, "grp": 1, "endpoint": 1, "function": 1, "state": 5},
        **{"received": 1, "closed": 2, "outcome_seq": 1},
    },
}


def test_a_crash_while_old_tasks_are_purged_leaves_the_task_or_its_tombstone(tmp_path: Path) -> None:
    from funcx_lab_hub_service.store.schema import migrate

    connection = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection)
    for table, row in OLD_TASK.items():
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()])

    def left() -> tuple[int, int]:
        [tasks] = connection.execute("SELECT count(*) FROM tasks").fetchone()
        [tombstones] = connection.execute("SELECT count(*) FROM tombstones").fetchone()
        return tasks, tombstones

    assert run(PURGE, tmp_path, IN_THE_STORE) == STATUS
    assert left() == (1, 0)
    assert run(PURGE, tmp_path) == 0
    assert left() == (0, 1)
    connection.close()
