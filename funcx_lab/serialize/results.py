"""Results to payloads and back: a value, or what a cell leaves."""

from __future__ import annotations

from typing import Any

import msgspec

from funcx_lab.errors import CannotSerialize, MalformedMessage, SerializationError
from funcx_lab.protocol import payload
from funcx_lab.protocol.payload import Buffer, Payload
from funcx_lab.serialize import plain
from funcx_lab.serialize.cell import CellResult, as_main
from funcx_lab.serialize.values import decode, encode


def pack_value(value: Any) -> Payload:
    """Return the payload of a result.

    Raises
    ------
    CannotSerialize
        If it cannot be sent; the message says why and what to return instead.
    """
    if type(value) is CellResult:
        with as_main(value.main):
            return _pack_cell_result(value)
    try:
        form, parts = encode(plain.out_of_band(value))
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
            form, encoded = encode(plain.out_of_band(value))
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
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError) as err:
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
