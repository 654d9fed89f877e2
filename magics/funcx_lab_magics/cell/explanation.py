"""Why each name of a cell travels or stays: what ``%funcx explain`` shows."""

from __future__ import annotations

import argparse
import ast
import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from funcx_lab.errors import CannotSerialize
from funcx_lab.looks import format_bytes
from funcx_lab.serialize import pack_function
from funcx_lab_magics.cell.capture import CODE, LIMIT_BYTES, PROVIDED, Capture, Cell, payload_size
from funcx_lab_magics.cell.manifest import Manifest
from funcx_lab_magics.cell.modules import import_statement, local_part
from funcx_lab_magics.cell.names import CellNames, Read
from funcx_lab_magics.cell.scopes import import_statements

#: Of a container, so many items are looked at for what cannot be sent, ...
_ITEMS = 1000
#: ... and so many containers deep.
_DEPTH = 8


class Fate(NamedTuple):
    """What became of one name: the columns of the table."""

    name: str
    fate: str
    size: str = ""
    why: str = ""
    line: str = ""


@dataclass(frozen=True)
class Explained:
    """One cell and all that decided what was sent with it.

    Attributes
    ----------
    cell : Cell
        Its text.
    names : CellNames
        What it reads and assigns.
    options : argparse.Namespace
        The line's options.
    namespace : mapping
        The notebook's names.
    manifest : Manifest or None
        What was sent; None when the cell was refused.
    """

    cell: Cell
    names: CellNames
    options: argparse.Namespace
    namespace: Mapping[str, Any]
    manifest: Manifest | None

    def rows(self) -> list[Fate]:
        """Return what became of each name: those it reads in their order, then those it leaves."""
        reads = [self.of_read(name, read) for name, read in self.names.reads.items() if self._is_ours(name)]
        also = [name for name in self._captured.values if name not in self.names.reads]
        asked = [self.of_read(name, Read(0, required=True)) for name in also]
        return [*reads, *asked, *self._left_behind()]

    def of_read(self, name: str, read: Read) -> Fate:
        """Return what became of a name that the cell reads."""
        fate = self._sent(name) or self._left_out(name) or self._not_sent(name, read)
        return fate._replace(line=self.cell.quote(read.line) if read.line else "")

    @property
    def _captured(self) -> Capture:
        return self.manifest.captured if self.manifest else Capture()

    def _is_ours(self, name: str) -> bool:
        return name in self.namespace or name not in PROVIDED

    def _sent(self, name: str) -> Fate | None:
        found = self._captured
        why = "the cell reads it" if name in self.names.reads else "-i names it"
        if name in found.sizes:
            return Fate(name, "sent", format_bytes(found.sizes[name]), why)
        if name in found.functions:
            value = found.values[name]
            kind = "class" if isinstance(value, type) else "function"
            return Fate(name, f"{kind} sent", _size(value), "with the names that it uses")
        if name in found.imported:
            return Fate(name, "imported there", "", "; ".join(_statements(found.imports, name)))
        if name in found.held:
            return Fate(name, "in the session", "", "an earlier cell of it left it there; -i sends yours")
        return Fate(name, "sent", "", why) if name in found.values else None

    def _left_out(self, name: str) -> Fate | None:
        if name in self._captured.left_out:
            why = f"from {format_bytes(LIMIT_BYTES)} a name is sent only when -i names it"
            return Fate(name, "left out", format_bytes(self._captured.left_out[name]), why)
        if name in (self.options.map or ()):
            return Fate(name, "one item a run", "", "--map names it")
        if name in self.options.exclude:
            return Fate(name, "left out", "", "-x names it")
        if name in self.namespace and self.options.include is not None and name not in self.options.include:
            return Fate(name, "left out", "", "-i does not name it")
        return None

    def _not_sent(self, name: str, read: Read) -> Fate:
        if name not in self.namespace:
            if self.manifest is not None and read.required:
                return Fate(name, "at the endpoint", "", "it is not the notebook's")
            why = "not defined here" if read.required else "no value here; the cell may give it one first"
            return Fate(name, "not sent", "", why)
        value = local_part(self.namespace[name], self.names.attributes.get(name, set()))
        if statement := import_statement(name, value):
            return Fate(name, "not sent", "", f"would be imported there: {statement}")
        try:
            size = payload_size(value)
        except CannotSerialize as err:
            return Fate(name, "cannot be sent", "", reason(name, value, err))
        if size >= LIMIT_BYTES and self.options.include is None:
            return Fate(
                name,
                "too large",
                format_bytes(size),
                f"-i sends it, up to {format_bytes(LIMIT_BYTES)} go unasked",
            )
        return Fate(name, "not sent", format_bytes(size), "it could be")

    def _left_behind(self) -> Iterator[Fate]:
        outputs: Collection[str] = self.manifest.outputs if self.manifest else ()
        for name in outputs:
            replaces = self.manifest is not None and name in self.manifest.replaced
            rule = "if it has at most 1 MiB" if self.options.out == "auto" else "-o names it"
            rule = "-o '*'" if self.options.out == "*" else rule
            yield Fate(name, "comes back", "", f"{rule}; replaces the value here" if replaces else rule)
        for name in self.names.assigned:
            if name not in outputs and self.manifest is not None:
                yield Fate(name, "stays there", "", self._why_it_stays(name))
        for name in self.names.imported:
            yield Fate(name, "stays there", "", "imported by the cell; later cells there may use it")
        for name in self.names.changed:
            if name in self._captured.sizes and name not in outputs:
                yield Fate(name, "changes only there", "", f"-o {name} brings it back")

    def _why_it_stays(self, name: str) -> str:
        if self.options.session:
            return f"in session {self.options.session}; -o brings it back"
        if self.options.out == "none":
            return "-o none"
        if isinstance(self.options.out, list):
            return "-o does not name it"
        return "its name begins with _" if name.startswith("_") else "it is IPython's"


def about(name: str, value: object) -> list[tuple[str, str]]:
    """Return facts about a value of the notebook: its kind, how it would travel, or why it cannot.

    Parameters
    ----------
    name : str
        Its name.
    value : object
        The value.
    """
    kind = type(value)
    facts = [
        (
            "type",
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
        )
    ]
    if statement := import_statement(name, value):
        return [*facts, ("travels", f"as a statement: {statement}")]
    try:
        size = payload_size(value)
    except CannotSerialize as err:
        return [
            *facts,
            ("travels", "no"),
            ("why", reason(name, value, err)),
            ("try", f"create it inside the cell, or  -x {name}  if it exists at the endpoint"),
        ]
    how = "as source, with what it uses" if isinstance(value, CODE) else "by value"
    asked = f"; from {format_bytes(LIMIT_BYTES)} only when -i names it" if size >= LIMIT_BYTES else ""
    return [*facts, ("travels", how + asked), ("size", format_bytes(size))]


def reason(name: str, value: object, error: CannotSerialize) -> str:
    """Return why a value cannot be sent, naming the innermost part of it that is to blame."""
    if callable(value) and not isinstance(value, type):
        try:
            pack_function(value)
        except CannotSerialize as err:
            error = err
    path, part, why = _culprit(name, value, error)
    because = " ".join(why.message.split()).rstrip(".")
    return because if path == name else f"{path} is a {type(part).__qualname__}: {because}"


def _culprit(path: str, value: object, error: CannotSerialize) -> tuple[str, object, CannotSerialize]:
    for _ in range(_DEPTH):
        for step, part in itertools.islice(_parts(value), _ITEMS):
            try:
                payload_size(part)
            except CannotSerialize as err:
                if (
                    err.message == error.message
                ):  # else the value itself was refused, before its parts were seen
                    path, value, error = path + step, part, err
                    break
        else:
            break
    return path, value, error


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r:.40}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif not callable(value):
        yield from ((f".{key}", item) for key, item in getattr(value, "__dict__", {}).items())


def _size(value: object) -> str:
    try:
        return format_bytes(payload_size(value))
    except CannotSerialize:  # changed since it was sent
        return ""


def _statements(statements: Collection[str], name: str) -> list[str]:
    """Return those of the import statements that bind ``name``."""
    found = []
    for statement in statements:
        node = ast.parse(statement).body[0]
        if isinstance(node, ast.Import | ast.ImportFrom) and name in import_statements(node):
            found.append(statement)
    return found
