"""How tasks end, in the writer's transaction: judged at its turn, the first end wins and never changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from funcx_lab.crash_points import crash_point
from funcx_lab.protocol.messages import Event, Outcome, ResultItem
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import OutcomeItem
from funcx_lab_hub_service.store import events as event_log
from funcx_lab_hub_service.store import moves, reuse
from funcx_lab_hub_service.store.boot import unmark_copy
from funcx_lab_hub_service.store.endings import (
    LOSS_LIMIT,
    abandoned,
    cancelled_by_user,
    checked,
    expired,
    lost_unknown,
    poisoned,
    state_of,
)
from funcx_lab_hub_service.store.moves import FINAL, QUEUED, Out
from funcx_lab_hub_service.store.records import CODES, STATES, EndpointRecord
from funcx_lab_hub_service.store.retention import overdue
from funcx_lab_hub_service.store.tasks import encode, options_of
from funcx_lab_hub_service.store.tombstones import buried, chunks
from funcx_lab_hub_service.store.users import count_late

#: Ends that no result of an endpoint made.
_WITHOUT_RESULT = (TaskState.CANCELLED, TaskState.EXPIRED)

_SELECT = """SELECT t.id, t.task_id, t.state, t.owner, u.name, g.group_id, t.endpoint, e.endpoint_id, eu.name,
    t.received, t.started, t.events, t.tag, t.losses, t.session, t.size, t.memo IS NOT NULL,
    t.execution
    FROM tasks t JOIN task_groups g ON g.id = t.grp JOIN users u ON u.id = t.owner
    JOIN endpoints e ON e.id = t.endpoint JOIN users eu ON eu.id = e.owner"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has just ended, with all that its subscribers want to know."""

    owner: str
    group_id: str
    item: OutcomeItem
    #: the events stored with the end, and how many the log holds with them
    events: list[tuple[int, Event]]
    stored: int
    #: the lease it was out under
    tag: int | None
    #: bytes of its arguments
    size: int
    #: what people read about where its result comes from
    reason: str = ""


@dataclass(slots=True)
class Verdict:
    """What became of a message's entries."""

    #: committed or void: ``(task_id, execution)``
    acked: list[tuple[str, str]] = field(default_factory=list)
    #: no such task: ``(task_id, tag)``
    unknown: list[tuple[str, int]] = field(default_factory=list)
    #: back in the queue
    requeued: list[str] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)


@dataclass(slots=True)
class Reconciliation:
    """What the comparison with an inventory gave."""

    #: leases that stand: ``(task_id, tag)``
    kept: list[tuple[str, int]] = field(default_factory=list)
    unknown: list[tuple[str, int]] = field(default_factory=list)
    drop: list[tuple[str, int]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)


class _Task:
    """A row of ``_SELECT``."""

    __slots__ = (
        *("key", "task_id", "state", "owner_key", "owner", "group_id", "endpoint", "endpoint_id"),
        *("endpoint_owner", "received", "started", "events", "tag", "losses", "session", "size", "has_memo"),
        "execution",
    )

    def __init__(self, row: Sequence[Any]) -> None:
        (self.key, self.task_id, self.state, self.owner_key, self.owner, self.group_id) = row[:6]
        (self.endpoint, self.endpoint_id, self.endpoint_owner, self.received, self.started) = row[6:11]
        (self.events, self.tag, self.losses, self.session, self.size) = row[11:16]
        self.has_memo, self.execution = row[16:]

    @property
    def out(self) -> Out:
        return Out(self.key, self.state, self.tag, self.session)


def _find(connection: sqlite3.Connection, task_id: str) -> _Task | None:
    row = connection.execute(f"{_SELECT} WHERE t.task_id = ?", (task_id,)).fetchone()
    return None if row is None else _Task(row)


class OutcomeWriter:
    """Ends tasks; lives in the writer thread.

    Parameters
    ----------
    next_cursor : callable
        Returns a number greater than all before.
    """

    def __init__(self, next_cursor: Callable[[], int]) -> None:
        self._next_cursor = next_cursor

    def store_results(
        self,
        connection: sqlite3.Connection,
        endpoint: EndpointRecord,
        results: Iterable[ResultItem],
        now: float,
        environment: str = "",
    ) -> Verdict:
        """Judge outcomes that an endpoint sent; ``environment`` is the digest of its packages."""
        verdict, group = Verdict(), _Group(connection)
        for result in results:
            task = _find(connection, result.task_id)
            if task is None and not _is_late_for_ever(connection, result.task_id):
                verdict.unknown.append((result.task_id, result.tag))
                continue
            verdict.acked.append((result.task_id, result.execution))
            if task is None or task.endpoint != endpoint.key:
                continue
            if task.state < FINAL and task.key not in group:
                new = event_log.append(connection, task.key, task.events, result.events)
                task.events += len(new)
                task.execution = result.execution
                if task.has_memo:
                    reuse.note_environment(connection, task.key, environment)
                verdict.ended.append(self._end(group, task, checked(result.outcome), now, new))
            elif _is_other(task, group, result):
                count_late(connection, task.owner_key)
        group.flush()
        return verdict

    def store_losses(
        self,
        connection: sqlite3.Connection,
        endpoint: EndpointRecord,
        losses: Iterable[tuple[str, int, str, str]],
        now: float,
    ) -> Verdict:
        """Count executions that died with their worker, each once; give up the task at the third."""
        verdict, group = Verdict(), _Group(connection)
        for task_id, tag, execution, evidence in losses:
            verdict.acked.append((task_id, execution))
            task = _find(connection, task_id)
            if task is None or task.state >= FINAL or task.endpoint != endpoint.key or task.key in group:
                continue
            if not _is_new_loss(connection, task, execution, evidence, now):
                continue
            task.losses += 1
            if task.losses >= LOSS_LIMIT:
                verdict.ended.append(self._end(group, task, poisoned(evidence), now, []))
            elif task.tag == tag and task.state != QUEUED:
                moves.requeue(connection, [task.out])
                verdict.requeued.append(task_id)
        group.flush()
        return verdict

    def reuse(
        self, connection: sqlite3.Connection, task_id: str, memo: bytes, environment: str, now: float
    ) -> list[Ended]:
        """End a task that has just gone in with the result of the same call, if one is stored."""
        task = _find(connection, task_id)
        earlier = None if task is None else reuse.find(connection, memo, task.owner_key, environment)
        if task is None or earlier is None or task.state >= FINAL:
            return []
        group, new = _Group(connection), reuse.give(connection, task.key, task.events, earlier)
        task.events += len(new)
        task.execution = earlier.execution
        ended = self._end(group, task, earlier.outcome, now, new)
        group.flush()
        return [replace(ended, reason=earlier.reused.reason(task.received))]

    def cancel(
        self, connection: sqlite3.Connection, owner: str, task_ids: Iterable[str], now: float
    ) -> tuple[list[str], list[Ended]]:
        """Cancel the owner's tasks; return those that are cancelled now, and those that this call ended."""
        cancelled, ended, group = [], [], _Group(connection)
        for task_id in dict.fromkeys(task_ids):
            task = _find(connection, task_id)
            if task is None or task.owner != owner:
                continue
            if task.state < FINAL:
                ended.append(self._end(group, task, cancelled_by_user(now), now, []))
                cancelled.append(task_id)
            elif task.state == CODES[TaskState.CANCELLED]:
                cancelled.append(task_id)
        group.flush()
        return cancelled, ended

    def end_abandoned(self, connection: sqlite3.Connection, now: float) -> list[Ended]:
        """End the tasks whose endpoint was deleted: nobody will run them."""
        ended, group = [], _Group(connection)
        rows = connection.execute(
            f"{_SELECT.replace('t.execution', 't.execution, e.name', 1)}"  # noqa: S608  # constant words
            " WHERE t.endpoint IN (SELECT id FROM endpoints WHERE deleted IS NOT NULL)"
            " AND t.state IN (0, 1, 2, 3, 4) AND t.outcome_seq IS NULL"
        ).fetchall()
        for *row, name in rows:
            ended.append(self._end(group, _Task(row), abandoned(name), now, []))
        group.flush()
        return ended

    def end_doubtful(self, connection: sqlite3.Connection, now: float) -> list[Ended]:
        """End the live at_most_once tasks of an older copy that was put back: they may have run since."""
        ended, group = [], _Group(connection)
        rows = connection.execute(
            f"{_SELECT.replace('t.execution', 't.execution, t.options', 1)}"
            " WHERE t.state IN (0, 1, 2, 3, 4) AND t.outcome_seq IS NULL AND t.options IS NOT NULL"
        ).fetchall()
        for *row, blob in rows:
            options = options_of(blob)
            if options is not None and options.at_most_once:
                ended.append(self._end(group, _Task(row), lost_unknown(), now, []))
        group.flush()
        unmark_copy(connection)
        return ended

    def expire(self, connection: sqlite3.Connection, now: float, ttl_s: float, limit: int) -> list[Ended]:
        """End up to ``limit`` tasks whose time to live is over (``ttl_s``: of those that have none)."""
        ended, group = [], _Group(connection)
        for key, after_s in list(overdue(connection, now, ttl_s, limit)):
            task = _Task(connection.execute(f"{_SELECT} WHERE t.id = ?", (key,)).fetchone())
            ended.append(self._end(group, task, expired(after_s, now), now, []))
        group.flush()
        return ended

    def reconcile(
        self,
        connection: sqlite3.Connection,
        endpoint: EndpointRecord,
        session: int,
        spool: str,
        inventory: Mapping[str, int],
        now: float,
    ) -> Reconciliation:
        """Compare what the endpoint holds with its leases from earlier sessions."""
        result, group, kept, back = Reconciliation(), _Group(connection), [], []
        rows = connection.execute(
            f"{_SELECT.replace('t.execution', 't.execution, t.options, s.spool', 1)}"
            " LEFT JOIN sessions s ON s.id = t.session"
            " WHERE t.endpoint = ? AND t.state IN (0, 2, 3, 4) AND t.outcome_seq IS NULL AND t.session < ?",
            (endpoint.key, session),
        ).fetchall()
        for *row, blob, leased_spool in rows:
            task, options = _Task(row), options_of(blob)
            if inventory.get(task.task_id) == task.tag:
                result.kept.append((task.task_id, task.tag))
                kept.append(task.out)
            elif options is not None and options.at_most_once and leased_spool != spool:
                result.ended.append(self._end(group, task, lost_unknown(), now, []))
            else:
                back.append(task.out)
        moves.keep(connection, session, kept)
        moves.requeue(connection, back)
        group.flush()
        crash_point("hub.reconciling")
        result.unknown, result.drop = _compare(connection, endpoint, inventory)
        return result

    def _end(
        self, group: _Group, task: _Task, outcome: Outcome, now: float, events: list[tuple[int, Event]]
    ) -> Ended:
        state = state_of(outcome)
        cursor = self._next_cursor()
        started, ended = outcome.started or task.started, outcome.ended or now
        group.add(task, CODES[state], (started, ended, now, cursor), outcome)
        item = OutcomeItem(
            *(cursor, task.task_id, str(state), outcome.payload, outcome.object, outcome.error),
            *(task.endpoint_id, task.owner == task.endpoint_owner),
            (task.received, started or 0.0, ended),
        )
        return Ended(task.owner, task.group_id, item, events, task.events, task.tag, task.size)


class _Group:
    """Rows of the tasks that one operation ends, written together."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._updates: list[tuple[Any, ...]] = []
        self._results: list[tuple[Any, ...]] = []
        #: the execution that ended each task
        self.executions: dict[int, str | None] = {}

    def __contains__(self, key: int) -> bool:
        return key in self.executions

    def add(self, task: _Task, state: int, times: tuple[Any, ...], outcome: Outcome) -> None:
        error = None if outcome.error is None else encode(outcome.error)
        worker = encode(outcome.worker) if outcome.worker else None
        facts = (task.events, task.execution, task.losses, error, worker)
        self._updates.append((state, *times, *facts, task.key))
        self.executions[task.key] = task.execution
        if outcome.object is not None:
            self._results.append((task.key, outcome.payload, outcome.object.sha256, outcome.object.size))
        elif outcome.payload:
            self._results.append((task.key, outcome.payload, None, None))

    def flush(self) -> None:
        if self._updates:
            moves.end(self._connection, self._updates)
            self._connection.executemany("INSERT INTO results VALUES (?, ?, ?, ?)", self._results)


def _is_late_for_ever(connection: sqlite3.Connection, task_id: str) -> bool:
    """Whether the outcome is one of a purged task; it is counted then."""
    owner = buried(connection, [task_id]).get(task_id)
    if owner is not None:
        count_late(connection, owner)
    return owner is not None


def _is_other(task: _Task, group: _Group, result: ResultItem) -> bool:
    """Whether a void result is another than the one that ended its task."""
    if task.key in group:
        return group.executions[task.key] != result.execution
    return task.execution != result.execution or STATES[task.state] in _WITHOUT_RESULT


def _is_new_loss(
    connection: sqlite3.Connection, task: _Task, execution: str, evidence: str, now: float
) -> bool:
    if not connection.execute(
        "INSERT OR IGNORE INTO losses VALUES (?, ?, ?, ?)", (execution, task.key, now, evidence)
    ).rowcount:
        return False
    connection.execute("UPDATE tasks SET losses = losses + 1 WHERE id = ?", (task.key,))
    return True


def _compare(
    connection: sqlite3.Connection, endpoint: EndpointRecord, inventory: Mapping[str, int]
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return which held leases belong to no task, and which to one that has ended or is elsewhere."""
    ids = list(inventory)
    live = dict.fromkeys(buried(connection, ids), False)
    for marks, piece in chunks(ids):
        rows = connection.execute(
            f"SELECT task_id, state, endpoint FROM tasks WHERE task_id IN ({marks})",  # noqa: S608  # marks only
            piece,
        )
        live.update((task_id, state < FINAL and key == endpoint.key) for task_id, state, key in rows)
    unknown = [(task_id, tag) for task_id, tag in inventory.items() if task_id not in live]
    return unknown, [(task_id, tag) for task_id, tag in inventory.items() if live.get(task_id) is False]
