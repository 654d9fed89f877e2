"""What people can be told of a payload without opening it: names, sizes and kinds of inputs, plain source.

Nothing here unpickles. Plain values are msgpack: their lengths are read, arrays' and all, not their content.
A pickle hides its inputs; who makes one writes their names and sizes into the payload's header.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol import payload
from funcx_lab.protocol.payload import Buffer

#: So many inputs are named, with so many characters of each name.
INPUTS_LIMIT, NAME_LIMIT = 200, 200
_ARRAY, _BLOB = 1, 2
_ALIGN = 64
_arguments = msgspec.msgpack.Decoder(tuple[list[msgspec.Raw], dict[str, msgspec.Raw]]).decode
_extension = msgspec.msgpack.Decoder(msgspec.msgpack.Ext).decode
_array_facts = msgspec.msgpack.Decoder(tuple[int, str, list[int], str, bool]).decode
_index = msgspec.msgpack.Decoder(int).decode
_cell = msgspec.msgpack.Decoder(list[Any]).decode
#: What msgpack's first byte says, up to it.
_KINDS = (
    *((0x7F, "int"), (0x8F, "dict"), (0x9F, "list"), (0xBF, "str"), (0xC0, "None"), (0xC3, "bool")),
    *((0xC6, "bytes"), (0xC9, ""), (0xCB, "float"), (0xD3, "int"), (0xD8, ""), (0xDB, "str")),
    *((0xDD, "list"), (0xDF, "dict"), (0xFF, "int")),
)


class Input(NamedTuple):
    """One input of a call.

    Attributes
    ----------
    name : str
        What the function calls it, or ``"argument 1"``.
    size : int or None
        Bytes that it takes in the payload; None if that is not told.
    type : str or None
        For people: ``"int"``, ``"array float64 (3, 4)"``.
    """

    name: str
    size: int | None
    type: str | None

    def as_document(self) -> dict[str, Any]:
        """Return it as the REST routes show it."""
        return {"name": self.name, "size": self.size, "type": self.type}


def inputs_of(block: Buffer, size: int, names: Sequence[str] = ()) -> list[Input]:
    """Return the inputs of a call as far as its payload tells of them.

    Parameters
    ----------
    block : bytes-like
        The payload of the arguments, or the beginning of a large one.
    size : int
        Bytes of the whole payload.
    names : sequence of str
        What the function calls its positional arguments.

    Returns
    -------
    list of Input
        One for all arguments together, ``"arguments"``, where nothing tells them apart.
    """
    if not payload.is_payload(block):
        return [Input("arguments", size, None)]
    try:
        header, position = payload.read_header(block)
        told = [
            Input(_name(name, names), nbytes, kind[:NAME_LIMIT])
            for name, nbytes, kind in header.inputs[:INPUTS_LIMIT]
        ]
        if header.format == "values" and not told:
            position += -position % _ALIGN
            body = memoryview(block)[position : position + header.lengths[0]]
            return _plain_inputs(body, header.lengths, names)
    except (FuncxLabError, msgspec.DecodeError, RecursionError, ValueError, IndexError, OverflowError):
        return [Input("arguments", size, None)]
    return told or [Input("arguments", size, None)]


def _name(name: str | int, names: Sequence[str]) -> str:
    if isinstance(name, str):
        return name[:NAME_LIMIT]
    return names[name][:NAME_LIMIT] if 0 <= name < len(names) else f"argument {name + 1}"


def _plain_inputs(body: memoryview, lengths: Sequence[int], names: Sequence[str]) -> list[Input]:
    positional, named = _arguments(body)
    entries: list[tuple[str | int, msgspec.Raw]] = [*enumerate(positional), *named.items()]
    return [
        Input(_name(name, names), *_size_and_kind(bytes(raw), lengths))
        for name, raw in entries[:INPUTS_LIMIT]
    ]


def _size_and_kind(raw: bytes, lengths: Sequence[int]) -> tuple[int, str]:
    kind = next(kind for most, kind in _KINDS if raw[0] <= most)
    if kind in ("list", "dict") and len(lengths) > 1:
        return len(raw) + _buffers_in(raw, lengths), kind
    if kind:
        return len(raw), kind
    nbytes, kind = _buffer(_extension(raw), lengths)
    return len(raw) + nbytes, kind


def _buffers_in(raw: bytes, lengths: Sequence[int]) -> int:
    """Return the bytes of the buffers that a list or dict refers to."""
    found: list[int] = []
    msgspec.msgpack.decode(
        raw,
        ext_hook=lambda code, data: found.append(_buffer(msgspec.msgpack.Ext(code, bytes(data)), lengths)[0]),
    )
    return sum(found)


def _buffer(extension: msgspec.msgpack.Ext, lengths: Sequence[int]) -> tuple[int, str]:
    """Return bytes and kind of what stands in a buffer of its own."""
    if extension.code == _BLOB:
        return lengths[_index(extension.data)], "bytes"
    if extension.code != _ARRAY:
        return 0, "?"
    index, dtype, shape, *_ = _array_facts(extension.data)
    text = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    return lengths[index], f"array {dtype.lstrip('<>|=')[:NAME_LIMIT]} ({text[:NAME_LIMIT]})"


def source_of(format: str, body: Buffer) -> str | None:
    """Return the plain source in a registered function's body; None if there is none to be read.

    Parameters
    ----------
    format : str
        ``"funcx-lab"``, ``"globus"`` or ``"globus-source"``.
    body : bytes-like
        As it was registered.
    """
    try:
        if format == "globus-source":
            return bytes(body).decode()
        cell = _cell_in(body) if format == "funcx-lab" else None
        text = None if cell is None else _cell(cell)[0]
    except (FuncxLabError, msgspec.DecodeError, RecursionError, ValueError, IndexError):
        return None
    return text if isinstance(text, str) else None


def shared_inputs_of(format: str, body: Buffer) -> list[Input]:
    """Return the inputs that travel with a function: those that all items of a cell's map share."""
    try:
        if format != "funcx-lab":
            return []
        header, parts = payload.unpack(body, verify=False)
        if header.format != "mapped-cell":
            return []
        return inputs_of(parts[2], len(parts[2]))
    except (FuncxLabError, ValueError, IndexError):
        return []


def _cell_in(body: Buffer) -> memoryview | None:
    """Return the body of the cell that a function's payload holds."""
    header, parts = payload.unpack(body, verify=False)
    if header.format == "mapped-cell":
        header, parts = payload.unpack(parts[1], verify=False)
    return parts[0] if header.format == "cell" else None
