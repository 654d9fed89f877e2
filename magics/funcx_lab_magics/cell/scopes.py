"""What a nested scope (function, lambda, class, comprehension) takes from outside, by reading its tree."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
ComprehensionNode = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Scope:
    """The names of one scope.

    Attributes
    ----------
    reads : dict
        Name to the line of its first read, nested scopes included.
    binds : set
        Names the scope itself gives a value.
    global_binds : set
        Names it gives a value in the module, by ``global``.
    """

    reads: dict[str, int] = field(default_factory=dict)
    binds: set[str] = field(default_factory=set)
    global_binds: set[str] = field(default_factory=set)

    @property
    def free(self) -> dict[str, int]:
        """Names taken from outside, and the line of the first read."""
        return {
            name: line
            for name, line in self.reads.items()
            if name not in self.binds or name in self.global_binds
        }


def function_scope(node: FunctionNode | ast.Lambda) -> Scope:
    """Return the scope inside a function; its defaults and decorators belong to the scope around it."""
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    scope = _collect(body)
    arguments = node.args
    every = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    scope.binds.update(argument.arg for argument in every if argument is not None)
    scope.binds.update(type_parameters(node))
    return scope


def class_scope(node: ast.ClassDef) -> tuple[Scope, Scope]:
    """Return what a class body reads when it runs, and what its methods read when they are called."""
    own = _collect(node.body, descend=False)
    methods = Scope()
    for statement in node.body:
        if isinstance(statement, _FUNCTIONS):
            inner = function_scope(statement)
            _add(methods.reads, inner.free)
            methods.global_binds |= inner.global_binds
    methods.reads.pop("__class__", None)
    for name in type_parameters(node):
        own.binds.add(name)
        methods.reads.pop(name, None)
    return own, methods


def comprehension_scope(node: ComprehensionNode) -> Scope:
    """Return a comprehension's scope; a walrus inside binds in the scope around it.

    What a walrus binds before it is read is no read: ``[y for x in xs if (y := x)]``.
    """
    parts = comprehension_parts(node)
    scope = _collect(parts)
    first: dict[str, bool] = {}
    for name, is_bound in _accesses(parts):
        first.setdefault(name, is_bound)
    for name in walrus_targets(node):
        scope.binds.discard(name)
        if first.get(name):
            scope.reads.pop(name, None)
    return scope


def _accesses(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, bool]]:
    """Yield names in the order in which they are read (False) or bound by ``:=`` (True)."""
    for node in nodes:
        if isinstance(node, ast.NamedExpr):
            yield from _accesses([node.value])
            yield node.target.id, True
        elif isinstance(node, _COMPREHENSIONS):
            yield from _accesses(comprehension_parts(node))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id, False
        else:
            yield from _accesses(ast.iter_child_nodes(node))


def comprehension_parts(node: ComprehensionNode) -> list[ast.AST]:
    """Return the parts of a comprehension in the order in which they run."""
    parts: list[ast.AST] = []
    for generator in node.generators:
        parts += [generator.iter, generator.target, *generator.ifs]
    return parts + ([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])


def walrus_targets(node: ast.AST) -> Iterator[str]:
    """Yield the names that ``:=`` binds anywhere in ``node`` but not inside lambdas."""
    if isinstance(node, ast.NamedExpr):
        yield node.target.id
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Lambda):
            yield from walrus_targets(child)


def type_parameters(node: ast.AST) -> list[str]:
    """Return the ``T`` of ``def f[T](x: T)`` and the like (Python 3.12 and later)."""
    return [parameter.name for parameter in getattr(node, "type_params", [])]


def outer_parts(node: FunctionNode | ast.Lambda | ast.ClassDef) -> list[ast.AST]:
    """Return what of a definition runs in the scope around it: decorators, defaults, bases, annotations."""
    bounds = [getattr(each, "bound", None) for each in getattr(node, "type_params", [])]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords, *filter(None, bounds)]
    arguments = node.args
    parts: list[ast.AST | None] = [*arguments.defaults, *arguments.kw_defaults, *bounds]
    if isinstance(node, _FUNCTIONS):
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += filter(None, [arguments.vararg, arguments.kwarg])
        parts += [*node.decorator_list, *(each.annotation for each in every), node.returns]
    return [part for part in parts if part is not None]


def bound_by_import(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the names an import statement binds; ``*`` stays ``*``."""
    if isinstance(node, ast.Import):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    return [alias.asname or alias.name for alias in node.names]


def import_statements(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Return, for each name an import statement binds, a statement that binds it alone."""
    single: dict[str, str] = {}
    for name, alias in zip(bound_by_import(node), node.names, strict=True):
        alone = (
            ast.Import([alias])
            if isinstance(node, ast.Import)
            else ast.ImportFrom(node.module, [alias], node.level)
        )
        single[name] = ast.unparse(alone)
    return single


def bound_by_pattern(pattern: ast.AST) -> list[str]:
    """Return the names a ``case`` pattern binds."""
    names = []
    for node in ast.walk(pattern):
        if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name is not None:
            names.append(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest is not None:
            names.append(node.rest)
    return names


def _add(reads: dict[str, int], more: dict[str, int]) -> None:
    for name, line in more.items():
        reads.setdefault(name, line)


def _collect(nodes: Iterable[ast.AST], *, descend: bool = True) -> Scope:
    """Walk one scope in source order. ``descend=False``: leave out what functions defined in it read."""
    scope = Scope()
    declared: set[str] = set()
    for node in nodes:
        _visit(node, scope, declared, descend=descend)
    scope.global_binds |= declared & scope.binds
    scope.binds -= declared
    return scope


def _visit(node: ast.AST, scope: Scope, declared: set[str], *, descend: bool) -> None:
    if isinstance(node, ast.Name):
        _visit_name(node, scope)
    elif isinstance(node, ast.Global):
        declared.update(node.names)
    elif isinstance(node, (*_FUNCTIONS, ast.Lambda, ast.ClassDef, *_COMPREHENSIONS)):
        _visit_nested(node, scope, declared, descend=descend)
    else:
        scope.binds.update(_other_bindings(node))
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            scope.reads.setdefault(node.target.id, node.lineno)
        for child in ast.iter_child_nodes(node):
            _visit(child, scope, declared, descend=descend)


def _visit_name(node: ast.Name, scope: Scope) -> None:
    if isinstance(node.ctx, ast.Load):
        scope.reads.setdefault(node.id, node.lineno)
    else:
        scope.binds.add(node.id)


def _other_bindings(node: ast.AST) -> list[str]:
    """Return the names that a node binds by a plain string rather than by a Name node."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return bound_by_import(node)
    if isinstance(node, ast.ExceptHandler) and node.name:
        return [node.name]
    if isinstance(node, ast.match_case):
        return bound_by_pattern(node.pattern)
    return []


def _visit_nested(
    node: FunctionNode | ast.Lambda | ast.ClassDef | ComprehensionNode,
    scope: Scope,
    declared: set[str],
    *,
    descend: bool,
) -> None:
    if isinstance(node, _COMPREHENSIONS):
        inner = comprehension_scope(node)
        scope.binds.update(walrus_targets(node))
        _add(scope.reads, inner.free)
        return
    around = Scope(binds=set(type_parameters(node)))
    for part in outer_parts(node):
        _visit(part, around, declared, descend=descend)
    _add(scope.reads, around.free)
    scope.binds |= around.binds - set(type_parameters(node))
    if not isinstance(node, ast.Lambda):
        scope.binds.add(node.name)
    if isinstance(node, ast.ClassDef):
        own, methods = class_scope(node)
        _add(own.reads, methods.reads)
        scope.global_binds |= methods.global_binds
        _add(scope.reads, own.free | methods.free)
    elif descend:
        inner = function_scope(node)
        scope.global_binds |= inner.global_binds
        _add(scope.reads, inner.free)
