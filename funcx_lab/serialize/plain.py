"""Plain values and numpy arrays as msgpack with buffers beside it; nothing here runs foreign code.

Arrays come back writable, like local ones: if the received block is writable they are views into it
(no copy; the block then belongs to the value), otherwise each array is copied once.
"""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from funcx_lab.errors import CannotDeserialize, MalformedMessage
from funcx_lab.protocol.payload import Buffer

ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_STR = frozenset({str})
#: Above this many containers pickle is faster than looking at each.
_CONTAINER_LIMIT = 10_000
_DEPTH_LIMIT = 50
_DTYPE = re.compile(r"[<>|=][biufcmMSUV]\d{1,9}(\[\d{0,9}\w{1,2}\])?")
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


def _is_large(value: Any) -> bool:
    return type(value) is bytes and len(value) >= _BLOB_LIMIT


def out_of_band(value: Any) -> Any:
    """Return ``value``, or a `Blob` for bytes that are worth a part of their own."""
    return Blob(value) if _is_large(value) else value


def encode(value: Any) -> list[Buffer] | None:
    """Return body and buffers of a plain value; None if it is not plain."""
    if type(value) in ATOMS and not _is_large(value):
        try:
            return [_encode(value)]
        except (OverflowError, ValueError):  # over 64 bit, lone surrogates
            return None
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
        parts[0] = msgspec.msgpack.encode(out_of_band(value), enc_hook=extension)
    except (OverflowError, ValueError, RecursionError):
        return None
    return parts


def _is_plain(value: Any, seen: set[int], depth: int) -> bool:
    kind = type(value)
    if kind in ATOMS or kind is Blob:
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
    if ATOMS.issuperset(map(type, items)):
        return True
    return all(_is_plain(item, seen, depth + 1) for item in items)


def _is_plain_array(value: Any, kind: type) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None or kind is not numpy.ndarray:
        return False
    dtype = value.dtype
    if dtype.names or dtype.metadata or not dtype.itemsize or not _DTYPE.fullmatch(dtype.str):
        return False
    return bool(value.flags.c_contiguous or value.flags.f_contiguous)


def _flat(array: Any) -> tuple[memoryview, str]:
    order = "C" if array.flags.c_contiguous else "F"
    # As bytes: the buffer protocol does not know datetime64.
    return memoryview(array.reshape(-1, order=order).view("u1")), order


def decode(parts: Sequence[memoryview]) -> Any:
    """Return the value that `encode` made ``parts`` of.

    Raises
    ------
    MalformedMessage
        If they are damaged.
    CannotDeserialize
        If it holds arrays and numpy is not installed.
    """
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
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"arrays of {dtype} do not travel this way")
    kind = numpy.dtype(dtype)
    array: Any = numpy.frombuffer(part, dtype="u1").view(kind) if part.nbytes else numpy.empty(0, kind)
    if (writeable and (part.readonly or not part.nbytes)) or not array.flags.aligned:
        array = array.copy()
    array = array.reshape(shape, order=order)
    array.flags.writeable = writeable
    return array
