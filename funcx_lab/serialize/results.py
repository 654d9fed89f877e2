"""Results to payloads and back: a value, what a cell leaves, or the outcomes of a map's items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from funcx_lab.errors import CannotSerialize, FuncxLabError, MalformedMessage, SerializationError
from funcx_lab.protocol import payload
from funcx_lab.protocol.messages import ErrorInfo
from funcx_lab.protocol.payload import Buffer, Payload
from funcx_lab.serialize import plain
from funcx_lab.serialize.cell import CellResult, as_main
from funcx_lab.serialize.exceptions import unpack_exception
from funcx_lab.serialize.values import decode, encode


class ItemOutcomes:
    """What a task leaves that computed several items of a map: one outcome for each.

    Parameters
    ----------
    errors : sequence of ErrorInfo or None
        For each item why it failed; None if it did not.
    blocks : sequence of bytes-like
        For each item the payload of its value or exception; empty if there is none.
    trusted : bool
        Whether the payloads may be unpickled.
    """

    def __init__(
        self, errors: Sequence[ErrorInfo | None], blocks: Sequence[Buffer], *, trusted: bool = True
    ) -> None:
        self.errors = list(errors)
        self.blocks = list(blocks)
        self._trusted = trusted

    def __len__(self) -> int:
        return len(self.errors)

    def open(self, index: int) -> tuple[Any, BaseException | None]:
        """Return the value of one item, or its exception."""
        error, block = self.errors[index], self.blocks[index]
        if error is not None:
            return None, unpack_exception(block or None, error, trusted=self._trusted)
        try:
            return unpack_value(block, trusted=self._trusted), None
        except FuncxLabError as err:
            return None, err


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
    if type(value) is ItemOutcomes:
        return payload.pack("items", [msgspec.msgpack.encode(value.errors), *value.blocks])
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
    if header.format == "items":
        return _unpack_items(parts, trusted)
    return decode(header.format, header.python, parts, trusted=trusted)


def _unpack_items(parts: list[memoryview], trusted: bool) -> ItemOutcomes:
    try:
        errors = msgspec.msgpack.decode(parts[0], type=list[ErrorInfo | None])
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError) as err:
        raise MalformedMessage(f"The outcomes of a map's items are damaged: {err}") from err
    if len(errors) != len(parts) - 1:
        raise MalformedMessage(f"{len(errors)} items of a map should have {len(parts) - 1} outcomes.")
    return ItemOutcomes(errors, parts[1:], trusted=trusted)


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
