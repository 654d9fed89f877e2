"""Functions in the database."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from funcx_lab_hub_service.store.records import FunctionRecord
from funcx_lab_hub_service.store.users import user_key

#: The entry of ``meta`` that is told on its own, for it may be long.
SOURCE = "source"
_COLUMNS = "f.id, f.function_id, u.name, f.name, f.format, f.sha256, f.meta, f.created"
_FROM = "FROM functions f JOIN users u ON u.id = f.owner"


def insert(connection: sqlite3.Connection, new: FunctionRecord, body: bytes) -> str:
    """Store a function; the same name and content of the same owner keeps its first id."""
    owner = user_key(connection, new.owner)
    row = connection.execute(
        "SELECT function_id FROM functions"
        " WHERE owner = ? AND sha256 = ? AND name = ? AND format = ? AND deleted IS NULL",
        (owner, new.sha256, new.name, new.format),
    ).fetchone()
    if row is not None:
        return str(row[0])
    connection.execute(
        "INSERT INTO functions (function_id, owner, name, format, sha256, meta, created, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(new.function_id, owner, new.name, new.format, new.sha256),
            *(json.dumps(new.meta), new.created, body),
        ),
    )
    return new.function_id


def find(connection: sqlite3.Connection, function_id: str) -> FunctionRecord | None:
    """Return a function that is not deleted."""
    row = connection.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE f.function_id = ? AND f.deleted IS NULL",
        (function_id,),
    ).fetchone()
    return None if row is None else _record(row)


def body(connection: sqlite3.Connection, function_id: str) -> tuple[FunctionRecord, bytes] | None:
    """Return a function with its body, deleted or not: tasks that were accepted still run."""
    row = connection.execute(
        f"SELECT {_COLUMNS}, f.body {_FROM} WHERE f.function_id = ?",
        (function_id,),
    ).fetchone()
    return None if row is None else (_record(row[:-1]), row[-1])


def told(connection: sqlite3.Connection, function_id: str) -> tuple[str | None, list[str]]:
    """Return what was said of a function, deleted or not: its plain source, and its parameters' names."""
    row = connection.execute("SELECT meta FROM functions WHERE function_id = ?", (function_id,)).fetchone()
    meta = {} if row is None else json.loads(row[0])
    source, names = meta.get(SOURCE), meta.get("parameters")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = []
    return source if isinstance(source, str) else None, names


def select(connection: sqlite3.Connection, owner: str) -> list[FunctionRecord]:
    """Return the owner's functions, newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE u.name = ? AND f.deleted IS NULL ORDER BY f.id DESC",
        (owner,),
    )
    return [_record(row) for row in rows]


def delete(connection: sqlite3.Connection, key: int, now: float) -> None:
    """Hide a function; accepted tasks still run."""
    connection.execute("UPDATE functions SET deleted = ? WHERE id = ?", (now, key))


def _record(row: tuple[Any, ...]) -> FunctionRecord:
    key, function_id, owner, name, form, sha256, meta, created = row
    said = json.loads(meta)
    said.pop(SOURCE, None)
    return FunctionRecord(key, function_id, owner, name, form, sha256, said, created)
