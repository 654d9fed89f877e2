"""Tasks on their way into the database: a known id changes nothing, a purged one is never used again."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from funcx_lab.protocol.messages import ObjectRef, TaskOptions
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.store import objects
from funcx_lab_hub_service.store.moves import QUEUED, RECEIVED
from funcx_lab_hub_service.store.records import HASH_LENGTH
from funcx_lab_hub_service.store.reuse import Memo
from funcx_lab_hub_service.store.tombstones import buried
from funcx_lab_hub_service.store.users import user_key

_encode = msgspec.msgpack.Encoder().encode
_NO_OPTIONS = TaskOptions()


@dataclass(frozen=True, slots=True)
class Insertion:
    """Tasks of one submit on their way into the database.

    ``tags`` are the leases of the first tasks, which leave for the endpoint now; the others queue.
    """

    owner: str
    group_id: str
    endpoint: int
    function: int
    tasks: Sequence[NewTask]
    options: TaskOptions | None
    tags: Sequence[int]
    session: int | None
    #: Unix seconds
    received: float
    #: asked for when a stored result may stand for a run
    memo: Memo | None = None


@dataclass(slots=True)
class Inserted:
    """What became of an insertion; whatever stands in no list went in."""

    #: went in before, with the same content
    known: list[str] = field(default_factory=list)
    #: another task has the id
    conflicts: list[str] = field(default_factory=list)
    #: a task of the owner had the id and was purged
    gone: list[str] = field(default_factory=list)
    #: the object that it takes was deleted
    bereft: list[str] = field(default_factory=list)
    #: keys of tasks that went in and for which a stored result will do
    memos: dict[str, bytes] = field(default_factory=dict)

    @property
    def all_new(self) -> bool:
        """Whether everything went in."""
        return not (self.known or self.conflicts or self.gone or self.bereft)

    def refused(self) -> set[str]:
        """Return the ids that cannot be used."""
        return {*self.conflicts, *self.gone, *self.bereft}

    def old(self) -> set[str]:
        """Return the ids that added nothing."""
        return self.refused().union(self.known)


class TaskWriter:
    """Hands out row numbers; lives in the writer thread."""

    def __init__(self) -> None:
        self._next = 0

    def insert(self, connection: sqlite3.Connection, new: Insertion) -> Inserted:
        """Insert tasks; a known id changes nothing."""
        owner, group = _keys(connection, new.owner, new.group_id)
        result = Inserted()
        # Asked each time: what was free in a group that was rolled back, after a purge, may be taken.
        self._next = max(self._next, _first_free(connection))
        tagged = itertools.zip_longest(new.tasks, new.tags)
        fit = _fit(connection, new, owner, result)
        rows = [(key, task, tag) for key, (task, tag) in enumerate(tagged, self._next) if fit(task)]
        self._next += len(new.tasks)
        if _insert_rows(connection, new, owner, group, rows) != len(rows):
            rows = list(_sort_out(connection, new, owner, rows, result))
        if new.memo is not None and not new.memo.fresh:
            result.memos = {task.task_id: new.memo.key(new.owner, _digest(task)) for _, task, _ in rows}
        connection.executemany(
            "INSERT INTO bodies VALUES (?, ?, ?, ?)",
            ((key, task.payload, *_reference(task.object)) for key, task, _ in rows),
        )
        return result


def _fit(
    connection: sqlite3.Connection, new: Insertion, owner: int, result: Inserted
) -> Callable[[NewTask], bool]:
    """Return what tells the tasks that may go in; the others are noted in ``result``."""
    graves = buried(connection, [task.task_id for task in new.tasks])
    if not graves and all(task.object is None for task in new.tasks):
        return lambda task: True

    def fit(task: NewTask) -> bool:
        if task.task_id in graves:
            (result.gone if graves[task.task_id] == owner else result.conflicts).append(task.task_id)
        elif task.object is not None and not objects.is_owned(connection, task.object.sha256, new.owner):
            result.bereft.append(task.task_id)
        else:
            return True
        return False

    return fit


def _insert_rows(
    connection: sqlite3.Connection,
    new: Insertion,
    owner: int,
    group: int,
    rows: Sequence[tuple[int, NewTask, int | None]],
) -> int:
    """Insert what is new and return how many that were."""
    options = None if new.options is None or new.options == _NO_OPTIONS else _encode(new.options)
    ttl = None if new.options is None else new.options.ttl_s
    deadline = None if ttl is None else new.received + ttl
    return connection.executemany(
        "INSERT OR IGNORE INTO tasks (id, task_id, owner, grp, endpoint, function, state, options, tag,"
        " session, received, size, deadline, input_hash, memo, environment)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(key, task.task_id, owner, group, new.endpoint, new.function),
                *(QUEUED if tag is None else RECEIVED, options, tag, tag and new.session),
                *(new.received, len(task.payload), deadline, digest[:HASH_LENGTH]),
                None if new.memo is None else new.memo.key(new.owner, digest),
                None if new.memo is None else new.memo.environment,
            )
            for key, task, tag in rows
            for digest in (_digest(task),)
        ],
    ).rowcount


def _digest(task: NewTask) -> str:
    """Return the hex SHA-256 of the packed arguments, which names an object, too."""
    return hashlib.sha256(task.payload).hexdigest() if task.object is None else task.object.sha256


def _reference(reference: ObjectRef | None) -> tuple[str | None, int | None]:
    return (None, None) if reference is None else (reference.sha256, reference.size)


def _sort_out(
    connection: sqlite3.Connection,
    new: Insertion,
    owner: int,
    rows: Sequence[tuple[int, NewTask, int | None]],
    result: Inserted,
) -> Iterator[tuple[int, NewTask, int | None]]:
    """Yield the rows that went in and note the ids that a task has already."""
    for row in rows:
        key, task, _ = row
        found = connection.execute(
            "SELECT t.id, t.owner, t.endpoint, t.function, b.payload, b.object FROM tasks t"
            " LEFT JOIN bodies b ON b.task = t.id WHERE t.task_id = ?",
            (task.task_id,),
        ).fetchone()
        if found[0] == key:
            yield row
            continue
        content = (owner, new.endpoint, new.function, task.payload, _reference(task.object)[0])
        (result.known if found[1:] == content else result.conflicts).append(task.task_id)


def _keys(connection: sqlite3.Connection, user: str, group_id: str) -> tuple[int, int]:
    """Return the numbers of a user and of a task group of theirs, made if there are none."""
    row = connection.execute(
        "SELECT u.id, g.id FROM users u JOIN task_groups g ON g.owner = u.id"
        " WHERE u.name = ? AND g.group_id = ?",
        (user, group_id),
    ).fetchone()
    if row is not None:
        return int(row[0]), int(row[1])
    owner = user_key(connection, user)
    row = connection.execute(
        "INSERT INTO task_groups (owner, group_id) VALUES (?, ?) RETURNING id", (owner, group_id)
    ).fetchone()
    return owner, int(row[0])


def _first_free(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM tasks").fetchone()[0])
