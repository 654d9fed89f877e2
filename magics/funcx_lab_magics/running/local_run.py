"""Run the call of a task in this process, as its endpoint did, for a look at where it fails."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import platform
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import funcx_lab
from funcx_lab.environments.report import version_here
from funcx_lab.serialize.cell import CellFunction

if TYPE_CHECKING:
    from funcx_lab import FuncXClient
    from funcx_lab.calls import Call

_OURS = (os.path.dirname(funcx_lab.__file__) + os.sep, str(Path(__file__).parent) + os.sep)


@dataclass(frozen=True)
class LocalRun:
    """How a call ended here.

    Attributes
    ----------
    value : object
        Its value, if it ended well.
    error : Exception or None
        What it raised; the traceback begins in the user's code.
    modules : frozenset of str
        Top-level modules that its code names.
    """

    value: Any
    error: Exception | None
    modules: frozenset[str]


def run_here(call: Call) -> LocalRun:
    """Run a call in this process.

    Raises
    ------
    CannotDeserialize, PythonMismatch
        If its function or arguments cannot be rebuilt here.
    TransportError, ServiceError
        If they cannot be fetched.
    """
    function, (args, kwargs) = call.function(), call.arguments()
    modules = frozenset(modules_of(function))
    backend = os.environ.get("MPLBACKEND")
    try:
        return LocalRun(_outside_loop(function)(*args, **kwargs), None, modules)
    except Exception as err:  # whatever the user's code raises
        return LocalRun(None, err.with_traceback(_own_part(err.__traceback__)), modules)
    finally:  # a cell chooses one that needs no screen; the notebook keeps its own
        if backend is None:
            os.environ.pop("MPLBACKEND", None)
        else:
            os.environ["MPLBACKEND"] = backend


def _outside_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs an asynchronous function in a thread, if this one has a running loop already."""
    is_async = getattr(function, "is_async", False) or inspect.iscoroutinefunction(inspect.unwrap(function))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function
    return _in_thread(function) if is_async else function


def _in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        ended: list[tuple[Any, BaseException | None]] = []

        def run() -> None:
            try:
                ended.append((function(*args, **kwargs), None))
            except BaseException as err:  # handed to whoever waits
                ended.append((None, err))

        thread = threading.Thread(target=run, name="funcx-debug")
        thread.start()
        thread.join()
        value, error = ended[0]
        if error is not None:
            raise error
        return value

    return call


def _own_part(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the user's first frame on."""
    part = traceback
    while part is not None and part.tb_frame.f_code.co_filename.startswith((*_OURS, asyncio.__path__[0])):
        part = part.tb_next
    return part or traceback


def modules_of(function: Any) -> Iterator[str]:
    """Yield the top-level modules that a function's globals hold, or a cell imports."""
    if isinstance(function, CellFunction):
        for text in (function.cell.source, *function.cell.imports):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module.partition(".")[0]
        return
    for value in getattr(inspect.unwrap(function), "__globals__", {}).values():
        if isinstance(value, ModuleType):
            yield value.__name__.partition(".")[0]


def differences(client: FuncXClient, call: Call, modules: Collection[str]) -> list[str]:
    """Return how Python and the packages of these modules differ between here and the call's endpoint."""
    environment = client.connection.environments.get(call.endpoint).environment
    if environment is None:
        return []
    found = []
    if environment.python != platform.python_version():
        found.append(f"Python {platform.python_version()} here, {environment.python} there")
    for module in sorted(modules):
        there = environment.version_of(module)
        here = version_here(environment.modules.get(module) or module)
        if here != there:
            found.append(f"{module} {here or 'missing'} here, {there or 'missing'} there")
    return found
