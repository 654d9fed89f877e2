"""From a cell's text to a task: read it, collect what it needs, pack it, submit it."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from funcx_lab import serialize
from funcx_lab.options import make_options
from funcx_lab_magics.cell.capture import Cell, Request, capture
from funcx_lab_magics.cell.manifest import Manifest
from funcx_lab_magics.cell.names import CellNames, read_names

if TYPE_CHECKING:
    from funcx_lab import FuncXClient, TaskFuture
    from funcx_lab.protocol.messages import TaskOptions

#: Names of IPython's own that never come back.
_NOT_BACK = ("In", "Out", "get_ipython", "exit", "quit")


@dataclass(frozen=True)
class ReadyCell:
    """A cell that can be submitted.

    Attributes
    ----------
    cell : Cell
        Its text and place.
    manifest : Manifest
        What is sent and what comes back.
    outputs : list of str or None
        The names to bring back, whatever their size; None: those the cell assigns, up to 1 MiB each.
    imported : mapping
        The names it imports itself, to its import statements.
    assigned : collection of str
        The names it leaves in the session in which it runs.
    options : argparse.Namespace
        The line's options.
    """

    cell: Cell
    manifest: Manifest
    outputs: list[str] | None
    imported: Mapping[str, list[str]]
    options: argparse.Namespace
    assigned: Collection[str] = ()

    def pack(self) -> serialize.PackedFunction:
        """Return the cell as a function of what is sent with it."""
        captured = self.manifest.captured
        return serialize.pack_cell(
            self.cell.source,
            filename=self.cell.filename,
            first_line=self.cell.first_line,
            inputs=list(captured.values),
            outputs=self.outputs,
            imports=captured.imports,
        )

    def submit(self, client: FuncXClient, task_id: str | None = None) -> TaskFuture[Any]:
        """Pack the cell with what it needs and hand it over, under this id if one is given.

        Raises
        ------
        CannotSerialize
            If something in it cannot be sent.
        """
        captured = self.manifest.captured
        arguments = serialize.pack_arguments((), captured.values, sizes=captured.sizes)
        return client.submit_packed(
            self.pack(), arguments, self.options.endpoint, options=self.task_options(), task_id=task_id
        )

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.options.name or self.cell.filename.replace("Cell ", "")

    def task_options(self) -> TaskOptions | None:
        """Return what the line asks of the task."""
        return make_options(
            label=self.label,
            walltime=self.options.timeout,
            retries=self.options.retries,
            at_most_once=self.options.at_most_once,
            ttl=self.options.ttl,
            memo=self.options.memo,
            fresh=self.options.fresh,
            requires=self.options.requires,
            session=self.options.session,
        )


def prepare(
    cell: Cell,
    options: argparse.Namespace,
    namespace: Mapping[str, Any],
    imports: Mapping[str, list[str]] | None = None,
    held: Collection[str] = (),
) -> ReadyCell:
    """Read a cell and collect what it needs; nothing is sent.

    Parameters
    ----------
    cell : Cell
        The cell.
    options : argparse.Namespace
        The line's options, defaults filled in.
    namespace : mapping
        The notebook's names, without IPython's own.
    imports : mapping, optional
        What earlier cells imported at an endpoint, as in `Request`.
    held : collection of str
        The names that the session has in which the cell runs.

    Raises
    ------
    IPython.core.error.UsageError
        A syntax error, or an option that does not fit the cell.
    funcx_lab.errors.UsageError, funcx_lab.errors.CannotSerialize
        As `capture`.
    """
    names = _read(cell)
    expected, outputs = _outputs(options.out, names, held)
    request = Request(options.endpoint, options.include, options.exclude, imports or {}, held)
    captured = capture(cell, names, namespace, request)
    manifest = Manifest(
        options.endpoint,
        captured,
        expected,
        {name for name in expected if name in namespace},
        names.changed,
        requires=options.requires,
        session=options.session or "",
        kept=[name for name in names.assigned if options.session and name not in expected],
    )
    left = {*names.assigned, *names.imported, *captured.imported}
    return ReadyCell(cell, manifest, outputs, names.imported, options, left)


def _read(cell: Cell) -> CellNames:
    try:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compile(cell.source, cell.filename, "exec", flags=flags, dont_inherit=True)
        return read_names(cell.source)
    except SyntaxError as err:
        raise UsageError(_syntax_message(cell, err)) from None


def _syntax_message(cell: Cell, err: SyntaxError) -> str:
    line = err.lineno or 1
    text = (err.text or "").rstrip("\n")
    message = f"{type(err).__name__}: {err.msg}. Nothing was sent.\n  {cell.quote(line)}"
    if text and err.offset:
        indent = len(text) - len(text.lstrip())
        prefix = len(f"  line {line + cell.first_line - 1}:  ")
        message += "\n" + " " * (prefix + max(0, err.offset - 1 - indent)) + "^"
    if text.lstrip().startswith(("!", "%", "?")):
        message += "\n  why:     an endpoint runs plain Python; magics and !commands are IPython's"
    return message


def _outputs(
    out: str | list[str], names: CellNames, held: Collection[str]
) -> tuple[list[str], list[str] | None]:
    """Return the names expected back, for people, and those to ask for (None: the worker chooses)."""
    if isinstance(out, list):
        known = {*names.assigned, *names.imported, *names.reads, *held}
        unknown = [name for name in out if name not in known]
        if unknown and not names.open_ended:
            raise UsageError(f"-o names {unknown[0]!r}, which the cell neither assigns nor uses.")
        return out, out
    if out == "none":
        return [], []
    assigned = [name for name in names.assigned if name not in _NOT_BACK and name.strip("_")]
    if out == "*":
        return assigned, assigned
    return [name for name in assigned if not name.startswith("_")], None
