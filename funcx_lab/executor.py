"""A `concurrent.futures.Executor` whose workers are an endpoint's."""

from __future__ import annotations

import concurrent.futures
import html
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import funcx_lab
from funcx_lab.client import FuncXClient
from funcx_lab.connection import Connection
from funcx_lab.environments.check import check_function
from funcx_lab.errors import UsageError
from funcx_lab.futures import TaskFuture
from funcx_lab.identifiers import new_id
from funcx_lab.looks import block
from funcx_lab.maps.client import start_map
from funcx_lab.maps.task_map import TaskMap
from funcx_lab.options import make_options
from funcx_lab.serialize import ItemOutcomes, in_chunks, pack_arguments
from funcx_lab.stream import ANSWER_TIMEOUT_S
from funcx_lab.stream.submit_queue import Route

T = TypeVar("T")

#: With ``chunksize=None``, `map` makes about so many tasks.
_CHUNKS = 64
#: A worker tells that it runs a call when that has taken 50 ms; the news is here after so many seconds.
_REPORT_S = 0.15


class Executor(concurrent.futures.Executor):
    """Runs functions on an endpoint; use it as any executor of the standard library.

    Its tasks belong to the hub service: they go on when the process ends, and `reload_tasks` finds them
    again by the executor's ``task_group_id``.

    Parameters
    ----------
    endpoint : str, optional
        Name or id; the local endpoint by default, if the service is your own.
    client : FuncXClient, optional
        Whose service to use; a new client by default.
    task_group_id : str, optional
        The group of its tasks; a new one by default.
    label : str, optional
        Shown with its tasks in tables.
    retries : int
        Run a call again so often when it raised or reached its walltime. (When a worker, a node or an
        endpoint is lost it runs again anyway.)
    at_most_once : bool
        Never run a call again once it may have started: it fails with `EndpointLost` instead when that
        cannot be known. For calls whose repetition does harm.
    walltime : float, optional
        Stop a call after so many seconds, with `WalltimeReached`.
    ttl : float, optional
        End a task with `TaskExpired` when it has not ended so many seconds after the hub service got it;
        14 days unless the service says otherwise.
    session : str, optional
        Run its calls in the session of this name: on one worker, one after another, with what earlier calls
        of the session left in that worker's memory.
    memo : bool
        Take the stored result of the same call if there is one: same code, arguments, endpoint and packages
        there. Of a call that runs, the result is stored for the next one. For functions whose result depends
        on nothing else.
    fresh : bool
        Run even a call whose result is stored, and store the new one.
    requires : sequence of str
        Packages that must be there, as pip names them. An endpoint without them runs the call in an
        environment that it builds for it, if its owner allows that; else `RequirementsRefused`.
    check : bool
        Refuse a function with `EnvMismatch` before its first call if the endpoint lacks what it imports.

    Raises
    ------
    UsageError
        If there is no endpoint that needs no naming, or an option makes no sense; ``retries`` and
        ``at_most_once`` exclude each other.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        client: FuncXClient | None = None,
        task_group_id: str | None = None,
        *,
        label: str | None = None,
        retries: int = 0,
        at_most_once: bool = False,
        walltime: float | None = None,
        ttl: float | None = None,
        session: str | None = None,
        memo: bool = False,
        fresh: bool = False,
        requires: str | Sequence[str] = (),
        check: bool = False,
    ) -> None:
        self._options = make_options(
            label=label,
            retries=retries,
            at_most_once=at_most_once,
            walltime=walltime,
            ttl=ttl,
            session=session,
            memo=memo,
            fresh=fresh,
            requires=requires,
        )
        self._connection = (client or FuncXClient()).connection
        self.endpoint = self._connection.endpoint(endpoint)
        self._check = check and not requires  # what it lacks may be built there
        self.task_group_id = str(task_group_id or new_id())
        self._groups = {self.task_group_id}
        self._routes: dict[str, Route] = {}
        self._unfinished: set[TaskFuture[Any]] = set()
        self._is_shut_down = False

    @property
    def connection(self) -> Connection:
        """To the hub service."""
        return self._connection

    @property
    def task_groups(self) -> frozenset[str]:
        """The groups of its tasks: its own, and one for each map."""
        return frozenset(self._groups)

    def watch(self) -> Any:
        """Show how its tasks are, as they go; see `funcx_lab.watch`."""
        return funcx_lab.watch(self)

    def __repr__(self) -> str:
        count = len(self._unfinished)
        tasks = f", {count} unfinished task{'s' * (count > 1)}" if count else ""
        return f"<Executor on {self.endpoint} of {self._connection.alias}{tasks}>"

    def _repr_html_(self) -> str:
        where, service, group = map(html.escape, (self.endpoint, self._connection.alias, self.task_group_id))
        return block(
            f"<div>Executor on <strong>{where}</strong> of hub service {service} · "
            f"{len(self._unfinished)} unfinished tasks · group <code>{group}</code></div>"
        )

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> TaskFuture[T]:
        """Run ``fn(*args, **kwargs)`` at the endpoint and return its future at once.

        Raises
        ------
        RuntimeError
            After `shutdown`.
        CannotSerialize
            If the function or an argument cannot be sent.
        EnvMismatch
            If the endpoint lacks what the function imports; only with ``check``.
        """
        self._check_open()
        function_id = self._connection.functions.find(fn)
        if self._check and function_id not in self._routes:
            check_function(self._connection.environments, self.endpoint, fn)
        route = self._route(function_id)
        payload = pack_arguments(args, kwargs)
        future: TaskFuture[T] = self._connection.submit(route, payload)
        self._keep(future)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = 1,
        **others: Any,
    ) -> Iterator[T]:
        """Return an iterator over ``fn`` applied to the items of ``iterables``, in their order.

        Parameters
        ----------
        timeout : float, optional
            Seconds from now until which a result may be waited for.
        chunksize : int, optional
            How many calls travel and run as one task; None: chosen by the number of items.
        **others
            Passed on to the standard library's ``map`` (``buffersize`` since Python 3.14).

        Raises
        ------
        UsageError
            If ``chunksize`` is below 1.
        """
        if chunksize is not None and chunksize < 1:
            raise UsageError(f"chunksize must be at least 1, not {chunksize}.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **others)
        calls: Iterable[tuple[Any, ...]] = zip(*iterables, strict=False)
        if chunksize is None:
            calls = list(calls)
            chunksize = max(1, len(calls) // _CHUNKS)
        chunks = super().map(in_chunks(fn), _batched(calls, chunksize), timeout=timeout, **others)
        return itertools.chain.from_iterable(map(_values, chunks))

    def map_tasks(
        self, fn: Callable[..., T], *iterables: Iterable[Any], chunksize: int | None = None
    ) -> TaskMap[T]:
        """Run ``fn`` once for each set of arguments, as the built-in ``map`` pairs them.

        Parameters
        ----------
        chunksize : int, optional
            How many items travel and run as one task, each with an outcome of its own; as in
            ``FuncXClient.map``.

        Returns
        -------
        TaskMap
            A sequence of the items' futures, which knows how far it is and runs again what failed.

        Raises
        ------
        RuntimeError
            After `shutdown`.
        UsageError
            If ``chunksize`` makes no sense.
        CannotSerialize
            If the function or an argument cannot be sent; nothing was sent.
        """
        self._check_open()
        made = start_map(self._connection, self.endpoint, fn, iterables, self._options, chunksize)
        self._groups.add(made.group_id)
        for task in made.tasks:
            self._keep(task.future)
        return made

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks.

        Parameters
        ----------
        wait : bool
            Wait until all of its tasks have ended.
        cancel_futures : bool
            Cancel the tasks that do not run yet. (``future.cancel()`` also stops one that runs.)

        Raises
        ------
        TransportError
            If tasks are to be cancelled and the service does not answer.
        """
        self._is_shut_down = True
        unfinished = list(self._unfinished)
        if cancel_futures and unfinished:
            self._cancel_waiting(unfinished)
        if wait:
            concurrent.futures.wait(unfinished)

    def reload_tasks(self, task_group_id: str | None = None) -> list[TaskFuture[Any]]:
        """Return futures for all tasks of a group, oldest first; also after a restart of the kernel.

        Parameters
        ----------
        task_group_id : str, optional
            The group; this executor's own if left out.

        Raises
        ------
        TransportError, ServiceError
            If the service cannot say.
        """
        # What a kernel that is gone could not hand over is handed over first.
        self._connection.hand_over()
        task_ids = self._connection.group(task_group_id or self.task_group_id)
        return [self._connection.watch(task_id) for task_id in task_ids]

    def _cancel_waiting(self, unfinished: list[TaskFuture[Any]]) -> None:
        running: set[str] = set()
        if self._connection.stream.flush(ANSWER_TIMEOUT_S):
            time.sleep(_REPORT_S)
            for group_id in self._groups:
                running.update(self._connection.group(group_id, state="running"))
        task_ids = [future.task_id for future in unfinished if not future.done()]
        self._connection.stream.cancel([task_id for task_id in task_ids if task_id not in running])

    def _keep(self, future: TaskFuture[Any]) -> None:
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)

    def _route(self, function_id: str) -> Route:
        # One object per function: the stream compares routes by identity first.
        route = self._routes.get(function_id)
        if route is None:
            route = Route(self.endpoint, function_id, self.task_group_id, self._options)
            self._routes[function_id] = route
        return route

    def _check_open(self) -> None:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")


def _values(chunk: Any) -> Iterator[Any]:
    """Yield the values of a task's items, up to the first that failed."""
    if not isinstance(chunk, ItemOutcomes):
        yield chunk  # a lone item's value
        return
    for item in range(len(chunk)):
        value, error = chunk.open(item)
        if error is not None:
            raise error
        yield value


def _batched(calls: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    iterator = iter(calls)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
