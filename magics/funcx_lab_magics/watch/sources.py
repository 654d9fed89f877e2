"""Where a watch gets its facts: futures that the SDK's stream completes, and the hub service's records."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from funcx_lab.connection import Connection
from funcx_lab.errors import FuncxLabError
from funcx_lab.futures import TaskFuture
from funcx_lab.maps.items import MapTask
from funcx_lab.protocol.states import FINAL_STATES, TaskState
from funcx_lab_magics.watch.board import Board, Row

#: So many records are asked for at once.
PAGE = 1000
#: Tasks of unknown groups that are asked for one by one, in one look.
_ONE_BY_ONE = 20
_LIVE = ",".join(state.value for state in TaskState if not state.is_final)


class Source(Protocol):
    """What can bring a board up to date.

    Attributes
    ----------
    title : str
        What is watched, for people.
    has_end : bool
        Whether it is over when all tasks of the board have ended.
    """

    title: str
    has_end: bool

    def begin(self, wake: Callable[[], None]) -> None:
        """Call ``wake``, from any thread, whenever a look is worthwhile."""

    def look(self, board: Board) -> None:
        """Bring the board up to date.

        Raises
        ------
        FuncxLabError
            If the hub service does not tell.
        """

    def cancel(self, board: Board) -> int:
        """Cancel what has not ended; return how many tasks are cancelled now.

        Raises
        ------
        TransportError
            If the hub service does not answer.
        """


@dataclass
class Member:
    """One future that is watched.

    Attributes
    ----------
    key : str
        The task's id, or what stands for it.
    future : Future
        The future.
    connection : Connection or None
        To the hub service that knows the task; None for futures of other executors.
    endpoint, label : str
        As far as they are known.
    map_task : MapTask or None
        The part of a map that it computes.
    """

    key: str
    future: concurrent.futures.Future[Any]
    connection: Connection | None = None
    endpoint: str = ""
    label: str = ""
    map_task: MapTask | None = None


class FutureSource:
    """Futures: their ends come from the SDK's stream, what they wait for from the service's records.

    Parameters
    ----------
    members : sequence of Member
        The futures.
    title : str
        What they are.
    groups : iterable of str
        Groups that are known to have tasks of them.
    """

    has_end = True

    def __init__(self, members: Sequence[Member], title: str, groups: Iterable[str] = ()) -> None:
        self.title = title
        self._members = {member.key: member for member in members}
        self._open = dict(self._members)
        self._groups = set(groups)
        self._is_described = False

    def begin(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when one ends, in the stream's thread."""
        for member in self._members.values():
            member.future.add_done_callback(lambda _: wake())

    def look(self, board: Board) -> None:
        """Take in which have ended, then ask what the others wait for."""
        for member in self._members.values():
            if member.key not in board.rows:
                board.rows[member.key] = _new_row(member)
        for member in list(self._open.values()):
            if member.future.done():
                _end(board.rows[member.key], member)
                del self._open[member.key]
        remote = [member for member in self._open.values() if member.connection is not None]
        # The last look is at ended tasks only, for labels and hosts.
        if remote or not self._is_described:
            self._is_described = not remote
            asked = remote or [member for member in self._members.values() if member.connection is not None]
            for connection in {id(member.connection): member.connection for member in asked}.values():
                if connection is not None:
                    self._describe(board, connection, bool(remote))

    def cancel(self, board: Board) -> int:
        """Cancel the futures that have not ended; return how many are cancelled now."""
        count = 0
        by_connection: dict[int, list[Member]] = {}
        for member in list(self._open.values()):
            if member.connection is None:
                count += member.future.cancel()
            else:
                by_connection.setdefault(id(member.connection), []).append(member)
        for members in by_connection.values():
            connection = members[0].connection
            cancelled = connection.stream.cancel([member.key for member in members]) if connection else ()
            for member in members:
                if member.key in cancelled and isinstance(member.future, TaskFuture):
                    member.future.ended_by_cancel()
            count += len(cancelled)
        return count

    def _describe(self, board: Board, connection: Connection, live: bool) -> None:
        """Ask for the records of the members' groups."""
        seen: set[str] = set()
        for group in sorted(self._groups):
            seen |= _take(board, connection, {"group": group}, len(self._members))
            if live and any(key not in seen for key in self._open):
                seen |= _take(board, connection, {"group": group, "state": _LIVE})
        unknown = [key for key in (self._open if live else self._members) if key not in seen]
        for key in unknown[:_ONE_BY_ONE]:
            if _is_accepted(self._members[key].future) and key not in seen:
                record = connection.record(key)
                board.rows[key].update(record)
                group = str(record.get("task_group_id") or "")
                if group and group not in self._groups:
                    self._groups.add(group)
                    seen |= _take(board, connection, {"group": group}, len(self._members))


class RecordSource:
    """The tasks of a group, an executor or an endpoint, also those that are still to come.

    Parameters
    ----------
    connection : Connection
        To the hub service.
    queries : callable
        Gives what to ask the service's list of tasks for: one query or several.
    title : str
        What they are.
    has_end : bool
        Whether it is over when all have ended.
    first : int, optional
        So many of the newest ended ones are taken in at first; all if left out.
    """

    def __init__(
        self,
        connection: Connection,
        queries: Callable[[], Sequence[dict[str, str]]],
        title: str,
        *,
        has_end: bool,
        first: int | None = None,
    ) -> None:
        self.title, self.has_end = title, has_end
        self._connection, self._queries, self._first = connection, queries, first
        self._has_looked = False

    def begin(self, wake: Callable[[], None]) -> None:
        """Do nothing: tasks of others, too, are seen by looking."""

    def look(self, board: Board) -> None:
        """Ask for the newest tasks, for all that have not ended, and what became of those that had not."""
        seen: set[str] = set()
        before = set(board.live)
        for query in self._queries():
            newest = 200 if self._has_looked else self._first
            seen |= _take(board, self._connection, query, newest, add=True)
            seen |= _take(board, self._connection, {**query, "state": _LIVE}, add=True)
        for task_id in sorted(before - seen):
            board.rows[task_id].update(self._connection.record(task_id))
        self._has_looked = True

    def cancel(self, board: Board) -> int:
        """Cancel what has not ended; return how many tasks are cancelled now."""
        return len(self._connection.stream.cancel(board.live))


def _new_row(member: Member) -> Row:
    items = len(member.map_task.items) if member.map_task is not None else 1
    return Row(member.key, member.endpoint, member.label, items=items, received=time.time())


def _end(row: Row, member: Member) -> None:
    """Take in how a future ended."""
    future = member.future
    if isinstance(future, TaskFuture):
        received, started, ended = future.times
        row.received, row.started = received or row.received, started or row.started
        row.end(future.state().value, ended)
    elif future.cancelled():
        row.end(TaskState.CANCELLED.value, 0.0)
    else:
        row.end((TaskState.FAILED if future.exception(0) else TaskState.SUCCESS).value, 0.0)
    if member.map_task is not None and member.map_task.span.size > 1 and row.state == TaskState.SUCCESS.value:
        row.failed_items = len(member.map_task.failed())


def _is_accepted(future: concurrent.futures.Future[Any]) -> bool:
    accepted = getattr(future, "wait_accepted", None)
    return accepted is None or bool(accepted(0))


def _take(
    board: Board,
    connection: Connection,
    query: dict[str, str],
    limit: int | None = None,
    *,
    add: bool = False,
) -> set[str]:
    """Take in records, the newest ``limit`` of them at least; return whose they were.

    Tasks that the board does not have are added only if ``add`` says so.
    """
    seen: set[str] = set()
    asked: dict[str, Any] = {**query, "limit": PAGE if limit is None else max(1, min(limit, PAGE))}
    while True:
        page = connection.transport.json("GET", "/v3/tasks", query=asked)
        for record in page["tasks"]:
            task_id = str(record["task_id"])
            if add or task_id in board.rows:
                row = board.row(task_id)
                if not (row.is_final and record["state"] not in FINAL_STATES):
                    _update(row, record, add=add)
                seen.add(task_id)
        if not page.get("next") or (limit is not None and len(seen) >= limit) or limit == len(page["tasks"]):
            return seen
        asked["before"] = page["next"]


def _update(row: Row, record: dict[str, Any], *, add: bool) -> None:
    """Take in a record; whether a future has ended is for the future to say."""
    if not add and not row.is_final and record["state"] in FINAL_STATES:
        return
    row.update(record)
    if add and record.get("items"):
        row.items = int(record["items"][1])


def refusal(error: FuncxLabError) -> str:
    """Return an error's first line, for the note of a board."""
    return error.message.partition("\n")[0]
