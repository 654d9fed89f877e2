"""Tasks that are gathered first and submitted together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from funcx_lab.errors import UsageError
from funcx_lab.options import take_options
from funcx_lab.protocol.messages import TaskOptions


class BatchedTask(NamedTuple):
    """One call of a batch."""

    endpoint: str | None
    function: str | Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: TaskOptions | None = None


class Batch:
    """Calls to be submitted together by ``FuncXClient.batch_run``; made by ``create_batch``.

    Parameters
    ----------
    task_group_id : str, optional
        The tasks' group; the client's own if left out.

    Attributes
    ----------
    tasks : list of BatchedTask
        In the order of `add`, which is the order of the ids that ``batch_run`` returns.
    """

    def __init__(self, task_group_id: str | None = None) -> None:
        self.task_group_id = None if task_group_id is None else str(task_group_id)
        self.tasks: list[BatchedTask] = []

    def add(
        self,
        *args: Any,
        endpoint_id: str | None = None,
        function_id: str | None = None,
        endpoint: str | None = None,
        function: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add one call.

        Parameters
        ----------
        endpoint_id, endpoint : str, optional
            Where: a name or an id.
        function_id : str, optional
            What: the id of a registered function.
        function : callable, optional
            Or the function itself.
        task_retries, task_at_most_once, task_walltime, task_ttl, task_label : optional
            Among ``kwargs``, but not the function's: see `Executor`.

        Raises
        ------
        UsageError
            If there is no function, or two, or an option makes no sense.
        """
        options = take_options(kwargs)
        what = one_of(function_id, function)
        self.tasks.append(BatchedTask(endpoint_id or endpoint, what, args, kwargs, options))

    def __len__(self) -> int:
        return len(self.tasks)


def one_of(function_id: str | None, function: Callable[..., Any] | None) -> str | Callable[..., Any]:
    """Return the one that is given.

    Raises
    ------
    UsageError
        If none or both are.
    """
    if (function_id is None) == (function is None):
        raise UsageError("Say what to run: either function_id= (from register_function) or function=.")
    return str(function_id) if function is None else function
