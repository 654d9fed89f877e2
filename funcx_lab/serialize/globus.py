"""Globus Compute's text packing, as far as its unmodified client needs it.

A *buffer* is a two-character identifier, a newline and text. A *packed* text is a row of buffers, each
behind its length in characters and a newline. A function is one buffer, arguments are two.
"""

from __future__ import annotations

import codecs
import json
import pickle  # the user's own client wrote it, and the task is the user's
import re
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any

from funcx_lab.errors import CannotDeserialize, CannotSerialize, MalformedMessage, PythonMismatch
from funcx_lab.protocol.payload import PYTHON
from funcx_lab.serialize import rebuild, source
from funcx_lab.serialize.functions import awaited

_PACKED = re.compile(rb"\d{1,12}\n(?:[01][0-4]|s[td])\n")
_DILL_DATA, _JSON, _ALL_DATA = "00", "11", "13"
_DILL_CODE, _PICKLE_CODE, _COMBINED, _ALL_CODE = "01", "02", "10", "12"
_PURE_SOURCES = ("st", "sd")
_DILLED_SOURCES = ("03", "04")


def is_globus(block: bytes | bytearray | memoryview) -> bool:
    """Whether ``block`` starts as Globus Compute's text packing."""
    return _PACKED.match(bytes(memoryview(block)[:16])) is not None


def split(packed: str) -> list[str]:
    """Return the buffers in a packed text.

    Raises
    ------
    MalformedMessage
        If a length is wrong.
    """
    buffers = []
    position = 0
    while position < len(packed):
        end = packed.find("\n", position, position + 13)
        if end < 0 or not packed[position:end].isascii() or not packed[position:end].isdigit():
            raise MalformedMessage("Packed text of Globus Compute has a length before each buffer.")
        start, position = end + 1, end + 1 + int(packed[position:end])
        if position > len(packed):
            raise MalformedMessage("Packed text of Globus Compute is shorter than it says.")
        buffers.append(packed[start:position])
    return buffers


def join(buffers: Sequence[str]) -> str:
    """Return ``buffers`` as a packed text."""
    return "".join(f"{len(buffer)}\n{buffer}" for buffer in buffers)


def unpack_function(
    body: bytes | str, *, python: str | None = None, trusted: bool = False
) -> Callable[..., Any]:
    """Return the function in a packed text.

    Parameters
    ----------
    body : bytes or str
        What the client registered.
    python : str, optional
        The client's Python, e.g. ``"3.11.7"``, if its metadata say so.
    trusted : bool
        Whether a pickle by name (``02``) may be loaded.

    Raises
    ------
    PythonMismatch
        If it is bytecode of another Python minor version.
    MalformedMessage, CannotDeserialize
        If it cannot be rebuilt here.
    """
    buffers = split(_as_text(body))
    if len(buffers) != 1:
        raise MalformedMessage(f"A function is one buffer, here are {len(buffers)}.")
    function = _load(_function, buffers[0], python, trusted)
    if not callable(function):
        raise MalformedMessage("The buffer does not hold a function.")
    return _plain(function)


def unpack_arguments(body: bytes | str, *, python: str | None = None) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and named arguments in a packed text; parameters and errors as `unpack_function`."""
    buffers = split(_as_text(body))
    if len(buffers) != 2:
        raise MalformedMessage(f"Arguments are two buffers, here are {len(buffers)}.")
    args, kwargs = (_load(_data, buffer, python, True) for buffer in buffers)
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
        raise MalformedMessage("The buffers do not hold a list and a mapping of arguments.")
    return list(args), kwargs


def function_from_source(name: str, text: str) -> Callable[..., Any]:
    """Return function ``name`` of plain source text (``"globus-source"``).

    Raises
    ------
    CannotDeserialize
        If the text is not Python here, or does not define the function.
    """
    return _plain(_load(lambda *_: _from_source(name, text), "", None, True))


def pack_result(value: Any, serializers: Sequence[str] = ()) -> str:
    """Return a result as the client's serializer reads it.

    Parameters
    ----------
    value : object
        The result.
    serializers : sequence of str
        Identifiers that the client asked for, in order; the first that works is used.

    Raises
    ------
    CannotSerialize
        If none can carry it.
    """
    wanted = [_identifier(name) for name in serializers] or [_DILL_DATA]
    problem: Exception | None = None
    for identifier in wanted:
        try:
            if identifier == _JSON:
                return f"{_JSON}\n{json.dumps(value)}"
            if identifier == _DILL_DATA:
                return f"{_DILL_DATA}\n{_dill_text(value)}"
            if identifier == _ALL_DATA:
                return f"{_ALL_DATA}\n{join([pack_result(value, [_DILL_DATA])])}"
        except Exception as err:  # a user's __reduce__ may raise anything; the next one may do
            problem = err
    reason = f"{type(problem).__name__}: {problem}" if problem else f"unknown serializers {list(serializers)}"
    raise CannotSerialize(f"The result ({type(value).__name__}) cannot be sent back: {reason}.") from problem


_NAMES = {"JSONData": _JSON, "DillDataBase64": _DILL_DATA, "AllDataStrategies": _ALL_DATA}


def _identifier(name: str) -> str:
    # The client names them by identifier or by import path.
    return _NAMES.get(re.split("[.:]", name)[-1], name.strip())


def _as_text(body: bytes | str) -> str:
    try:
        return body if isinstance(body, str) else bytes(body).decode()
    except UnicodeDecodeError as err:
        raise MalformedMessage("Packed text of Globus Compute is UTF-8; these bytes are not.") from err


def _load(reader: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return reader(*arguments)
    except (PythonMismatch, CannotDeserialize, MalformedMessage):
        raise
    except Exception as err:  # the bytes may run any code of the user's
        raise CannotDeserialize(
            f"What Globus Compute's client sent cannot be rebuilt here ({type(err).__name__}: {err}); "
            f"it must run Python {PYTHON} or register source."
        ) from err


def _parts(buffer: str) -> tuple[str, str]:
    identifier, newline, text = buffer.partition("\n")
    if not newline:
        raise MalformedMessage("A buffer of Globus Compute starts with an identifier and a newline.")
    return identifier, text


def _data(buffer: str, python: str | None, trusted: bool) -> Any:
    identifier, text = _parts(buffer)
    if identifier == _JSON:
        return json.loads(text)
    if identifier == _DILL_DATA:
        return _from_dill(text, None)  # data pickles are the same in all versions
    if identifier == _ALL_DATA:
        return _first(_data, split(text), python, trusted)
    raise MalformedMessage(f"Data of kind {identifier!r} is not known.")


def _function(buffer: str, python: str | None, trusted: bool) -> Any:
    identifier, text = _parts(buffer)
    if identifier == _DILL_CODE:
        return _from_dill(text, python)
    if identifier == _PICKLE_CODE:
        if not trusted:
            raise CannotDeserialize("Pickled functions (02) are only loaded at endpoints that trust them.")
        return pickle.loads(_base64(text))  # noqa: S301  # trusted
    if identifier in _DILLED_SOURCES:
        return _from_source(*_from_dill(text, None))  # two strings, the same in all versions
    if identifier in _PURE_SOURCES:
        return _from_source(*text.split(":", 1))
    if identifier == _ALL_CODE:
        return _first(_function, split(text), python, trusted)
    if identifier == _COMBINED:
        parts = text.split(":")
        return _first(_function, map("".join, zip(parts[::2], parts[1::2], strict=False)), python, trusted)
    raise MalformedMessage(f"A function of kind {identifier!r} is not known.")


def _first(reader: Callable[..., Any], buffers: Iterable[str], python: str | None, trusted: bool) -> Any:
    problems: list[Exception] = []
    for buffer in buffers:
        try:
            return reader(buffer, python, trusted)
        except Exception as err:  # another of the combined forms may do
            problems.append(err)
    problems.sort(key=lambda err: not isinstance(err, PythonMismatch))  # it says best what to do
    raise problems[0] if problems else MalformedMessage("A combined buffer is empty.")


def _base64(text: str) -> bytes:
    return codecs.decode(text.encode(), "base64")


def _from_dill(text: str, python: str | None) -> Any:
    if python:
        rebuild.require_python(".".join(python.split(".")[:2]))
    import dill

    return dill.loads(_base64(text))  # noqa: S301  # the user's own client wrote it


def _dill_text(value: Any) -> str:
    import dill

    return codecs.encode(dill.dumps(value), "base64").decode()


def _from_source(name: str, text: str) -> Any:
    name = name.strip()
    unit = source.Unit(text, 1)
    space = rebuild.make_space("__main__")
    exec(unit.compile(unit.register(name)), space)  # noqa: S102  # the user's own function
    if name not in space:
        raise CannotDeserialize(f"The source does not define {name!r}.")
    return space[name]


def _plain(function: Any) -> Callable[..., Any]:
    is_async = isinstance(function, FunctionType) and function.__code__.co_flags & 0x80
    return awaited(function) if is_async else function
