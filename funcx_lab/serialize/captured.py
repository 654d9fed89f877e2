"""What a function or a class statement uses of the world around it."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import CellType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

from funcx_lab.serialize import origin, source
from funcx_lab.serialize.code_objects import attribute_names, global_names, names_read, nested

_NEVER_CAPTURED = frozenset({"__name__", "__builtins__", "__file__", "__spec__", "__loader__", "__package__"})
_AT_ONCE = ("<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>")


class Space:
    """Stands for the globals of one module in a stream."""

    __slots__ = ("globals", "name")

    def __init__(self, globals_: dict[str, Any]) -> None:
        self.globals = globals_
        self.name = str(globals_.get("__name__", "__main__"))

    @property
    def installed(self) -> bool:
        """Whether the other side has the module."""
        return origin.is_installed(self.name)


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Globals that a class statement reads while it runs (``now``), and that its methods read ``later``."""

    now: tuple[str, ...]
    later: tuple[str, ...]
    attributes: frozenset[str]


@functools.lru_cache(maxsize=512)
def class_names(unit: source.Unit, name: str) -> ClassNames:
    """Return the names that a class statement uses."""
    module = unit.compile("")
    now = names_read(module)
    for code in nested(module):
        if code.co_name == name or code.co_name in _AT_ONCE:
            now |= names_read(code)
    now.discard(name)
    later = set(global_names(module)) - now
    return ClassNames(tuple(sorted(now)), tuple(sorted(later)), frozenset(attribute_names(module)))


def globals_of(cls: type) -> dict[str, Any]:
    """Return the globals of the module that defined ``cls``."""
    for method in source.functions_of(cls).values():
        if method.__module__ == cls.__module__ and method.__qualname__.startswith(cls.__qualname__ + "."):
            return method.__globals__
    module = sys.modules.get(cls.__module__)
    return vars(module) if module is not None else {"__name__": cls.__module__}


def captured(space: Space, names: Iterable[str], attributes: Iterable[str]) -> dict[str, Any]:
    """Return the globals called ``names``, what is used of local modules, and submodules to import."""
    values: dict[str, Any] = {}
    if not space.installed:
        values = {n: space.globals[n] for n in names if n in space.globals and n not in _NEVER_CAPTURED}
    modules = [value for value in values.values() if isinstance(value, ModuleType)]
    parts: list[tuple[ModuleType, dict[str, Any]]] = []
    imports: list[str] = []
    while modules:
        module = modules.pop()
        if origin.is_installed(module.__name__):
            imports += _submodules(module.__name__, attributes)
        elif all(module is not seen for seen, _ in parts):
            used = {name: value for name, value in vars(module).items() if name in attributes}
            parts.append((module, used))
            modules += [value for value in used.values() if isinstance(value, ModuleType)]
    return {"globals": values, "modules": parts, "imports": sorted(imports)}


def _submodules(package: str, attributes: Iterable[str]) -> list[str]:
    # `import xml.dom` binds only `xml`; the submodule has to be imported at the other side as well.
    found = [name for part in attributes if (name := f"{package}.{part}") in sys.modules]
    return found + [inner for name in found for inner in _submodules(name, attributes)]


def changed(cls: type, unit: source.Unit) -> dict[str, Any]:
    """Return what the class got after its definition, and constants of its body as they are now."""
    statement = source.class_statement(unit, cls.__name__)
    # Decorators, metaclasses and NamedTuple add names of their own, and will do so again.
    if statement.decorator_list or statement.keywords or type(cls) is not type or issubclass(cls, tuple):
        return {}
    bound = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    bound |= {getattr(node, "name", "") for node in statement.body}
    for node in statement.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            bound -= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {
        name: value
        for name, value in vars(cls).items()
        if name not in bound and not (name.startswith("__") and name.endswith("__")) and not _is_made(value)
    }


def _is_made(value: Any) -> bool:
    return isinstance(value, MemberDescriptorType | GetSetDescriptorType)


def plain_annotations(function: FunctionType) -> dict[str, Any]:
    """Return the annotations that are text or installed classes; others are not worth sending."""
    return {
        name: value
        for name, value in function.__annotations__.items()
        if isinstance(value, str) or value is None or (isinstance(value, type) and origin.by_reference(value))
    }


def is_empty(cell: CellType) -> bool:
    """Whether nothing has been bound to a closure's name yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False
