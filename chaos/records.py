"""The three records of a run: the client's, the hub service's, and the executions' own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from funcx_lab.protocol.messages import ErrorInfo
from funcx_lab.protocol.states import TaskState
from funcx_lab.serialize import unpack_value
from funcx_lab_hub_service.store.records import CODES, STATES

#: Kinds of entries of the client: ``[kind, number or task id, monotonic seconds, ...]``.
INTENT, SENT, ACKED, SEEN, AGAIN, END = "intent", "sent", "acked", "seen", "again", "end"
#: One task in so many is submitted with ``at_most_once``.
CAREFUL = 20
_SUCCESS = CODES[TaskState.SUCCESS]


def is_careful(number: int) -> bool:
    """Whether the task of that number must never begin twice."""
    return number % CAREFUL == 7


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a task's function, as it told itself."""

    number: int
    token: str
    pid: int
    #: monotonic seconds
    begun: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class HubTask:
    """One task in the hub service's database.

    Attributes
    ----------
    final : bool
        Whether it has ended.
    value : Any
        What the function returned; None if it failed.
    code, message : str
        Why it failed.
    """

    task_id: str
    final: bool
    value: Any = None
    code: str = ""
    message: str = ""


class Tail:
    """The lines that were added to a file since the last look; a torn last line waits for its rest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> Iterator[str]:
        """Yield the complete new lines."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        yield from complete.decode().splitlines()


def read_client(path: Path) -> list[list[Any]]:
    """Return the client's entries in order."""
    return [json.loads(line) for line in Tail(path).lines()]


def read_executions(path: Path) -> list[Execution]:
    """Return every run that began."""
    begun: dict[str, Execution] = {}
    for line in Tail(path).lines():
        kind, number, token, pid, time = line.split()
        if kind == "begin":
            begun[token] = Execution(int(number), token, int(pid), float(time), None)
        else:
            begun[token] = Execution(int(number), token, int(pid), begun[token].begun, float(time))
    return list(begun.values())


def read_hub(path: Path, group_id: str) -> list[HubTask]:
    """Return the tasks of a group as they stand in the database of a service that has stopped."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT t.task_id, t.state, t.error, r.payload FROM tasks t JOIN task_groups g ON g.id = t.grp"
            " LEFT JOIN results r ON r.task = t.id WHERE g.group_id = ?",
            (group_id,),
        ).fetchall()
    finally:
        connection.close()
    return [_hub_task(*row) for row in rows]


def _hub_task(task_id: str, state: int, error: bytes | None, payload: bytes | None) -> HubTask:
    if state == _SUCCESS and payload is not None:
        return HubTask(task_id, True, unpack_value(payload, trusted=True))
    if error is None:
        return HubTask(task_id, STATES[state].is_final)
    info = msgspec.msgpack.decode(error, type=ErrorInfo)
    return HubTask(task_id, STATES[state].is_final, None, info.code, info.message)
