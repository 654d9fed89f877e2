"""What views ask of the tables: whose tasks these are, which ones are at an endpoint, how many wait there."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

from funcx_lab_hub_service.store.moves import FINAL
from funcx_lab_hub_service.store.records import STATES
from funcx_lab_hub_service.store.tombstones import chunks

_USER = "(SELECT id FROM users WHERE name = ?)"
_LIVE = f"state IN ({','.join(map(str, range(FINAL)))})"


def by_owner(connection: sqlite3.Connection, task_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return those of the ids that a task has, by the task's owner."""
    found: dict[str, list[str]] = {}
    for marks, piece in chunks(task_ids):
        for owner, task_id in connection.execute(
            f"SELECT u.name, t.task_id FROM tasks t JOIN users u ON u.id = t.owner WHERE t.task_id IN ({marks})",  # noqa: S608, E501  # marks only
            piece,
        ):
            found.setdefault(owner, []).append(task_id)
    return found


def live_at(connection: sqlite3.Connection, owner: str, endpoint_id: str, limit: int) -> list[str]:
    """Return up to ``limit`` of the owner's live tasks at an endpoint."""
    rows = connection.execute(
        f"SELECT task_id FROM tasks WHERE owner = {_USER} AND {_LIVE}"  # noqa: S608  # constant words
        " AND endpoint = (SELECT id FROM endpoints WHERE endpoint_id = ?) LIMIT ?",
        (owner, endpoint_id, limit),
    )
    return [row[0] for row in rows]


def live_counts(connection: sqlite3.Connection, owner: str) -> list[tuple[str, int, int]]:
    """Return how many of the owner's live tasks are at each endpoint: its id, stored state, count."""
    rows = connection.execute(
        f"SELECT endpoint, state FROM tasks WHERE owner = {_USER} AND {_LIVE}",  # noqa: S608  # constant words
        (owner,),
    )
    counted = Counter(rows)  # in SQL it would sort them
    keys = [str(key) for key in {key for key, _ in counted}]
    ids: dict[int, str] = {}
    for marks, piece in chunks(keys):
        ids.update(connection.execute(f"SELECT id, endpoint_id FROM endpoints WHERE id IN ({marks})", piece))  # noqa: S608  # marks only
    return [(ids[key], state, n) for (key, state), n in counted.items()]


def ended_counts(connection: sqlite3.Connection, owner: str) -> list[tuple[int, int]]:
    """Return how many of the owner's tasks have ended: stored state, count."""
    ended = ",".join(map(str, range(FINAL, len(STATES))))
    return connection.execute(
        f"SELECT state, count(*) FROM tasks WHERE owner = {_USER} AND state IN ({ended}) GROUP BY state",  # noqa: S608  # constant words
        (owner,),
    ).fetchall()
