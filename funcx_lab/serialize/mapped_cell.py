"""A notebook cell that runs once per item: packed here with what all items share, run at the worker."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import msgspec

from funcx_lab.errors import MalformedMessage
from funcx_lab.protocol import payload
from funcx_lab.protocol.payload import Buffer, Payload
from funcx_lab.serialize import display
from funcx_lab.serialize.cell import CellFunction, CellResult
from funcx_lab.serialize.cell import unpack as unpack_cell
from funcx_lab.serialize.items import compute_items
from funcx_lab.serialize.values import unpack_arguments

FORMAT = "mapped-cell"


def pack(cell: Buffer, names: list[str], shared: Payload) -> Payload:
    """Return the payload of a cell that is to run once per item.

    Parameters
    ----------
    cell : bytes-like
        The payload of the cell, made by `funcx_lab.serialize.cell.pack`.
    names : list of str
        The names that are bound to an item's values, in their order.
    shared : Payload
        The arguments that every item gets, made by `pack_arguments`.
    """
    return payload.pack(FORMAT, [msgspec.msgpack.encode(names), cell, shared.tobytes()])


def unpack(parts: Sequence[Buffer]) -> MappedCell:
    """Return the cell as a function of a list of items.

    Raises
    ------
    MalformedMessage
        If the payload does not hold such a cell.
    CannotDeserialize
        If the cell is not Python.
    """
    try:
        names = msgspec.msgpack.decode(parts[0], type=list[str])
        cell, shared = parts[1], bytes(parts[2])
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError) as err:
        raise MalformedMessage(f"The payload does not hold a cell for a map: {err}") from err
    return MappedCell(unpack_cell(payload.unpack(cell)[1]), names, shared)


class MappedCell:
    """Runs a cell for each item of a list; every run starts with values of its own.

    Parameters
    ----------
    cell : CellFunction
        The cell.
    names : list of str
        The names of an item's values.
    shared : bytes
        The payload of the arguments that every run gets.
    """

    def __init__(self, cell: CellFunction, names: list[str], shared: bytes) -> None:
        self._cell = cell
        self._names = names
        self._shared = shared
        self.__name__ = cell.__name__

    def __call__(self, items: Sequence[Sequence[Any]]) -> Any:
        """Run the cell for each item; value and errors as `compute_items`."""
        return compute_items(lambda index: self._run(items[index]), len(items))

    def _run(self, item: Sequence[Any]) -> CellResult:
        # Opened for each run: what one item does to a value is not there for the next.
        _, inputs = unpack_arguments(bytearray(self._shared))
        result = self._cell(**inputs, **dict(zip(self._names, item, strict=True)))
        for bundle in display.collect_figures():
            builtins.display(bundle, raw=True)  # type: ignore[attr-defined]  # see install_display
        return result
