"""What travels with a cell: values, functions and import statements for the names it needs.

Everything is decided before anything is sent, and every refusal says which name, which line and
what to do.
"""

from __future__ import annotations

import builtins
import functools
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from funcx_lab.errors import CannotSerialize, FuncxLabError, UsageError
from funcx_lab.looks import format_bytes
from funcx_lab.remote_function import RemoteFunction
from funcx_lab.serialize.needs import Needs
from funcx_lab.serialize.values import encode
from funcx_lab_magics.cell.modules import import_statement, local_part, submodules
from funcx_lab_magics.cell.names import CellNames, Read

#: From this many bytes on, the manifest line points at a name.
HINT_BYTES = 1024 * 1024
#: A name of this many bytes is sent only when ``-i`` names it.
LIMIT_BYTES = 10 * 1000 * 1000

#: Says how many bytes a value takes on the wire, or raises `CannotSerialize`.
Measure = Callable[[object], int]

#: What is code rather than data.
CODE = (type, types.FunctionType, RemoteFunction)
#: Names that are never the notebook's, whatever it has under them.
OWN_AT_ENDPOINT = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__loader__"})
#: Names that every cell has at the endpoint.
PROVIDED = frozenset({*dir(builtins), *OWN_AT_ENDPOINT, "display"}) - {"get_ipython"}


@dataclass
class Capture:
    """What is sent with a cell.

    Attributes
    ----------
    values : dict
        Name to value: data, functions and classes of the notebook.
    sizes : dict
        Name to bytes, for the data among ``values``.
    functions : list
        The functions and classes among ``values``.
    imports : list
        Import statements that are replayed before the cell.
    imported : list
        The names those statements bind.
    held : list
        Names that the session has in which the cell runs.
    left_out : dict
        Names, and their bytes, that the cell may need but which are too large to send unasked.
    large : list
        Names worth a hint: they are sent though nobody asked for them.
    needs : dict
        Name to what it needs where it is opened, for ``values``.
    lines : dict
        Name to the line of the body that reads it first.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    large: list[str] = field(default_factory=list)
    needs: dict[str, Needs] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """A cell's body and where it stands: enough to name a line in a message.

    Attributes
    ----------
    source : str
        The body, without the ``%%funcx`` line.
    first_line : int
        The body's first line as the notebook's editor counts it (the ``%%funcx`` line is 1).
    filename : str
        What tracebacks call the cell.
    """

    source: str
    first_line: int = 2
    filename: str = "Cell"

    def quote(self, line: int) -> str:
        """Return ``line 4:  its text`` for a line of the body."""
        lines = self.source.splitlines()
        text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        return f"line {line + self.first_line - 1}:  {text}"


@dataclass(frozen=True)
class Request:
    """What the cell's line asks for.

    Attributes
    ----------
    endpoint : str
        Where the cell goes.
    include : sequence of str or None
        Send these and no other data; modules are replayed all the same. None: what the cell needs.
    exclude : collection of str
        Names that are neither sent nor missed.
    imports : mapping
        Names that earlier cells imported at an endpoint, to their import statements: replayed when the
        notebook itself does not have the name.
    held : collection of str
        Names that the session has: neither sent nor missed, unless ``include`` names them.
    """

    endpoint: str
    include: Sequence[str] | None = None
    exclude: Collection[str] = ()
    imports: Mapping[str, Sequence[str]] = field(default_factory=dict)
    held: Collection[str] = ()


def capture(
    cell: Cell,
    names: CellNames,
    namespace: Mapping[str, Any],
    request: Request,
    measure: Measure | None = None,
) -> Capture:
    """Collect what a cell needs from the notebook.

    Parameters
    ----------
    cell : Cell
        The cell.
    names : CellNames
        What `read_names` said about it.
    namespace : mapping
        The notebook's names, without IPython's own.
    request : Request
        What the line asks for.
    measure : callable, optional
        Replaces `payload_size`.

    Raises
    ------
    UsageError
        A name is not defined, or too large to be sent unasked.
    CannotSerialize
        A name cannot be sent.
    """
    held = {*request.held}.difference(request.include or (), request.exclude)
    earlier = {name: each for name, each in request.imports.items() if name not in {*namespace, *held}}
    _refuse_undefined(cell, names, {*namespace, *earlier, *held, *request.exclude}, request.include)
    found = Capture(lines={name: read.line for name, read in names.reads.items()})
    for name in names.reads:
        if name in earlier and name not in request.exclude:
            found.imports += earlier[name]
            found.imported.append(name)
    found.held += [name for name in names.reads if name in held]
    for name, read in _wanted(names, namespace, request, held).items():
        paths = names.attributes.get(name, set())
        value = local_part(namespace[name], paths)
        statement = import_statement(name, value)
        if statement is not None:
            found.imports += [statement, *submodules(value, paths)]
            found.imported.append(name)
        elif request.include is None or name in request.include:
            needs = Needs()
            how = measure or functools.partial(payload_size, needs=needs)
            size = _size(cell, name, value, read, request.endpoint, how)
            _take(found, name, value, read, size, asked=request.include is not None)
            if name in found.values:
                found.needs[name] = needs
    if request.include is None:
        found.large += [name for name, size in found.sizes.items() if size >= HINT_BYTES]
        _refuse_large(found, names, request.endpoint)
    return found


def _wanted(
    names: CellNames, namespace: Mapping[str, Any], request: Request, held: Collection[str]
) -> dict[str, Read]:
    wanted = {name: read for name, read in names.reads.items() if name in namespace}
    for name in request.include or ():
        wanted.setdefault(name, Read(0, required=True))
    return {
        name: read
        for name, read in wanted.items()
        if name not in OWN_AT_ENDPOINT and name not in request.exclude and name not in held
    }


def _refuse_undefined(
    cell: Cell,
    names: CellNames,
    known: Collection[str],
    include: Sequence[str] | None,
) -> None:
    for name in include or ():
        if name not in known:
            raise UsageError(f"-i names {name!r}, which is not defined here. Nothing was sent.")
    for name, read in names.reads.items():
        if not read.required or name in known or name in PROVIDED:
            continue
        if name == "get_ipython":
            raise UsageError(
                f"The cell uses IPython itself, which an endpoint does not have. Nothing was sent.\n"
                f"  {cell.quote(read.line)}\n"
                "  try:     write it in plain Python, e.g. subprocess.run([...]) for !commands"
            )
        raise UsageError(
            f"name {name!r} is not defined. Nothing was sent.\n"
            f"  {cell.quote(read.line)}\n"
            f"  try:     run the cell that defines it first, or  -x {name}  if it exists only at the endpoint"
        )


def _size(cell: Cell, name: str, value: object, read: Read, endpoint: str, measure: Measure) -> int | None:
    """Return the value's bytes; None for an optional name that cannot be sent."""
    try:
        return measure(value)
    except CannotSerialize as err:
        if read.required:
            raise _not_sent(cell, name, value, read, endpoint, err) from None
        return None


def _take(found: Capture, name: str, value: object, read: Read, size: int | None, *, asked: bool) -> None:
    """Add one name, with its size when it is data."""
    if size is None:
        return
    if size >= LIMIT_BYTES and not read.required and not asked:
        found.left_out[name] = size
        return
    found.values[name] = value
    if isinstance(value, CODE):
        found.functions.append(name)
    else:
        found.sizes[name] = size


def payload_size(value: object, needs: Needs | None = None) -> int:
    """Return how many bytes a value takes on the wire, without copying or hashing arrays.

    ``needs`` gets what must be there where it is opened.

    Raises
    ------
    CannotSerialize
        If it cannot be sent.
    """
    _, parts = encode(value, needs)
    return sum(memoryview(part).nbytes for part in parts)


def _not_sent(
    cell: Cell, name: str, value: object, read: Read, endpoint: str, reason: FuncxLabError
) -> CannotSerialize:
    kind = type(value)
    where = f"  {cell.quote(read.line)}\n" if read.line else ""
    shown = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    because = " ".join(reason.message.split())
    return CannotSerialize(
        f"the cell uses `{name}`, which cannot be sent to {endpoint}. Nothing was sent.\n"
        f"{where}"
        f"  why:     it is a {shown}; {because}\n"
        f"  try:     create it inside the cell, or  %%funcx {endpoint} -x {name}\n"
        f"  more:    %funcx explain {name}",
        details={"name": name, "type": shown, "line": read.line},
    )


def _refuse_large(found: Capture, names: CellNames, endpoint: str) -> None:
    sizes = dict(sorted(found.sizes.items(), key=lambda item: -item[1]))
    large = [name for name, size in sizes.items() if size >= LIMIT_BYTES]
    if not large:
        return
    rest = ",".join([*large, *(name for name in found.values if name not in large)])
    listed = ", ".join(f"{name} {format_bytes(size)}" for name, size in sizes.items())
    raise UsageError(
        f"{' and '.join(f'`{name}`' for name in large)} would be sent with the cell; "
        f"from {format_bytes(LIMIT_BYTES)} a name is sent only when -i names it. Nothing was sent.\n"
        f"  sizes:   {listed}\n"
        f"  try:     %%funcx {endpoint} -i {rest}  to send it, or  -x {large[0]}  if the cell makes it",
        details={"large": large, "include": rest},
    )
