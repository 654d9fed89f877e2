"""Functions to payloads and back."""

from __future__ import annotations

import functools
import hashlib
import inspect
import linecache
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

from funcx_lab.errors import CannotDeserialize, CannotSerialize, MalformedMessage, UsageError
from funcx_lab.protocol import payload
from funcx_lab.protocol.payload import Buffer
from funcx_lab.serialize import cell, mapped_cell, origin, said, source, values
from funcx_lab.serialize.code_keys import AsCallable, key_of_function
from funcx_lab.serialize.code_objects import global_names, line_of
from funcx_lab.serialize.needs import Needs

#: The hub service takes functions up to this many bytes.
FUNCTION_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class PackedFunction:
    """A function that is ready to be registered.

    Attributes
    ----------
    name : str
        For people.
    body : bytes
        A payload.
    sha256 : str
        Hex digest of the body.
    code : str
        Hex digest of what the code says: equal for two bodies that differ in comments or place only.
    source : str
        What people may read of it, ``""`` if that is in the body for all to read, or not known.
    parameters : tuple of str
        The names of its positional parameters, as far as they are known.
    """

    name: str
    body: bytes
    sha256: str
    code: str = ""
    source: str = ""
    parameters: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, block: payload.Payload, code: str = "") -> PackedFunction:
        """Return ``block`` under ``name``; its bytes stand for its code when nothing else does."""
        body = block.tobytes()
        sha256 = hashlib.sha256(body).hexdigest()
        return cls(name, body, sha256, code or sha256)


def pack_function(function: Callable[..., Any]) -> PackedFunction:
    """Return ``function`` as source if it has any, as a name if it is installed, else as bytecode.

    Globals and closure values that it uses travel with it, as they are now.

    Raises
    ------
    UsageError
        If it cannot be called.
    CannotSerialize
        If something it uses cannot be sent; the message names it and the line.
    """
    if not callable(function):
        raise UsageError(f"A function is needed, not {type(function).__name__} {function!r:.80}.")
    name = _name_of(function)
    try:
        form, parts = values.encode(AsCallable(function))
    except CannotSerialize as err:
        raise _explain(function, err) from None
    code = key_of_function(function) if form == "pickle" else ""
    packed = PackedFunction.of(name, payload.pack("source" if form == "pickle" else form, parts), code)
    if len(packed.body) > FUNCTION_LIMIT:
        raise _too_large(function, len(packed.body))
    return replace(packed, source=said.source_of(function), parameters=said.parameters_of(function))


def needs_of(function: Callable[..., Any]) -> Needs:
    """Return what must be there where a function runs.

    Raises
    ------
    CannotSerialize
        As `pack_function`.
    """
    needs = Needs()
    try:
        values.encode(AsCallable(function), needs)
    except CannotSerialize as err:
        raise _explain(function, err) from None
    return needs


def _name_of(function: Callable[..., Any]) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    return str(getattr(inner, "__name__", None) or type(inner).__name__)


def unpack_function(body: Buffer, *, task_id: str = "") -> Callable[..., Any]:
    """Return the function in a payload of `pack_function` or `funcx_lab.serialize.pack_cell`.

    An ``async def`` function comes back as one that runs to its end when called.

    Parameters
    ----------
    body : bytes-like
        The payload.
    task_id : str
        Named in the details of errors.

    Raises
    ------
    PythonMismatch
        If it is bytecode of another Python; nothing of it is loaded.
    CannotDeserialize
        If it needs a module or syntax that is not available here.
    MalformedMessage, HashMismatch, VersionMismatch
        If the payload is damaged.
    """
    header, parts = payload.unpack(body)
    if header.format == "cell":
        return cell.unpack(parts)
    if header.format == mapped_cell.FORMAT:
        return mapped_cell.unpack(parts)
    try:
        form = "pickle" if header.format == "source" else header.format
        if form not in ("pickle", "dill"):
            raise MalformedMessage(f"A function cannot have format {header.format!r}.")
        function = values.decode(form, header.python, parts, trusted=True)
    except (CannotDeserialize, MalformedMessage) as err:
        err.details["task_id"] = task_id
        raise
    if not callable(function):
        raise MalformedMessage("The payload does not hold a function.")
    return awaited(function) if inspect.iscoroutinefunction(function) else function


def awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain function that runs an ``async def`` function to its end."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        import asyncio  # not needed by most, and slow to import

        return asyncio.run(function(*args, **kwargs))

    return call


def _explain(function: Any, why: CannotSerialize) -> CannotSerialize:
    """Return an error that names what ``function`` uses and cannot be sent."""
    name = _name_of(function)
    return _culprit(function, set()) or CannotSerialize(f"Function `{name}` cannot be sent: {why.message}.")


def _culprit(function: Any, seen: set[int]) -> CannotSerialize | None:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    if id(function) in seen or origin.by_reference(function):
        return None
    seen.add(id(function))
    if isinstance(function, type):
        found = (_culprit(method, seen) for method in source.functions_of(function).values())
        return next(filter(None, found), None)
    if not isinstance(function, FunctionType):
        return None
    for name, value in _used(function):
        try:
            values.encode(value)
        except CannotSerialize as err:
            return _culprit(value, seen) or _blame(function, name, value, err)
    return None


def _used(function: FunctionType) -> Iterator[tuple[str, Any]]:
    space = function.__globals__
    yield from ((name, space[name]) for name in global_names(function.__code__) if name in space)
    for name, content in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, content.cell_contents
        except ValueError:  # not bound yet
            continue
    defaults = inspect.signature(function, follow_wrapped=False).parameters.values()
    yield from ((p.name, p.default) for p in defaults if p.default is not p.empty)


def _blame(function: FunctionType, name: str, value: Any, why: CannotSerialize) -> CannotSerialize:
    code = function.__code__
    line = line_of(code, name) or code.co_firstlineno
    text = linecache.getline(code.co_filename, line).strip()
    return CannotSerialize(
        f"Function `{function.__name__}` uses `{name}` at line {line}, and it cannot be sent.\n"
        + (f"  line {line}:  {text}\n" if text else "")
        + f"  why:  {type(value).__module__}.{type(value).__name__}: {why.message}.\n"
        f"  try:  create `{name}` inside the function, or pass what it is made from as an argument.",
        details={"name": name, "line": line, "function": function.__name__},
    )


def _too_large(function: Any, size: int) -> CannotSerialize:
    sizes: dict[str, int] = {}
    if isinstance(function, FunctionType):
        for name, value in _used(function):
            sizes[name] = sum(memoryview(part).nbytes for part in values.encode(value)[1])
    largest = max(sizes, key=lambda name: sizes[name], default="")
    hint = (
        f"; most of it is `{largest}` ({sizes[largest]:,} bytes). Pass it as an argument" if largest else ""
    )
    return CannotSerialize(
        f"Function `{_name_of(function)}` has {size:,} bytes with all it uses, the limit is "
        f"{FUNCTION_LIMIT:,}{hint}.",
        details={"bytes": size, "limit": FUNCTION_LIMIT, "name": largest},
    )
