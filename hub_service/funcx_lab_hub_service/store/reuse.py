"""Results that stand for another run of the same call: the keys, the search, the copy."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from typing import Any

import msgspec

from funcx_lab.protocol.messages import ObjectRef, Outcome
from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.store import events
from funcx_lab_hub_service.store.records import CODES, Reused

_encode = msgspec.msgpack.Encoder().encode
_decode_reused = msgspec.msgpack.Decoder(Reused).decode
_decode_worker = msgspec.msgpack.Decoder(dict[str, Any]).decode
_SUCCESS = CODES[TaskState.SUCCESS]


@dataclass(frozen=True, slots=True)
class Memo:
    """What the calls of one submit have in common, as far as it decides on their results.

    Attributes
    ----------
    code : str
        Key of the code.
    endpoint_id, environment : str
        Where they run, and the digest of the packages there now; ``""`` if that is not known.
    requires : tuple of str
        Packages asked for.
    fresh : bool
        Run them whatever is stored.
    """

    code: str
    endpoint_id: str
    environment: str
    requires: tuple[str, ...] = ()
    fresh: bool = False

    def key(self, owner: str, arguments: str) -> bytes:
        """Return the digest that calls share when one's result may stand for the other's.

        The environment is no part of it: what made a result is known when it is there.

        Parameters
        ----------
        owner : str
            Whose calls.
        arguments : str
            Hex SHA-256 of the packed arguments.
        """
        parts = (owner, self.code, arguments, self.endpoint_id, self.requires)
        return hashlib.sha256(_encode(parts)).digest()


@dataclass(frozen=True, slots=True)
class Earlier:
    """A task whose result may be used again."""

    key: int
    execution: str | None
    outcome: Outcome
    reused: Reused


def note_environment(connection: sqlite3.Connection, task: int, environment: str) -> None:
    """Note what made a result: the packages there now, unless there were others when the task came in."""
    connection.execute(
        "UPDATE tasks SET environment = CASE WHEN environment IN ('', ?1) THEN ?1 END WHERE id = ?2",
        (environment, task),
    )


def find(connection: sqlite3.Connection, memo: bytes, owner: int, environment: str) -> Earlier | None:
    """Return the owner's newest task of this key that succeeded in this environment and is not purged."""
    # The index is named: the planner would take that of states, and look at every task that succeeded.
    row = connection.execute(
        "SELECT t.id, t.task_id, t.execution, t.received, t.started, t.ended, t.worker, t.reused, r.payload,"
        " r.object, r.size FROM tasks t INDEXED BY memos LEFT JOIN results r ON r.task = t.id"
        " WHERE t.memo = ? AND t.environment = ? AND t.owner = ? AND t.state = ? ORDER BY t.id DESC LIMIT 1",
        (memo, environment, owner, _SUCCESS),
    ).fetchone()
    if row is None:
        return None
    key, task_id, execution, received, started, ended, worker, reused, payload, sha256, size = row
    took = max(0.0, ended - (started or received))
    outcome = Outcome(
        *(True, payload or b"", None if sha256 is None else ObjectRef(sha256, size)),
        worker={} if worker is None else _decode_worker(worker),
    )
    # Of a result that was itself used again, the run that made it is named.
    run = Reused(task_id, ended, took) if reused is None else _decode_reused(reused)
    return Earlier(key, execution, outcome, run)


def give(connection: sqlite3.Connection, task: int, stored: int, earlier: Earlier) -> list[events.Logged]:
    """Note where a task's result comes from, give it what that run printed and showed, and return that.

    Parameters
    ----------
    task : int
        The task's row.
    stored : int
        How many events its log holds; the caller keeps that column.
    """
    connection.execute("UPDATE tasks SET reused = ? WHERE id = ?", (_encode(earlier.reused), task))
    return events.copy(connection, earlier.key, earlier.execution, task, stored)
