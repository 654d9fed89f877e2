"""Mapping a function over items: making the tasks of a map, and finding them again."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from funcx_lab.connection import Connection
from funcx_lab.errors import TaskNotFound, UsageError
from funcx_lab.futures import TaskFuture
from funcx_lab.identifiers import new_id
from funcx_lab.map_items import MapTask
from funcx_lab.map_plan import Span, answering, spread, spread_again
from funcx_lab.options import take_options
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.payload import Payload
from funcx_lab.serialize import in_chunks, pack_arguments, pack_function
from funcx_lab.stored_calls import StoredCalls
from funcx_lab.stream.submit_queue import Route
from funcx_lab.task_map import TaskMap

T = TypeVar("T")


class FunctionCalls:
    """The calls of one function, one for each item.

    Parameters
    ----------
    connection : Connection
        To the hub service.
    endpoint : str
        Where they run.
    calls : sequence of tuple
        The arguments for each item.
    function_ids : callable
        Gives the id of the registered function that computes a task of so many items: for one item it
        takes the item's arguments, for several a list of them.
    options : TaskOptions, optional
        Of each task.
    """

    def __init__(
        self,
        connection: Connection,
        endpoint: str,
        calls: Sequence[tuple[Any, ...]],
        function_ids: Callable[[int], tuple[str, bool]],
        options: TaskOptions | None = None,
    ) -> None:
        self.connection = connection
        self.endpoint = endpoint
        self._calls = calls
        self._function_ids = function_ids
        self._options = options or TaskOptions()

    def submit_all(self, group_id: str, spans: Sequence[Span]) -> list[MapTask]:
        """Send the tasks of a new map; all are packed before the first is sent.

        Raises
        ------
        CannotSerialize
            If an argument cannot be sent; nothing was sent.
        """
        packed = [(span, *self._pack(span)) for span in spans]
        return [
            MapTask(span, self._send(group_id, span, len(self._calls), function_id, payload))
            for span, function_id, payload in packed
        ]

    def again(self, group_id: str, items: Sequence[int], total: int) -> Iterator[MapTask]:
        """Send tasks that compute these items again."""
        for span in spread_again(items):
            yield MapTask(span, self._send(group_id, span, total, *self._pack(span)))

    def _pack(self, span: Span) -> tuple[str, Payload]:
        function_id, takes_list = self._function_ids(span.size)
        calls = self._calls[span.first : span.first + span.size]
        return function_id, pack_arguments((list(calls),) if takes_list else calls[0], {})

    def _send(
        self, group_id: str, span: Span, total: int, function_id: str, payload: Payload
    ) -> TaskFuture[Any]:
        options = msgspec.structs.replace(self._options, items=(*span, total))
        return self.connection.submit(Route(self.endpoint, function_id, group_id, options), payload)


def plain_or_chunks(
    connection: Connection, function: Callable[..., Any]
) -> Callable[[int], tuple[str, bool]]:
    """Return the ``function_ids`` of a Python function: itself for one item, in chunks for several."""
    known: dict[bool, str] = {}

    def function_ids(count: int) -> tuple[str, bool]:
        takes_list = count > 1
        if takes_list not in known:
            known[takes_list] = _register(connection, function, takes_list)
        return known[takes_list], takes_list

    return function_ids


def _register(connection: Connection, function: Callable[..., Any], takes_list: bool) -> str:
    if not takes_list:
        return connection.functions.find(function)
    name = str(getattr(function, "__name__", "") or type(function).__name__)
    return connection.functions.register(pack_function(in_chunks(function)), name)


def start_map(
    connection: Connection,
    endpoint: str,
    function: Callable[..., T],
    iterables: Sequence[Iterable[Any]],
    options: TaskOptions | None,
    chunksize: int | None,
) -> TaskMap[T]:
    """Send the tasks of a map over items, as the built-in ``map`` pairs them.

    Raises
    ------
    UsageError
        If ``chunksize`` makes no sense, or ``function`` cannot be called.
    CannotSerialize
        If the function or an argument cannot be sent; nothing was sent.
    """
    calls = list(zip(*iterables, strict=False))
    spans = spread(len(calls), check_alone(options, chunksize))
    source = FunctionCalls(connection, endpoint, calls, plain_or_chunks(connection, function), options)
    group_id = new_id()
    label = (options.label if options else None) or str(getattr(function, "__name__", ""))
    return TaskMap(source, group_id, source.submit_all(group_id, spans), label=label, endpoint=endpoint)


def check_alone(options: TaskOptions | None, chunksize: int | None) -> int | None:
    """Return the ``chunksize`` to use: retries and walltimes are a task's, so items that have them are alone.

    Raises
    ------
    UsageError
        If there is a ``chunksize`` above 1 together with one of them.
    """
    if options is None or not (options.retries or options.walltime_s is not None):
        return chunksize
    if chunksize not in (None, 1):
        raise UsageError(
            "retries and walltime count for a task, and with this chunksize a task has several items: "
            "leave chunksize out."
        )
    return 1


class Maps:
    """The maps of a `FuncXClient`.

    Attributes
    ----------
    connection : Connection
        To the hub service.
    """

    connection: Connection

    def map(
        self,
        function: Callable[..., T],
        *iterables: Iterable[Any],
        endpoint: str | None = None,
        chunksize: int | None = None,
        **options: Any,
    ) -> TaskMap[T]:
        """Run a function once for each set of arguments, as the built-in ``map`` pairs them.

        Parameters
        ----------
        endpoint : str, optional
            Name or id; the local endpoint by default, if the service is your own.
        chunksize : int, optional
            How many items travel and run as one task, each with an outcome of its own. None: one, or of
            more than 512 items as many as make 512 tasks.
        **options
            Those of `submit`.

        Returns
        -------
        TaskMap
            A sequence of the items' futures.

        Raises
        ------
        UsageError
            If there is no such option, or it makes no sense.
        CannotSerialize
            If the function or an argument cannot be sent; nothing was sent.
        """
        asked = take_options(options)
        if options:
            raise UsageError(f"map() has no keyword {next(iter(options))!r}; see help(FuncXClient.map).")
        where = self.connection.endpoint(endpoint)
        return start_map(self.connection, where, function, iterables, asked, chunksize)

    def get_map(self, group_id: str) -> TaskMap[Any]:
        """Return a map that was started earlier, also by a kernel that is gone.

        Parameters
        ----------
        group_id : str
            Its ``group_id``.

        Raises
        ------
        TaskNotFound
            If there is no map of that id.
        TransportError, ServiceError
            If the service cannot say.
        """
        return TaskMap(**find_map(self.connection, group_id))

    @staticmethod
    def as_completed(
        futures: Iterable[concurrent.futures.Future[T]], timeout: float | None = None
    ) -> Iterator[concurrent.futures.Future[T]]:
        """Yield futures, or those of a map, as they end.

        Raises
        ------
        concurrent.futures.TimeoutError
            If not all have ended after ``timeout`` seconds.
        """
        return concurrent.futures.as_completed(futures, timeout)


def find_map(connection: Connection, group_id: str) -> dict[str, Any]:
    """Return what a `TaskMap` of earlier is made of; errors as `Maps.get_map`."""
    connection.hand_over()
    records = [record for record in connection.group_records(group_id) if record.get("items")]
    if not records:
        raise TaskNotFound(f"There is no map {group_id!r} of yours; get_tasks() lists your tasks.")
    by_id = {str(record["task_id"]): record for record in records}
    answers = answering(records)
    tasks = [_found(connection, by_id[task_id], items) for task_id, items in answers.items()]
    first = records[0]
    return {
        "calls": StoredCalls(
            connection, {item: by_id[task_id] for task_id, items in answers.items() for item in items}
        ),
        "group_id": group_id,
        "tasks": tasks,
        "label": str(first["label"] or first["function_name"]),
        "endpoint": str(first["endpoint_name"]),
        "created": float(first["received"]),
    }


def _found(connection: Connection, record: Mapping[str, Any], items: list[int]) -> MapTask:
    first, count, _ = record["items"]
    future = connection.watch(str(record["task_id"]))
    task = MapTask(Span(first, count), future, float(record["ended"] or 0.0))
    task.items = items
    return task
