"""What a task calls, fetched back: to look at it, to run it here, to submit it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from funcx_lab.connection import Connection
from funcx_lab.errors import UsageError
from funcx_lab.futures import TaskFuture
from funcx_lab.identifiers import new_id
from funcx_lab.objects import download
from funcx_lab.protocol.messages import FunctionBody, TaskOptions
from funcx_lab.protocol.payload import is_payload
from funcx_lab.protocol.stream import NewTask, TaskCall
from funcx_lab.serialize import PackedFunction, globus, unpack_arguments, unpack_function
from funcx_lab.stream.submit_queue import Route

_OURS, _PLAIN_SOURCE = "funcx-lab", "globus-source"


@dataclass(frozen=True)
class Call:
    """The call of one task: its function with the arguments.

    Attributes
    ----------
    connection : Connection
        Where it was submitted.
    wire : TaskCall
        As the hub service keeps it.
    """

    connection: Connection
    wire: TaskCall

    def __repr__(self) -> str:
        return f"<Call of {self.name} by task …{self.task_id[-8:]} on {self.endpoint}>"

    @property
    def task_id(self) -> str:
        """The task."""
        return self.wire.task_id

    @property
    def endpoint(self) -> str:
        """Name of the endpoint that it was for."""
        return self.wire.endpoint_name

    @property
    def name(self) -> str:
        """The function's name."""
        return self.wire.function.name

    @property
    def options(self) -> TaskOptions:
        """What was asked of the call."""
        return self.wire.options or TaskOptions()

    def function(self) -> Callable[..., Any]:
        """Return the function, rebuilt here.

        Raises
        ------
        PythonMismatch, CannotDeserialize
            If it needs another Python, or what is not installed here.
        """
        return _function(self.wire.function, self.task_id)

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and named arguments, rebuilt here; fetched first if they are large.

        Raises
        ------
        PythonMismatch, CannotDeserialize
            If they need another Python, or what is not installed here.
        TransportError, ServiceError
            If they cannot be fetched.
        """
        wire = self.wire
        block = wire.payload if wire.object is None else download(self.connection.transport, wire.object)
        return unpack_arguments(block) if is_payload(block) else globus.unpack_arguments(bytes(block))

    def run(self) -> Any:
        """Run the call here, in this process, and return its value.

        Raises
        ------
        Exception
            What the function raises, and as `function` and `arguments`.
        """
        args, kwargs = self.arguments()
        return self.function()(*args, **kwargs)

    def submit(self, endpoint: str | None = None) -> TaskFuture[Any]:
        """Submit the same call as a new task, which always runs; see `Calls.retry`."""
        wire, options = self.wire, self.options
        again = msgspec.structs.replace(options, repeats=self.task_id, fresh=options.memo is not None)
        route = Route(endpoint or self.endpoint, self._function_id(), wire.group_id, again)
        return self.connection.send(route, NewTask(new_id(), wire.payload, wire.object))

    def _function_id(self) -> str:
        function = self.wire.function
        if function.format != _OURS:
            return function.function_id
        # The same content keeps its id; one that was deleted since gets a new one.
        packed = PackedFunction(function.name, function.body, function.sha256)
        return self.connection.functions.register(packed)


class Calls:
    """What a `FuncXClient` can do with the calls of earlier tasks.

    Attributes
    ----------
    connection : Connection
        To the hub service.
    """

    connection: Connection

    def get_call(self, task_id: str) -> Call:
        """Return what a task calls: function, arguments and options.

        Raises
        ------
        UsageError
            If ``task_id`` is no text, or empty.
        TaskNotFound
            If there is no such task.
        TaskGone
            If it ended so long ago that it was purged.
        """
        if not isinstance(task_id, str) or not task_id.strip():
            raise UsageError(f"A task's id is needed, not {task_id!r:.80}; get_tasks() lists your tasks.")
        return Call(self.connection, self.connection.call(task_id.strip()))

    def retry(self, task_id: str, endpoint: str | None = None) -> TaskFuture[Any]:
        """Submit the call of an earlier task again, as a new task of the same group.

        It runs even if a result of it is stored. Its record names the task that it repeats.

        Parameters
        ----------
        endpoint : str, optional
            Name or id of another endpoint.

        Raises
        ------
        UsageError, TaskNotFound, TaskGone
            As `get_call`.
        """
        return self.get_call(task_id).submit(endpoint)


def _function(body: FunctionBody, task_id: str) -> Callable[..., Any]:
    if body.format == _OURS:
        return unpack_function(body.body, task_id=task_id)
    if body.format == _PLAIN_SOURCE:
        return globus.function_from_source(body.name, body.body.decode())
    return globus.unpack_function(body.body, trusted=True)
