"""Values to payloads and back.

Plain JSON-like values and numpy arrays travel as msgpack (format ``"values"``), which anyone may open.
Everything else is a pickle (``"pickle"``), or a pickle that holds bytecode of this Python (``"dill"``).
Large buffers are parts of their own: they are referred to, never copied, while packing.
"""

from __future__ import annotations

import pickle  # opened only for values whose source is trusted
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from funcx_lab.errors import (
    CannotDeserialize,
    CannotSerialize,
    FuncxLabError,
    MalformedMessage,
    UntrustedResult,
)
from funcx_lab.protocol import payload
from funcx_lab.protocol.payload import Buffer, Payload
from funcx_lab.serialize import pickling, plain, rebuild, said
from funcx_lab.serialize.needs import Needs

#: A format and its parts; part 0 is the body.
Encoded: TypeAlias = tuple[str, Sequence[Buffer]]


def encode(value: Any, needs: Needs | None = None) -> Encoded:
    """Return ``value`` in the first format that keeps its exact types.

    Parameters
    ----------
    value : object
        Anything.
    needs : Needs, optional
        Gets what must be there where it is opened.

    Raises
    ------
    CannotSerialize
        If there is none; the message says why.
    """
    parts = plain.encode(value)
    if parts is None:
        return _pickled(value, needs)
    if needs is not None and len(parts) > 1:  # arrays
        needs.add("numpy")
    return "values", parts


def _pickled(value: Any, needs: Needs | None) -> Encoded:
    try:
        sent = plain.out_of_band(value)
        stream = pickling.dumps(sent) if needs is None else pickling.dumps_noting(sent, needs)
    except CannotSerialize:
        raise
    except Exception as err:  # a user's __reduce__ may raise anything; dill is the second chance
        try:
            stream = pickling.dumps_by_value(value)
            if needs is not None:
                needs.bound = True
        except Exception:
            raise CannotSerialize(f"it cannot be pickled ({type(err).__name__}: {err})") from err
    return "dill" if stream.bound else "pickle", [stream.data, *stream.buffers]


def decode(form: str, python: str, parts: Sequence[memoryview], *, trusted: bool) -> Any:
    """Return the value that `encode` turned into ``parts``.

    Raises
    ------
    UntrustedResult
        If it would have to be unpickled and ``trusted`` is False.
    PythonMismatch
        If it holds bytecode of another Python.
    CannotDeserialize, MalformedMessage
        If it cannot be rebuilt here.
    """
    if not parts:
        raise MalformedMessage("The payload has no body.")
    if form == "values":
        return plain.decode(parts)
    if form not in ("pickle", "dill"):
        raise MalformedMessage(f"A value cannot have format {form!r}.")
    if not trusted:
        raise UntrustedResult(
            "The value would have to be unpickled, which can run any code, and its endpoint is not yours. "
            "Return plain data (numbers, text, lists, dicts, arrays), or trust the endpoint."
        )
    if form == "dill":
        rebuild.require_python(python)
    return unpickle(parts)


def unpickle(parts: Sequence[memoryview]) -> Any:
    """Return what a stream and its buffers hold.

    Raises
    ------
    CannotDeserialize
        If a package is missing here or the value refuses to be rebuilt.
    """
    try:
        return pickle.loads(parts[0], buffers=[_writable(part) for part in parts[1:]])  # noqa: S301  # trusted, see callers
    except FuncxLabError:
        raise
    except Exception as err:
        raise CannotDeserialize(
            f"The value cannot be rebuilt in Python {payload.PYTHON} here ({type(err).__name__}: {err}); "
            "a package may be missing or of another version."
        ) from err


def _writable(part: memoryview) -> Buffer:
    return bytearray(part) if part.readonly else part


# --- payloads ---------------------------------------------------------------------------------------

#: Arguments that have so many bytes together are packed once more, each alone, to tell its size.
_MEASURED_LIMIT = 16 * 1024
_NO_ARGUMENTS = payload.pack("values", [msgspec.msgpack.encode([[], {}])])
_NO_ARGUMENTS_BYTES = _NO_ARGUMENTS.tobytes()


def pack_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, sizes: Mapping[str, int] | None = None
) -> Payload:
    """Return the payload of a call's arguments.

    Parameters
    ----------
    args, kwargs
        The arguments.
    sizes : mapping, optional
        Bytes of named ones, if they were measured already; for people only.

    Raises
    ------
    CannotSerialize
        Naming the argument that cannot be sent.
    """
    if not args and not kwargs:
        return _NO_ARGUMENTS
    positional = [plain.out_of_band(value) for value in args]
    named = {name: plain.out_of_band(value) for name, value in kwargs.items()}
    try:
        form, parts = encode([positional, named])
    except CannotSerialize as err:
        raise _blame([*enumerate(args, 1), *kwargs.items()], err) from None
    if form == "values":
        return payload.pack(form, parts)
    size = sum(memoryview(part).nbytes for part in parts)
    measure = _measured if size <= _MEASURED_LIMIT else _unknown
    told = said.arguments([*enumerate(args), *kwargs.items()], size, sizes or {}, measure)
    return payload.pack(form, parts, inputs=told)


def _measured(value: Any) -> int | None:
    try:
        return sum(memoryview(part).nbytes for part in encode(value)[1])
    except Exception:  # whatever a value raises that could be sent among the others: it is for people only
        return None


def _unknown(value: Any) -> int | None:
    return None


def _blame(arguments: list[tuple[Any, Any]], why: CannotSerialize) -> CannotSerialize:
    for name, value in arguments:
        try:
            encode(value)
        except CannotSerialize as err:
            what = f"`{name}`" if isinstance(name, str) else str(name)
            message = f"Argument {what} ({type(value).__name__}) cannot be sent: {err.message}."
            return CannotSerialize(message, details={"argument": name})
    return CannotSerialize(f"The arguments cannot be sent: {why.message}.")


def unpack_arguments(block: Buffer) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and named arguments in a payload.

    Raises
    ------
    MalformedMessage, HashMismatch, VersionMismatch
        If the payload is damaged.
    PythonMismatch, CannotDeserialize
        If a value cannot be rebuilt here.
    """
    if len(block) == len(_NO_ARGUMENTS_BYTES) and block == _NO_ARGUMENTS_BYTES:
        return [], {}
    header, parts = payload.unpack(block)
    value = decode(header.format, header.python, parts, trusted=True)
    if type(value) is not list or [type(item) for item in value] != [list, dict]:
        raise MalformedMessage("The payload does not hold arguments.")
    return value[0], value[1]
