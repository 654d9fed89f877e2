"""The client: register functions, run them on endpoints, fetch results."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import funcx_lab
from funcx_lab import legacy
from funcx_lab.batch import Batch, one_of
from funcx_lab.calls import Calls
from funcx_lab.connection import Connection
from funcx_lab.credentials import find_service
from funcx_lab.endpoints import Endpoint
from funcx_lab.errors import FuncxLabError, ServiceTimeout, UsageError
from funcx_lab.events import EventQueue
from funcx_lab.futures import TaskFuture
from funcx_lab.identifiers import new_id
from funcx_lab.looks import block
from funcx_lab.maps.client import Maps
from funcx_lab.options import take_options
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.payload import Payload
from funcx_lab.queries import Queries
from funcx_lab.remote_function import Decorator, RemoteFunction
from funcx_lab.serialize import PackedFunction, pack_arguments, pack_function
from funcx_lab.stream.submit_queue import Route

T = TypeVar("T")

#: Seconds that `run` waits for the hub service to have the task on its disk.
ACCEPT_TIMEOUT_S = 60.0


class FuncXClient(Maps, Calls, Queries):
    """A client of one hub service; may be shared by threads.

    Parameters
    ----------
    funcx_service_address : str, optional
        The service's URL. Left out: ``FUNCX_LAB_URL``, JupyterHub's, the one of ``funcx-lab login``, or
        else this user's own on loopback, which is started if it does not run.
    http_timeout : float, optional
        Seconds to wait for each piece of an answer; 60 by default.
    token : str, optional
        The bearer token for that URL.
    task_group_id : str, optional
        The group of this client's tasks; a new one by default.
    trust_results : bool
        Unpickle results also from endpoints that other people own.
    **others
        Keywords of the original client. Those that have lost their meaning are ignored; those that
        cannot be honoured raise.

    Raises
    ------
    UsageError
        For an address or a keyword that cannot be used.
    ConfigError
        If there is no token for the address, or the local service does not start.
    """

    def __init__(
        self,
        http_timeout: float | None = None,
        *,
        funcx_service_address: str | None = None,
        token: str | None = None,
        task_group_id: str | None = None,
        trust_results: bool = False,
        **others: Any,
    ) -> None:
        legacy.check_client(funcx_service_address, others)
        service = find_service(funcx_service_address, token)
        self.connection = Connection(service, http_timeout, trust=trust_results)
        self.task_group_id = str(task_group_id or new_id())

    def __repr__(self) -> str:
        return f"<FuncXClient of {self.connection.alias}>"

    def _repr_html_(self) -> str:
        return block(
            f"<div>Client of hub service <strong>{html.escape(self.connection.alias)}</strong></div>"
        )

    # --- functions --------------------------------------------------------------------------------

    def register_function(
        self,
        function: Callable[..., Any],
        function_name: str | None = None,
        container_uuid: str | None = None,
        description: str | None = None,
        public: bool = False,
        group: str | None = None,
        searchable: bool = True,
        **others: Any,
    ) -> str:
        """Register a function and return its id; the same content under the same name keeps its id.

        Parameters
        ----------
        function : callable
            Sent as it is now, with the functions and values it uses.
        function_name, description : str, optional
            For tables.
        container_uuid, public, group, searchable
            Of the original client; see Raises.

        Raises
        ------
        UsageError
            For ``container_uuid``, ``public`` and ``group``: functions are their owner's here, and
            containers are the endpoint's.
        CannotSerialize
            If the function cannot be sent; the message says which name, which line and what to try.
        """
        legacy.check_function({"container_uuid": container_uuid, "public": public, "group": group, **others})
        if function_name is None and description is None:
            return self.connection.functions.find(function)
        if isinstance(function, RemoteFunction):
            function = function.local_function
        return self.connection.functions.register(pack_function(function), function_name, description)

    @property
    def function(self) -> Decorator:
        """The decorator ``@fxc.function(endpoint="cluster", retries=2)``, which gives a `RemoteFunction`."""
        return Decorator(lambda: self)

    # --- tasks, as futures ------------------------------------------------------------------------

    def submit(
        self, function: Callable[..., T], /, *args: Any, endpoint: str | None = None, **kwargs: Any
    ) -> TaskFuture[T]:
        """Run a function and return its future at once.

        Parameters
        ----------
        function : callable
            Registered when first used.
        endpoint : str, optional
            Name or id; the local endpoint by default, if the service is your own.
        task_retries, task_walltime, task_session, task_memo, ... : optional
            Among ``kwargs``, but not the function's: see `Executor`.

        Raises
        ------
        CannotSerialize
            If the function or an argument cannot be sent.
        UsageError
            If an option makes no sense.
        """
        options = take_options(kwargs)
        return self.submit_call(function, args, kwargs, endpoint, options)

    def submit_call(
        self,
        function: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        endpoint: str | None = None,
        options: TaskOptions | None = None,
    ) -> TaskFuture[T]:
        """Run ``function(*args, **kwargs)`` and return its future at once; errors as `submit`."""
        function_id = self.connection.functions.find(function)
        return self._submit(endpoint, function_id, pack_arguments(args, kwargs), options=options)

    def submit_packed(
        self,
        function: PackedFunction,
        arguments: Payload,
        endpoint: str | None = None,
        *,
        options: TaskOptions | None = None,
        task_id: str | None = None,
    ) -> TaskFuture[Any]:
        """Run a packed function with packed arguments and return the future at once.

        Whoever gives the ``task_id`` (a new one of `new_id`) can take back what was interrupted in here.
        """
        function_id = self.connection.functions.register(function)
        return self._submit(endpoint, function_id, arguments, options=options, task_id=task_id)

    def task(self, task_id: str) -> TaskFuture[Any]:
        """Return a future for a task that was submitted earlier or elsewhere by the same user.

        Raises
        ------
        UsageError
            If ``task_id`` is no text, or empty.
        """
        if not isinstance(task_id, str) or not task_id.strip():
            raise UsageError(f"task() needs a task's id, not {task_id!r:.80}; get_tasks() lists your tasks.")
        return self.connection.watch(task_id)

    def follow(self, task_id: str, after: int = 0) -> EventQueue:
        """Return the task's events behind ``after`` as they come; it ends when the task's log does."""
        return self.connection.follow(task_id, after)

    def endpoint(self, name: str | None = None) -> Endpoint:
        """Return an endpoint, by name or id; the local one by default, if the service is your own.

        Raises
        ------
        UsageError
            If it must be named.
        """
        return Endpoint(self, self.connection.endpoint(name))

    def watch(self, tasks: Any = None, *, endpoint: str | None = None, block: bool | None = None) -> Any:
        """Show how tasks are, as they go; parameters, value and errors as `funcx_lab.watch`."""
        return funcx_lab.watch(tasks, endpoint=endpoint, client=self, block=block)

    # --- tasks, as ids ----------------------------------------------------------------------------

    def run(
        self,
        *args: Any,
        endpoint_id: str | None = None,
        function_id: str | None = None,
        endpoint: str | None = None,
        function: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """Run a function and return the task's id once the task is on the hub service's disk.

        Parameters
        ----------
        *args, **kwargs
            The function's arguments.
        endpoint_id, endpoint : str, optional
            Name or id; the local endpoint by default, if the service is your own.
        function_id, function : str or callable
            A registered function's id, or the function itself.
        task_retries, task_walltime, task_session, task_memo, ... : optional
            Among ``kwargs``, but not the function's: see `Executor`.

        Raises
        ------
        UsageError
            If it is not said what to run, or an option makes no sense.
        EndpointNotFound, FunctionNotFound
            If the service does not know them.
        """
        batch = Batch()
        batch.add(
            *args,
            endpoint_id=endpoint_id,
            function_id=function_id,
            endpoint=endpoint,
            function=function,
            **kwargs,
        )
        return self.batch_run(batch)[0]

    def create_batch(self, task_group_id: str | None = None) -> Batch:
        """Return an empty batch."""
        return Batch(task_group_id)

    def batch_run(self, batch: Batch) -> list[str]:
        """Submit a batch and return the tasks' ids, in its order, once they are on the service's disk.

        Raises
        ------
        FuncxLabError
            Why the first refused task was refused; ``details["refused"]`` and ``details["accepted"]``
            list the ids.
        """
        # All are packed before the first is sent: what cannot be sent raises here, and nothing was sent.
        calls = [
            (
                task.endpoint,
                self._function_id(task.function),
                pack_arguments(task.args, task.kwargs),
                batch.task_group_id,
                task.options,
            )
            for task in batch.tasks
        ]
        return self._accepted([self._submit(*call) for call in calls])

    def map_run(
        self,
        iterable: Iterable[Any],
        endpoint_id: str | None = None,
        function_id: str | None = None,
        *,
        endpoint: str | None = None,
        function: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Run a function once for each item and return the tasks' ids; parameters and errors as `run`."""
        batch = Batch()
        known = self._function_id(one_of(function_id, function))
        for item in iterable:
            batch.add(item, endpoint_id=endpoint_id or endpoint, function_id=known, **kwargs)
        return self.batch_run(batch)

    def cancel(self, task: str | Sequence[str]) -> bool | list[str]:
        """Cancel a task, or several; also those that run.

        Returns
        -------
        bool or list of str
            For one id: whether it is cancelled now. For several: the ids of those that are.
        """
        if isinstance(task, str):
            return self.connection.cancel(task)
        task_ids = list(task)
        cancelled = self.connection.stream.cancel(task_ids)
        return [task_id for task_id in task_ids if task_id in cancelled]

    # --- details ----------------------------------------------------------------------------------

    def _function_id(self, function: str | Callable[..., Any]) -> str:
        return function if isinstance(function, str) else self.connection.functions.find(function)

    def _submit(
        self,
        endpoint: str | None,
        function_id: str,
        payload: Payload,
        group_id: str | None = None,
        options: TaskOptions | None = None,
        task_id: str | None = None,
    ) -> TaskFuture[Any]:
        where = self.connection.endpoint(endpoint)
        route = Route(where, function_id, group_id or self.task_group_id, options)
        return self.connection.submit(route, payload, task_id)

    def _accepted(self, futures: list[TaskFuture[Any]]) -> list[str]:
        """Return the tasks' ids when all are on the service's disk."""
        errors: dict[str, FuncxLabError] = {}
        for future in futures:
            if not future.wait_accepted(ACCEPT_TIMEOUT_S):
                errors[future.task_id] = ServiceTimeout(
                    f"The hub service did not confirm task {future.task_id} within {ACCEPT_TIMEOUT_S:g} s. "
                    "It is sent again under this id as soon as the service answers."
                )
            elif future.refusal is not None:
                errors[future.task_id] = future.refusal
        if errors:
            first = next(iter(errors.values()))
            accepted = [future.task_id for future in futures if future.task_id not in errors]
            first.details.update(refused=list(errors), accepted=accepted)
            raise first
        return [future.task_id for future in futures]
