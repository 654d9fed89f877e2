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


def load_ipython_extension(shell: Any) -> None:
    """Register the magics: ``%load_ext funcx_lab``."""
    from funcx_lab_magics import load_ipython_extension as load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away: ``%unload_ext funcx_lab``."""
    from funcx_lab_magics import unload_ipython_extension as unload

    unload(shell)
