"""Values to payloads and back.

Plain JSON-like values and numpy arrays travel as msgpack (format ``"values"``), which anyone may open.
Everything else is a pickle (``"pickle"``), or a pickle that holds bytecode of this Python (``"dill"``).
Large buffers are parts of their own: they are referred to, never copied, while packing.

Arrays come back writable, like local ones: if the received block is writable they are views into it
(no copy; the block then belongs to the value), otherwise each array is copied once.
"""

from __future__ import annotations

import pickle  # opened only for values whose source is trusted
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from funcx_lab.errors import (
    CannotDeserialize,
    CannotSerialize,
    FuncxLabError,
    MalformedMessage,
    SerializationError,
    UntrustedResult,
)
from funcx_lab.protocol import payload
from funcx_lab.protocol.payload import Buffer, Payload
from funcx_lab.serialize import pickling, rebuild
from funcx_lab.serialize.cell import CellResult

#: A format and its parts; part 0 is the body.
Encoded: TypeAlias = tuple[str, Sequence[Buffer]]

_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_STR = frozenset({str})
#: Above this many containers pickle is faster than looking at each.
_CONTAINER_LIMIT = 10_000
_DEPTH_LIMIT = 50
_ARRAY = 1
_BLOB = 2
#: Bytes of this size and more are parts of their own when they are an argument or a result.
_BLOB_LIMIT = 64 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Blob:
    """Large bytes on their way out of band."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (pickle.PickleBuffer(self.content),)


def encode(value: Any) -> Encoded:
    """Return ``value`` in the first format that keeps its exact types.

    Raises
    ------
    CannotSerialize
        If there is none; the message says why.
    """
    if type(value) in _ATOMS and not _is_large(value):
        try:
            return "values", [_encode(value)]
        except (OverflowError, ValueError):  # over 64 bit, lone surrogates
            return _pickled(value)
    return _encode_plain(value) or _pickled(value)


def _is_large(value: Any) -> bool:
    return type(value) is bytes and len(value) >= _BLOB_LIMIT


def _out_of_band(value: Any) -> Any:
    return Blob(value) if _is_large(value) else value


def _encode_plain(value: Any) -> Encoded | None:
    arrays: list[Any] = []
    if not _is_plain(value, set(), 0):
        return None
    parts: list[Buffer] = [b""]

    def extension(thing: Any) -> msgspec.msgpack.Ext:
        if type(thing) is Blob:
            parts.append(thing.content)
            return msgspec.msgpack.Ext(_BLOB, _encode(len(parts) - 1))
        arrays.append(thing)  # keeps the memory alive
        flat, order = _flat(thing)
        parts.append(flat)
        facts = (len(parts) - 1, thing.dtype.str, thing.shape, order, bool(thing.flags.writeable))
        return msgspec.msgpack.Ext(_ARRAY, _encode(facts))

    try:
        parts[0] = msgspec.msgpack.encode(_out_of_band(value), enc_hook=extension)
    except (OverflowError, ValueError, RecursionError):
        return None
    return "values", parts


def _is_plain(value: Any, seen: set[int], depth: int) -> bool:
    kind = type(value)
    if kind in _ATOMS or kind is Blob:
        return True
    if kind is list:
        items = value
    elif kind is dict:
        if not _STR.issuperset(map(type, value)):
            return False
        items = value.values()
    elif not _is_plain_array(value, kind):
        return False
    else:
        items = ()
    # Pickle keeps track of a list that occurs twice, or in itself; msgpack cannot.
    if id(value) in seen or len(seen) > _CONTAINER_LIMIT or depth > _DEPTH_LIMIT:
        return False
    seen.add(id(value))
    if _ATOMS.issuperset(map(type, items)):
        return True
    return all(_is_plain(item, seen, depth + 1) for item in items)


def _is_plain_array(value: Any, kind: type) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None or kind is not numpy.ndarray:
        return False
    dtype = value.dtype
    if (
        dtype.kind not in "biufcmMSUV"
        or dtype.names
        or dtype.metadata
        or dtype.subdtype
        or not dtype.itemsize
    ):
        return False
    return bool(value.flags.c_contiguous or value.flags.f_contiguous) and numpy.dtype(dtype.str) == dtype


def _flat(array: Any) -> tuple[memoryview, str]:
    order = "C" if array.flags.c_contiguous else "F"
    # As bytes: the buffer protocol does not know datetime64.
    return memoryview(array.reshape(-1, order=order).view("u1")), order


def _pickled(value: Any) -> Encoded:
    try:
        stream = pickling.dumps(_out_of_band(value))
    except CannotSerialize:
        raise
    except Exception as err:  # a user's __reduce__ may raise anything; dill is the second chance
        try:
            stream = pickling.dumps_by_value(value)
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
        return _decode_plain(parts)
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


def _decode_plain(parts: Sequence[memoryview]) -> Any:
    try:
        if len(parts) == 1:
            return _decode(parts[0])
        return msgspec.msgpack.decode(parts[0], ext_hook=_extension_reader(parts))
    except (msgspec.DecodeError, RecursionError, ValueError, TypeError, IndexError, OverflowError) as err:
        raise MalformedMessage(f"The value's bytes are damaged: {err}") from err


def _extension_reader(parts: Sequence[memoryview]) -> Callable[[int, memoryview], Any]:
    def read(code: int, data: memoryview) -> Any:
        if code == _BLOB:
            return bytes(parts[_decode(data)])
        if code != _ARRAY:
            raise ValueError(f"unknown extension {code}")
        index, dtype, shape, order, writeable = _decode(data)
        return _array(parts[index], dtype, shape, order, writeable)

    return read


def _array(part: memoryview, dtype: str, shape: list[int], order: str, writeable: bool) -> Any:
    try:
        import numpy
    except ImportError as err:
        raise CannotDeserialize("The value holds numpy arrays and numpy is not installed here.") from err
    kind = numpy.dtype(dtype)
    if kind.hasobject:
        raise ValueError("arrays of objects do not travel this way")
    array: Any = numpy.frombuffer(part, dtype="u1").view(kind) if part.nbytes else numpy.empty(0, kind)
    if (writeable and (part.readonly or not part.nbytes)) or not array.flags.aligned:
        array = array.copy()
    array = array.reshape(shape, order=order)
    array.flags.writeable = writeable
    return array


# --- payloads ---------------------------------------------------------------------------------------

_NO_ARGUMENTS = payload.pack("values", [_encode([[], {}])])
_NO_ARGUMENTS_BYTES = _NO_ARGUMENTS.tobytes()


def pack_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Payload:
    """Return the payload of a call's arguments.

    Raises
    ------
    CannotSerialize
        Naming the argument that cannot be sent.
    """
    if not args and not kwargs:
        return _NO_ARGUMENTS
    positional = [_out_of_band(value) for value in args]
    named = {name: _out_of_band(value) for name, value in kwargs.items()}
    try:
        form, parts = encode([positional, named])
    except CannotSerialize as err:
        raise _blame([*enumerate(args, 1), *kwargs.items()], err) from None
    return payload.pack(form, parts)


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


def pack_value(value: Any) -> Payload:
    """Return the payload of a result.

    Raises
    ------
    CannotSerialize
        If it cannot be sent; the message says why and what to return instead.
    """
    if type(value) is CellResult:
        return _pack_cell_result(value)
    try:
        form, parts = encode(_out_of_band(value))
    except CannotSerialize as err:
        raise CannotSerialize(
            f"The result ({type(value).__name__}) cannot be sent back: {err.message}.",
            details={"type": type(value).__name__},
        ) from err
    return payload.pack(form, parts)


def unpack_value(block: Buffer, *, trusted: bool = True) -> Any:
    """Return the result in a payload.

    Parameters
    ----------
    block : bytes-like
        The payload; arrays are views into it if it is writable.
    trusted : bool
        Whether it may be unpickled, which can run any code of whoever made it.

    Raises
    ------
    UntrustedResult
        If it would have to be unpickled and ``trusted`` is False.
    PythonMismatch, CannotDeserialize
        If it cannot be rebuilt here.
    MalformedMessage, HashMismatch, VersionMismatch
        If the payload is damaged.
    """
    header, parts = payload.unpack(block)
    if header.format == "cell-result":
        return _unpack_cell_result(header.python, parts, trusted)
    return decode(header.format, header.python, parts, trusted=trusted)


class _CellItems(msgspec.Struct, array_like=True):
    """Body of a cell's result: each item is (name, format, number of parts); ``_`` is the value."""

    value_present: bool
    display: dict[str, Any]
    left_out: dict[str, str]
    items: list[tuple[str, str, int]]


def _pack_cell_result(result: CellResult) -> Payload:
    body = _CellItems(result.value_present, result.display, dict(result.left_out), [])
    parts: list[Buffer] = [b""]
    wanted = {**({"_": result.value} if result.value_present else {}), **result.names}
    for name, value in wanted.items():
        try:
            form, encoded = encode(_out_of_band(value))
        except CannotSerialize as err:
            body.left_out[name] = err.message
            continue
        size = sum(memoryview(part).nbytes for part in encoded)
        if name != "_" and result.limit is not None and size > result.limit:
            body.left_out[name] = f"it has {size:,} bytes; ask for it by name to bring it back"
            continue
        body.items.append((name, form, len(encoded)))
        parts.extend(encoded)
    parts[0] = msgspec.msgpack.encode(body, enc_hook=repr)
    return payload.pack("cell-result", parts)


def _unpack_cell_result(python: str, parts: list[memoryview], trusted: bool) -> CellResult:
    try:
        body = msgspec.msgpack.decode(parts[0], type=_CellItems)
    except (msgspec.DecodeError, IndexError) as err:
        raise MalformedMessage(f"The cell's result is damaged: {err}") from err
    result = CellResult(body.value_present, None, body.display, {}, body.left_out)
    position = 1
    for name, form, count in body.items:
        own, position = parts[position : position + count], position + count
        try:
            value = decode(form, python, own, trusted=trusted)
        except (SerializationError, MalformedMessage) as err:
            result.left_out[name] = err.message
            continue
        if name == "_":
            result.value = value
        else:
            result.names[name] = value
    return result
