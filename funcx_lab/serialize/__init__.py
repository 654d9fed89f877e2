"""Functions and values to bytes and back.

What travels how:

* functions and classes of the user: as source, with the globals and closures they use
* what is installed: by name
* plain values and numpy arrays: msgpack and out-of-band buffers, which anyone may open
* other values: pickle protocol 5; what only bytecode can carry: dill, for the same Python only
"""

from __future__ import annotations

from funcx_lab.protocol.payload import Payload
from funcx_lab.serialize import cell as _cell
from funcx_lab.serialize import mapped_cell as _mapped_cell
from funcx_lab.serialize.cell import CellResult
from funcx_lab.serialize.chunks import in_chunks
from funcx_lab.serialize.code_keys import key_of_cell, key_of_parts
from funcx_lab.serialize.display import collect_figures, mimebundle
from funcx_lab.serialize.exceptions import pack_exception, unpack_exception
from funcx_lab.serialize.functions import PackedFunction, needs_of, pack_function, unpack_function
from funcx_lab.serialize.globus import is_globus
from funcx_lab.serialize.results import ItemOutcomes, pack_value, unpack_value
from funcx_lab.serialize.values import pack_arguments, unpack_arguments

__all__ = [
    "CellResult",
    "ItemOutcomes",
    "PackedFunction",
    "collect_figures",
    "in_chunks",
    "is_globus",
    "map_cell",
    "mimebundle",
    "needs_of",
    "pack_arguments",
    "pack_cell",
    "pack_exception",
    "pack_function",
    "pack_value",
    "unpack_arguments",
    "unpack_exception",
    "unpack_function",
    "unpack_value",
]


def pack_cell(
    source: str,
    *,
    filename: str,
    first_line: int,
    inputs: list[str],
    outputs: list[str] | None,
    imports: list[str],
) -> PackedFunction:
    """Return a notebook cell as a function of its inputs that returns a `CellResult`.

    Parameters
    ----------
    source : str
        The cell without its magic line, as Python.
    filename : str
        The name it has in tracebacks; only its base name travels.
    first_line : int
        The number of its first line in the notebook's cell; the magic's line counts as 1.
    inputs : list of str
        Names that the caller will pass as keyword arguments.
    outputs : list of str or None
        Names to bring back; None brings back all that it assigns at top level, up to 1 MiB each.
    imports : list of str
        Import statements to run first.
    """
    block = _cell.pack(
        source, filename=filename, first_line=first_line, inputs=inputs, outputs=outputs, imports=imports
    )
    return PackedFunction.of("cell", block, key_of_cell(source, outputs, imports))


def map_cell(cell: PackedFunction, names: list[str], shared: Payload) -> PackedFunction:
    """Return a cell of `pack_cell` as a function of a list of items: the cell runs once for each.

    Parameters
    ----------
    cell : PackedFunction
        The cell.
    names : list of str
        The names that are bound to an item's values, in their order.
    shared : Payload
        The arguments that every item gets, made by `pack_arguments`.
    """
    block = _mapped_cell.pack(cell.body, names, shared)
    return PackedFunction.of(cell.name, block, key_of_parts(cell.code, names, shared.sha256()))
