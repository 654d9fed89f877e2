"""What is said to people of a function and of arguments that they may not open: names, sizes, source."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any

from funcx_lab.errors import CannotSerialize
from funcx_lab.serialize import origin, source

#: Longer sources are not said.
SOURCE_LIMIT = 16 * 1024
#: So many arguments are said, with so many characters of each word.
ARGUMENTS_LIMIT, WORD_LIMIT = 200, 200
_OURS = "funcx_lab"

Said = tuple[str | int, int | None, str]


def source_of(function: Callable[..., Any]) -> str:
    """Return the source of a function that travels as source; ``""`` if it does not, or is too long."""
    plain = _plain(function)
    if plain is None or origin.by_reference(plain) or plain.__module__.partition(".")[0] == _OURS:
        return ""
    try:
        text = textwrap.dedent(source.find_function(plain).unit.text)
    except (CannotSerialize, SyntaxError):
        return ""
    return text if len(text.encode("utf-8", "replace")) <= SOURCE_LIMIT else ""


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the positional parameters that a call fills; none if they cannot be told."""
    given = len(function.args) if isinstance(function, functools.partial) else 0
    plain = _plain(function)
    if plain is None:
        return ()
    return plain.__code__.co_varnames[: plain.__code__.co_argcount][given : given + ARGUMENTS_LIMIT]


def _plain(function: Callable[..., Any]) -> FunctionType | None:
    if isinstance(function, functools.partial):
        function = function.func
    with suppress(ValueError):  # it wraps itself
        function = inspect.unwrap(function)
    return function if isinstance(function, FunctionType) else None


def arguments(
    values: Iterable[tuple[str | int, Any]],
    size: int,
    sizes: Mapping[str, int],
    measure: Callable[[Any], int | None],
) -> list[Said]:
    """Return name or position, bytes as far as they are known, and type of each argument.

    Parameters
    ----------
    values : iterable
        Name or position, and value.
    size : int
        Bytes of all together.
    sizes : mapping
        Bytes of those that were measured already, by name.
    measure : callable
        Returns the bytes of a value that says nothing of itself, or None.
    """
    pairs = list(values)
    if len(pairs) == 1:
        ((name, value),) = pairs
        return [(name, size, _kind(value))]
    return [
        (name, sizes.get(str(name)) if str(name) in sizes else _size(value, measure), _kind(value))
        for name, value in pairs[:ARGUMENTS_LIMIT]
    ]


def _size(value: Any, measure: Callable[[Any], int | None]) -> int | None:
    if type(value) in (str, bytes, bytearray):
        return len(value)
    with suppress(Exception):  # whatever a user's property raises: this is for people only
        nbytes = getattr(value, "nbytes", None)
        if type(nbytes) is int:
            return nbytes
        if type(value).__module__.partition(".")[0] == "pandas":
            usage = value.memory_usage(index=True)
            return int(usage if isinstance(usage, int) else usage.sum())
    return measure(value)


def _kind(value: Any) -> str:
    name = type(value).__qualname__
    with suppress(Exception):  # as in `_size`
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and all(type(length) is int for length in shape):
            name = f"{name} {shape}"
    return name[:WORD_LIMIT]
