"""Keys of code: equal when two functions or cells say the same, wherever and however it is written."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from funcx_lab.serialize import pickling
from funcx_lab.serialize.cell import is_silenced
from funcx_lab.serialize.rebuild import identity


class AsCallable:
    """Keeps a function from being looked at as a value."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return identity, (self.function,)


def key_of_function(function: Callable[..., Any]) -> str:
    """Return the hex SHA-256 of a function's code with the globals, closure and defaults that it uses.

    Raises
    ------
    Exception
        Whatever pickling raised.
    """
    stream = pickling.dumps_for_key(AsCallable(function))
    return _digest([stream.data, *stream.buffers])


def key_of_cell(source: str, outputs: list[str] | None, imports: list[str]) -> str:
    """Return the hex SHA-256 of what a cell does: its code, what it brings back, what is imported for it."""
    try:
        code = ast.dump(ast.parse(source))
    except SyntaxError:  # who runs it will say so
        code = source
    facts = [code, is_silenced(source), outputs, sorted(imports)]
    return _digest([msgspec.msgpack.encode(facts)])


def key_of_parts(*parts: str | list[str]) -> str:
    """Return the hex SHA-256 of keys and names, in their order."""
    return _digest([msgspec.msgpack.encode(parts)])


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
