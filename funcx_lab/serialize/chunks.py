"""A function that makes many calls of another one in one task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from funcx_lab.serialize.cell import as_main, main_of
from funcx_lab.serialize.functions import awaited
from funcx_lab.serialize.items import compute_items


def in_chunks(function: Callable[..., Any]) -> Callable[[Sequence[Sequence[Any]]], Any]:
    """Return a function that makes the calls of ``function`` whose arguments it is given as a list."""

    def run_chunk(calls: Sequence[Sequence[Any]]) -> Any:
        return run_calls(function, calls)

    return run_chunk


def run_calls(function: Callable[..., Any], calls: Sequence[Sequence[Any]]) -> Any:
    """Make calls one after another, at the worker; value and errors as `compute_items`."""
    call = awaited(function) if inspect.iscoroutinefunction(function) else function
    with as_main(main_of(function)):
        return compute_items(lambda index: call(*calls[index]), len(calls))
