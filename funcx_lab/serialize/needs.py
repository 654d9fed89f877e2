"""What a value or a piece of code needs of the place where it is opened: modules, and which Python."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Exceptions whose handler makes an import optional.
_EXPECTED = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(slots=True)
class Needs:
    """What must be there.

    Attributes
    ----------
    modules : set of str
        Top-level names of installed modules, standard library and funcx-lab aside.
    bound : bool
        Whether bytecode of this Python's minor version is among it.
    """

    modules: set[str] = field(default_factory=set)
    bound: bool = False

    def add(self, module: str | None) -> None:
        """Add a module by its full name."""
        if module is not None and (top := needed_module(module)):
            self.modules.add(top)

    def add_source(self, tree: ast.AST) -> None:
        """Add what source imports."""
        self.modules.update(imports_in(tree))

    def update(self, other: Needs) -> None:
        """Add all that ``other`` has."""
        self.modules |= other.modules
        self.bound = self.bound or other.bound


def needed_module(name: str) -> str:
    """Return the top-level name of a module that not every endpoint has, ``""`` for one that it has."""
    top = name.partition(".")[0]
    is_everywhere = top in sys.stdlib_module_names or top.split("_")[:2] == ["funcx", "lab"]
    return "" if is_everywhere or top in ("__main__", "__mp_main__") else top


def imports_in(tree: ast.AST) -> dict[str, int]:
    """Return the top-level modules that code cannot do without, with the line that imports each.

    An import that may fail or may not happen (in ``try`` with a handler for it, under ``if``) is no need.
    """
    found: dict[str, int] = {}
    for module, line in _imports(tree):
        if top := needed_module(module):
            found.setdefault(top, line)
    return found


def _imports(node: ast.AST) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, node.lineno) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.module and not node.level:
            yield node.module, node.lineno
    elif not _may_be_skipped(node):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def _may_be_skipped(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return True
    if isinstance(node, ast.With):  # contextlib.suppress(ImportError)
        return any("suppress" in ast.dump(item.context_expr) for item in node.items)
    if not isinstance(node, ast.Try):
        return False
    return any(handler.type is None or _names(handler.type) & _EXPECTED for handler in node.handlers)


def _names(node: ast.expr) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
