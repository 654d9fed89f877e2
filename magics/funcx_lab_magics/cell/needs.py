"""Which modules a cell imports, with what it sends, and why: the line, and the name that needs it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from funcx_lab.serialize.needs import imports_in
from funcx_lab_magics.cell.ready import ReadyCell

#: A cell that may install packages or change the import path is not judged by what is there now.
_CHANGES_PACKAGES = re.compile(r"\b(sys\.path|addsitedir|pip|uv|conda|mamba|micromamba)\b")


class Reason(NamedTuple):
    """Why a module is needed: the line of the body (0: unknown), and the sent name that needs it."""

    line: int
    name: str = ""


@dataclass(frozen=True)
class CellNeeds:
    """What a cell needs of an endpoint.

    Attributes
    ----------
    modules : dict
        Top-level module to why it is needed.
    bound : list of str
        Sent names that travel as bytecode, so need this Python's minor version.
    """

    modules: dict[str, Reason] = field(default_factory=dict)
    bound: list[str] = field(default_factory=list)


def needs_of(ready: ReadyCell) -> CellNeeds:
    """Return what a cell and all that is sent with it need; what the cell may install is left out."""
    captured = ready.manifest.captured
    needs = CellNeeds()
    try:
        tree = ast.parse(ready.cell.source)
    except SyntaxError:  # a script, not Python
        return needs
    for module, line in imports_in(tree).items():
        needs.modules.setdefault(module, Reason(line))
    for module, name in _replayed(captured.imports):
        needs.modules.setdefault(module, Reason(captured.lines.get(name, 0), name))
    for name, its in captured.needs.items():
        for module in its.modules:
            needs.modules.setdefault(module, Reason(captured.lines.get(name, 0), name))
        if its.bound:
            needs.bound.append(name)
    if _CHANGES_PACKAGES.search(ready.cell.source) or getattr(ready.options, "requires", None):
        needs.modules.clear()
    return needs


def _replayed(statements: list[str]) -> Iterator[tuple[str, str]]:
    """Yield module and bound name of import statements."""
    for statement in statements:
        tree = ast.parse(statement)
        for module in imports_in(tree):
            node = tree.body[0]
            alias = node.names[0] if isinstance(node, ast.Import | ast.ImportFrom) else None
            yield module, (alias.asname or alias.name.partition(".")[0]) if alias else ""
