"""Which names a cell needs before it starts and which it leaves behind, by reading its syntax tree.

The cell's top level is followed statement by statement, as Python would run it: a name that is
read before the cell gave it a value is needed. What a function reads counts when the function is
first used, as Python looks names up when a function is called, not when it is defined.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from funcx_lab_magics.cell.scopes import (
    ComprehensionNode,
    FunctionNode,
    Scope,
    bound_by_pattern,
    class_scope,
    comprehension_scope,
    function_scope,
    import_statements,
    outer_parts,
    type_parameters,
    walrus_targets,
)

_FORGIVING = {"NameError", "Exception", "BaseException"}


@dataclass(frozen=True)
class Read:
    """A name that the cell reads before it gives it a value.

    Attributes
    ----------
    line : int
        Line of the first read, from 1 in the cell's body.
    required : bool
        False if the cell may give it a value first, never calls the function that reads it, or
        catches the NameError: it is sent when it exists, and its absence is no error.
    """

    line: int
    required: bool


@dataclass(frozen=True)
class CellNames:
    """The names of one cell.

    Attributes
    ----------
    reads : dict
        Needed names in the order of their first read. Builtins are among them.
    assigned : list
        Names the cell gives a value at its top level, imports left out.
    imported : dict
        Names its import statements bind, each to the statements that bind it.
    attributes : dict
        For each name, the dotted paths read on it: ``scipy.stats.norm`` gives ``"stats.norm"``.
    changed : list
        Names whose items or attributes it assigns: ``df["b"] = 1``, ``cfg.a = 2``.
    open_ended : bool
        The cell says ``from x import *``: it may assign names that cannot be seen here.
    """

    reads: dict[str, Read]
    assigned: list[str]
    imported: dict[str, list[str]] = field(default_factory=dict)
    attributes: dict[str, set[str]] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    open_ended: bool = False


def read_names(source: str) -> CellNames:
    """Return the names of a cell.

    Parameters
    ----------
    source : str
        The cell's body.

    Raises
    ------
    SyntaxError
        If Python cannot parse it.
    """
    tree = ast.parse(source)
    flow = _Flow()
    flow.statements(tree.body)
    flow.finish()
    return CellNames(
        reads=flow.reads,
        assigned=[name for name in flow.assigned if name not in flow.imported],
        imported=flow.imported,
        attributes=_attributes(tree),
        changed=_changed(tree),
        open_ended=flow.open_ended,
    )


def _attributes(tree: ast.AST) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        path: list[str] = []
        base: ast.AST = node
        while isinstance(base, ast.Attribute):
            path.append(base.attr)
            base = base.value
        if path and isinstance(base, ast.Name):
            found.setdefault(base.id, set()).add(".".join(reversed(path)))
    return found


def _changed(tree: ast.AST) -> list[str]:
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            base: ast.AST = node
            while isinstance(base, ast.Subscript | ast.Attribute):
                base = base.value
            if isinstance(base, ast.Name):
                found.setdefault(base.id)
    return list(found)


class _Flow:
    """The state while the top level is followed: what has a value for certain, and what may have one."""

    def __init__(self) -> None:
        self.reads: dict[str, Read] = {}
        self.assigned: dict[str, None] = {}
        self.imported: dict[str, list[str]] = {}
        self.open_ended = False
        self._certain: set[str] = set()
        self._possible: set[str] = set()
        self._deferred: dict[str, Scope] = {}
        self._forgiving = False

    # --- names ------------------------------------------------------------------------------------

    def read(self, name: str, line: int, *, required: bool = True) -> None:
        """Note that ``name`` is looked up now."""
        deferred = self._deferred.pop(name, None)
        if name not in self._certain:
            required = required and not (name in self._possible or self.open_ended or self._forgiving)
            known = self.reads.get(name)
            if known is None or (required and not known.required):
                self.reads[name] = Read(known.line if known else line, required)
        if deferred is not None:
            self._use(deferred, required=required)

    def bind(self, name: str) -> None:
        """Note that ``name`` has a value from here on."""
        self._certain.add(name)
        self.assigned.setdefault(name)
        self.imported.pop(name, None)
        self._deferred.pop(name, None)

    def finish(self) -> None:
        """Look at the functions that the cell defined but never used."""
        for scope in list(self._deferred.values()):
            self._use(scope, required=False)

    def _use(self, scope: Scope, *, required: bool) -> None:
        for name, line in scope.free.items():
            self.read(name, line, required=required)
        for name in scope.global_binds:
            self._possible.add(name)
            self.assigned.setdefault(name)

    def _define(self, name: str, scope: Scope) -> None:
        self.bind(name)
        self._deferred[name] = scope

    # --- expressions ------------------------------------------------------------------------------

    def expression(self, node: ast.AST | None) -> None:
        """Follow what an expression reads and binds."""
        if node is None:
            return
        if isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.NamedExpr):
            self.expression(node.value)
            self.bind(node.target.id)
        elif isinstance(node, ast.Lambda):
            self.expressions(outer_parts(node))
            self._use(function_scope(node), required=True)
        elif isinstance(node, ComprehensionNode):
            self._use(comprehension_scope(node), required=True)
            for name in walrus_targets(node):
                self.bind(name)
        else:
            self.expressions(ast.iter_child_nodes(node))

    def expressions(self, nodes: Iterable[ast.AST | None]) -> None:
        """Follow expressions in order."""
        for node in nodes:
            self.expression(node)

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read(node.id, node.lineno)
        elif isinstance(node.ctx, ast.Store):
            self.bind(node.id)
        else:
            self._certain.discard(node.id)
            self._possible.discard(node.id)
            self.assigned.pop(node.id, None)

    # --- statements -------------------------------------------------------------------------------

    def statements(self, body: Iterable[ast.stmt]) -> None:
        """Follow statements in order."""
        for statement in body:
            method = getattr(self, f"_on_{type(statement).__name__}", None)
            if method is not None:
                method(statement)
            else:
                self.expression(statement)

    def _on_FunctionDef(self, node: FunctionNode) -> None:  # noqa: N802  # named after the node, as in ast.NodeVisitor
        with self._type_scope(node):
            self.expressions(outer_parts(node))
        self._define(node.name, function_scope(node))

    _on_AsyncFunctionDef = _on_FunctionDef  # noqa: N815  # the same

    def _on_ClassDef(self, node: ast.ClassDef) -> None:  # noqa: N802  # the same
        with self._type_scope(node):
            self.expressions(outer_parts(node))
        own, methods = class_scope(node)
        self._use(own, required=True)
        self._define(node.name, methods)

    def _on_TypeAlias(self, node: ast.AST) -> None:  # noqa: N802  # the same
        with self._type_scope(node):
            self.expressions(ast.iter_child_nodes(node))

    @contextmanager
    def _type_scope(self, node: ast.AST) -> Iterator[None]:
        """Follow what stands beside type parameters: they have a value there and nowhere else."""
        new = set(type_parameters(node)) - self._certain
        self._certain |= new
        yield
        self._certain -= new

    def _on_Import(self, node: ast.Import | ast.ImportFrom) -> None:  # noqa: N802  # the same
        for name, statement in import_statements(node).items():
            if name == "*":
                self.open_ended = True
            else:
                known = self.imported.get(name, [])  # `import a.b` and `import a.c` both bind a
                self.bind(name)
                self.imported[name] = [*known, statement]

    _on_ImportFrom = _on_Import  # noqa: N815  # the same

    def _on_Assign(self, node: ast.Assign) -> None:  # noqa: N802  # the same
        target = node.targets[0]
        if isinstance(node.value, ast.Lambda) and len(node.targets) == 1 and isinstance(target, ast.Name):
            self.expressions(outer_parts(node.value))
            self._define(target.id, function_scope(node.value))
        else:
            self.expressions([node.value, *node.targets])

    def _on_AugAssign(self, node: ast.AugAssign) -> None:  # noqa: N802  # the same
        if isinstance(node.target, ast.Name):
            self.read(node.target.id, node.lineno)
        self.expressions([node.value, node.target])

    def _on_AnnAssign(self, node: ast.AnnAssign) -> None:  # noqa: N802  # the same
        self.expressions([node.annotation, node.value])
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.expression(node.target)

    def _on_For(self, node: ast.For | ast.AsyncFor) -> None:  # noqa: N802  # the same
        self.expression(node.iter)
        with self._branch():
            self.expression(node.target)
            self.statements(node.body)
        self.statements(node.orelse)

    _on_AsyncFor = _on_For  # noqa: N815  # the same

    def _on_While(self, node: ast.While) -> None:  # noqa: N802  # the same
        self.expression(node.test)
        with self._branch():
            self.statements(node.body)
        self.statements(node.orelse)

    def _on_If(self, node: ast.If) -> None:  # noqa: N802  # the same
        self.expression(node.test)
        self._branches([node.body, node.orelse])

    def _on_With(self, node: ast.With | ast.AsyncWith) -> None:  # noqa: N802  # the same
        for item in node.items:
            self.expressions([item.context_expr, item.optional_vars])
        self.statements(node.body)

    _on_AsyncWith = _on_With  # noqa: N815  # the same

    def _on_Try(self, node: ast.Try) -> None:  # noqa: N802  # the same
        before = self._forgiving
        self._forgiving = before or any(_catches_name_error(handler) for handler in node.handlers)
        start = set(self._certain)
        self.statements(node.body)
        self._forgiving = before
        self.statements(node.orelse)
        succeeded = self._certain
        self._possible |= succeeded
        ends = [succeeded]
        for handler in node.handlers:
            self._certain = set(start)
            self.expression(handler.type)
            if handler.name:
                self._certain.add(handler.name)
            self.statements(handler.body)
            self._certain.discard(handler.name or "")
            if not _leaves(handler.body):
                ends.append(self._certain)
            self._possible |= self._certain
        self._certain = set.intersection(*ends)
        self.statements(node.finalbody)

    _on_TryStar = _on_Try  # noqa: N815  # the same

    def _on_Match(self, node: ast.Match) -> None:  # noqa: N802  # the same
        self.expression(node.subject)
        for case in node.cases:
            with self._branch():
                for name in bound_by_pattern(case.pattern):
                    self.bind(name)
                for part in ast.walk(case.pattern):
                    if isinstance(part, ast.expr):
                        self.expression(part)
                self.expression(case.guard)
                self.statements(case.body)

    @contextmanager
    def _branch(self) -> Iterator[None]:
        """Follow statements that may not run: what they bind is possible afterwards, not certain."""
        before = set(self._certain)
        yield
        self._possible |= self._certain
        self._certain &= before

    def _branches(self, bodies: list[list[ast.stmt]]) -> None:
        start, ends = set(self._certain), []
        for body in bodies:
            self._certain = set(start)
            self.statements(body)
            self._possible |= self._certain
            if not _leaves(body):
                ends.append(self._certain)
        self._certain = set.intersection(*ends) if ends else start


def _leaves(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Raise | ast.Continue | ast.Break)


def _catches_name_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(isinstance(node, ast.Name) and node.id in _FORGIVING for node in ast.walk(handler.type))
