"""Endpoints and their sessions in the database."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from funcx_lab_hub_service.store.records import EndpointRecord
from funcx_lab_hub_service.store.users import user_key

_COLUMNS = "e.id, e.endpoint_id, u.name, e.name, e.metadata, e.created, e.seen, e.public_key"


def upsert(
    connection: sqlite3.Connection, new: EndpointRecord, enrolment: bytes, enrolment_ends: float
) -> EndpointRecord:
    """Store an endpoint, or give the owner's endpoint of that name a new enrolment token.

    Raises
    ------
    sqlite3.IntegrityError
        If another endpoint has the id.
    """
    owner = user_key(connection, new.owner)
    row = connection.execute(
        "SELECT id FROM endpoints WHERE owner = ? AND name = ? AND deleted IS NULL", (owner, new.name)
    ).fetchone()
    metadata = json.dumps(new.metadata)
    if row is None:
        row = connection.execute(
            "INSERT INTO endpoints (endpoint_id, owner, name, metadata, created)"
            " VALUES (?, ?, ?, ?, ?) RETURNING id",
            (new.endpoint_id, owner, new.name, metadata, new.created),
        ).fetchone()
    connection.execute(
        "UPDATE endpoints SET metadata = ?, enrolment = ?, enrolment_ends = ? WHERE id = ?",
        (metadata, enrolment, enrolment_ends, row[0]),
    )
    return _one(connection, "e.id = ?", row[0])


def enrol(
    connection: sqlite3.Connection, endpoint_id: str, enrolment: bytes, public_key: str, now: float
) -> EndpointRecord | None:
    """Bind the agent's key if the one-time token is right and in time; None if not."""
    row = connection.execute(
        "UPDATE endpoints SET public_key = ?, enrolment = NULL, enrolment_ends = NULL"
        " WHERE endpoint_id = ? AND enrolment = ? AND enrolment_ends > ? AND deleted IS NULL RETURNING id",
        (public_key, endpoint_id, enrolment, now),
    ).fetchone()
    return None if row is None else _one(connection, "e.id = ?", row[0])


def _one(connection: sqlite3.Connection, where: str, value: Any) -> EndpointRecord:
    return _record(
        connection.execute(
            f"SELECT {_COLUMNS} FROM endpoints e JOIN users u ON u.id = e.owner WHERE {where}",  # noqa: S608  # constant words
            (value,),
        ).fetchone()
    )


def select(connection: sqlite3.Connection) -> list[EndpointRecord]:
    """Return every endpoint that is not deleted."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM endpoints e JOIN users u ON u.id = e.owner"  # noqa: S608  # constant names
        " WHERE e.deleted IS NULL ORDER BY e.id"
    )
    return [_record(row) for row in rows]


def delete(connection: sqlite3.Connection, key: int, now: float) -> None:
    """Hide an endpoint and forget its agent's key."""
    connection.execute(
        "UPDATE endpoints SET deleted = ?, public_key = NULL, enrolment = NULL WHERE id = ?", (now, key)
    )


def mark_seen(connection: sqlite3.Connection, key: int, now: float) -> None:
    """Store when the endpoint's agent came or went."""
    connection.execute("UPDATE endpoints SET seen = ? WHERE id = ?", (now, key))


def open_session(
    connection: sqlite3.Connection, session: int, endpoint: int, instance: str, spool: str, now: float
) -> None:
    """Store a granted session, in the writer's queue before any lease of it."""
    connection.execute(
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", (session, endpoint, instance, spool, now)
    )


def _record(row: tuple[Any, ...]) -> EndpointRecord:
    key, endpoint_id, owner, name, metadata, created, seen, public_key = row
    return EndpointRecord(key, endpoint_id, owner, name, json.loads(metadata), created, seen, public_key)
