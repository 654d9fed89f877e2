"""Mapping a function over items: making the tasks of a map, and finding them again."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from funcx_lab.connection import Connection
from funcx_lab.errors import TaskNotFound, UsageError
from funcx_lab.identifiers import new_id
from funcx_lab.maps.calls import FunctionCalls, plain_or_chunks
from funcx_lab.maps.items import MapTask
from funcx_lab.maps.live import show_progress
from funcx_lab.maps.plan import Span, answering, spread
from funcx_lab.maps.stored import StoredCalls
from funcx_lab.maps.task_map import TaskMap
from funcx_lab.options import take_options
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.stream import ANSWER_TIMEOUT_S

T = TypeVar("T")


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
    def progress(futures: Iterable[concurrent.futures.Future[Any]]) -> None:
        """Show how far futures, or a map, are: in a notebook beside other work, else until all have ended."""
        show_progress(futures)

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
    # What has ended is told at once: a map that is found again has its partial results.
    concurrent.futures.wait([task.future for task in tasks if task.ended], ANSWER_TIMEOUT_S)
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
