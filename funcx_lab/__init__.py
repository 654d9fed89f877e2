"""funcx-lab: run functions and notebook cells on any machine.

Everything public is reached from here and imported when first used, so ``import funcx_lab`` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funcx_lab.client import FuncXClient as FuncXClient
    from funcx_lab.decorator import function as function
    from funcx_lab.executor import Executor as Executor
    from funcx_lab.futures import TaskFuture as TaskFuture
    from funcx_lab.globus import globus_client as globus_client
    from funcx_lab.maps.task_map import TaskMap as TaskMap
    from funcx_lab.shell import ShellFunction as ShellFunction

__version__ = "0.1.0"
__all__ = [
    "Executor",
    "FuncXClient",
    "ShellFunction",
    "TaskFuture",
    "TaskMap",
    "__version__",
    "errors",
    "function",
    "globus_client",
    "watch",
]

_HOMES = {
    "FuncXClient": "funcx_lab.client",
    "ShellFunction": "funcx_lab.shell",
    "Executor": "funcx_lab.executor",
    "TaskFuture": "funcx_lab.futures",
    "TaskMap": "funcx_lab.maps.task_map",
    "function": "funcx_lab.decorator",
    "globus_client": "funcx_lab.globus",
}


def __getattr__(name: str) -> Any:
    """Import a public name where it lives, at first use."""
    if name == "errors":
        return importlib.import_module("funcx_lab.errors")
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'funcx_lab' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})


def watch(
    tasks: Any = None,
    *,
    endpoint: str | None = None,
    client: FuncXClient | None = None,
    block: bool | None = None,
) -> Any:
    """Show how tasks are, as they go: a live figure in a notebook, text elsewhere, lines in a script.

    Parameters
    ----------
    tasks : Future, Task, TaskMap, Executor, str, or an iterable of them
        What to watch. A string is the id of a task or of a task group.
    endpoint : str, optional
        Watch your tasks at an endpoint instead, by name or id: those of now and those to come.
    client : FuncXClient, optional
        Whose hub service is asked about ids and the endpoint; a new client by default.
    block : bool, optional
        Whether to return only when all have ended. By default where nobody could look on otherwise: in a
        script, a terminal, and a notebook that runs unattended; not for an endpoint there, which has no end.

    Returns
    -------
    Watch
        ``wait()``, ``cancel()`` and ``close()`` it; the tasks go on without it.

    Raises
    ------
    UsageError
        If there is nothing to watch, or it cannot be watched.
    TaskNotFound, EndpointNotFound
        If there is none of that id or name.
    """
    # The magics know notebooks; the SDK stays plain Python.
    from funcx_lab_magics import watch_tasks

    return watch_tasks(tasks, endpoint=endpoint, client=client, block=block)


def load_ipython_extension(shell: Any) -> None:
    """Register the magics: ``%load_ext funcx_lab``."""
    from funcx_lab_magics import load_ipython_extension as load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away: ``%unload_ext funcx_lab``."""
    from funcx_lab_magics import unload_ipython_extension as unload

    unload(shell)
