"""What can be watched: futures, tasks of cells, maps, lists of them, ids, executors, endpoints."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from funcx_lab.connection import Connection
from funcx_lab.errors import TaskNotFound, UsageError
from funcx_lab.executor import Executor
from funcx_lab.futures import TaskFuture
from funcx_lab.looks import short
from funcx_lab.maps.items import ItemFuture, MapTask
from funcx_lab.maps.task_map import TaskMap
from funcx_lab_magics.watch.sources import FutureSource, Member, RecordSource, Source

if TYPE_CHECKING:
    from funcx_lab import FuncXClient

#: Of an endpoint's tasks, so many that have ended are shown at first.
EARLIER = 100


def source_of(tasks: Any, client: FuncXClient | None = None) -> Source:
    """Return the source of what a user wants to watch.

    Parameters
    ----------
    tasks : Future, Task, TaskMap, Executor, str, or an iterable of them
        A string is the id of a task or of a task group.
    client : FuncXClient, optional
        Whose hub service to ask about ids; a new client by default.

    Raises
    ------
    UsageError
        If it is something else, or nothing.
    TaskNotFound
        If there is no task and no group of that id.
    """
    if isinstance(tasks, Executor):
        return _of_executor(tasks)
    if isinstance(tasks, str):
        return _of_id(tasks, _client(client))
    members = _distinct(_members(tasks, client))
    if not members:
        raise UsageError("watch() has nothing to watch: give it futures, tasks, a map or an id.")
    groups = [tasks.group_id] if isinstance(tasks, TaskMap) else []
    return FutureSource(members, _title(tasks, members), groups)


def endpoint_source(endpoint: str | None, client: FuncXClient | None = None) -> Source:
    """Return the source of the user's tasks at an endpoint, given by name or id.

    Raises
    ------
    EndpointNotFound
        If there is no such endpoint.
    """
    connection = _client(client).connection
    name = connection.endpoint(endpoint)
    query = {"endpoint": name}
    return RecordSource(connection, lambda: [query], f"endpoint {name}", has_end=False, first=EARLIER)


def _client(client: FuncXClient | None) -> FuncXClient:
    if client is None:
        from funcx_lab.client import FuncXClient

        client = FuncXClient()
    return client


def _of_executor(executor: Executor) -> Source:
    def queries() -> Sequence[dict[str, str]]:
        return [{"group": group} for group in sorted(executor.task_groups)]

    return RecordSource(executor.connection, queries, f"executor on {executor.endpoint}", has_end=True)


def _of_id(word: str, client: FuncXClient) -> Source:
    word = word.strip()
    connection = client.connection
    connection.hand_over()
    try:
        record = connection.record(word) if word else {}
    except TaskNotFound:
        records = connection.transport.json("GET", "/v3/tasks", query={"group": word, "limit": 1})["tasks"]
        if not records:
            raise TaskNotFound(
                f"There is no task and no task group {word!r} of yours; get_tasks() lists your tasks."
            ) from None
        title = f"group {short(word)}"
        return RecordSource(connection, lambda: [{"group": word}], title, has_end=True)
    if not record:
        raise UsageError("watch() needs the id of a task or of a group; get_tasks() lists your tasks.")
    member = Member(word, client.task(word), connection)
    return FutureSource([member], f"task {short(word)}")


def _members(tasks: Any, client: FuncXClient | None) -> Iterator[Member]:
    if isinstance(tasks, TaskMap):
        for part in tasks.tasks:
            yield _of_map_task(part, tasks)
    elif isinstance(tasks, ItemFuture):
        yield _of_map_task(tasks.task, None)
    elif isinstance(tasks, concurrent.futures.Future):
        yield _of_future(tasks)
    elif isinstance(tasks, str):
        yield Member(tasks, _client(client).task(tasks), _client(client).connection)
    elif hasattr(tasks, "task_id") and hasattr(tasks, "client"):  # a cell's Task
        future = tasks.client.task(tasks.task_id)
        yield Member(tasks.task_id, future, tasks.client.connection, tasks.endpoint, tasks.view.label)
    elif isinstance(tasks, Iterable) and not isinstance(tasks, bytes | dict):
        for each in tasks:
            yield from _members(each, client)
    else:
        raise UsageError(
            f"watch() takes futures, tasks, maps, executors, ids and lists of them, not {tasks!r:.80}."
        )


_numbers = count(1)


def _of_future(future: concurrent.futures.Future[Any]) -> Member:
    if isinstance(future, TaskFuture):
        return Member(future.task_id, future, _connection(future), future.endpoint)
    return Member(f"future {next(_numbers)}", future, endpoint="here")


def _of_map_task(part: MapTask, whole: TaskMap[Any] | None) -> Member:
    member = _of_future(part.future)
    member.map_task = part
    if whole is not None:
        member.label, member.endpoint = whole.label, member.endpoint or whole.endpoint
    return member


def _connection(future: TaskFuture[Any]) -> Connection | None:
    return future.backend if isinstance(future.backend, Connection) else None


def _distinct(members: Iterable[Member]) -> list[Member]:
    """Return each task once: items of a map share theirs."""
    return list({member.key: member for member in members}.values())


def _title(tasks: Any, members: Sequence[Member]) -> str:
    label = getattr(tasks, "label", "") or (members[0].label if len(members) == 1 else "")
    where = sorted({member.endpoint for member in members} - {""})
    what = label or (f"task {short(members[0].key)}" if len(members) == 1 else f"{len(members)} tasks")
    return f"{what} on {', '.join(where)}" if where and len(where) < 3 else what
