"""Find the source of a live function or class, and make sure that it is the source.

The text comes from linecache, so scripts, IPython cells and remote cells work alike. What travels is
the innermost statement of the module that holds the definition, padded so that line numbers stay. It
is compiled and compared with the live code object, so stale text is noticed.
"""

from __future__ import annotations
import __future__

import ast
import functools
import hashlib
import linecache
import os
import re
import sys
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from funcx_lab.errors import CannotSerialize
from funcx_lab.serialize.code_objects import FUTURE_MASK, nested, same_code

_KEPT_TEXTS = 2000
_registered: dict[str, None] = {}
_known_classes: weakref.WeakKeyDictionary[type, Unit] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Unit:
    """One statement at module level.

    Attributes
    ----------
    text : str
        Its lines.
    line : int
        The number of its first line.
    flags : int
        Future features it was compiled with.
    label : str
        Base name of its file, for tracebacks; ``""`` for notebook cells.
    """

    text: str
    line: int
    flags: int = 0
    label: str = ""

    @property
    def wire(self) -> tuple[str, int, int, str]:
        """Its fields, as they travel."""
        return self.text, self.line, self.flags, self.label

    @property
    def lines(self) -> range:
        """The numbers of its lines."""
        return range(self.line, self.line + self.text.count("\n") + (not self.text.endswith("\n")))

    def compile(self, filename: str) -> CodeType:
        """Return the module code of the statement, with its own line numbers."""
        flags = self.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        made: CodeType = compile(self._padded(), filename, "exec", flags=flags, dont_inherit=True)
        return made

    def tree(self) -> ast.Module:
        """Return the statement's syntax tree."""
        return ast.parse(self._padded())

    def _padded(self) -> str:
        # An indented statement needs something to be indented under; dedenting would change strings.
        if self.text[:1] in (" ", "\t"):
            return "\n" * (self.line - 2) + "if 1:\n" + self.text
        return "\n" * (self.line - 1) + self.text

    def register(self, name: str) -> str:
        """Make the text known to linecache, for tracebacks; return the file name it has there."""
        digest = hashlib.sha256(f"{self.line} {self.text}".encode("utf-8", "surrogatepass")).hexdigest()
        filename = f"<funcx {self.label or 'function'} {name} {digest[:8]}>"
        register_text(filename, "\n" * (self.line - 1) + self.text)
        return filename


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function is: number ``index`` of ``count`` code objects called ``name`` at ``line``."""

    unit: Unit
    name: str
    line: int
    index: int
    count: int

    def code(self, filename: str) -> CodeType | None:
        """Compile the unit and return the function's code object; None if it cannot be told apart."""
        found = _candidates(self.unit.compile(filename), self.name, self.line)
        return found[self.index] if len(found) == self.count else None


def register_text(filename: str, text: str) -> None:
    """Make ``text`` known to linecache under ``filename``; the oldest of many are forgotten."""
    linecache.cache[filename] = (len(text), None, _lines(text), filename)
    _registered.pop(filename, None)
    _registered[filename] = None
    while len(_registered) > _KEPT_TEXTS:
        oldest = next(iter(_registered))
        del _registered[oldest]
        linecache.cache.pop(oldest, None)


def find_function(function: FunctionType) -> Place:
    """Return where the source of ``function`` is.

    Raises
    ------
    CannotSerialize
        If there is no source, or it is not what the function was made from.
    """
    code = function.__code__
    place = _search_function(code, function.__globals__)
    if place is None:
        linecache.checkcache(code.co_filename)  # the file was edited and its module reloaded
        place = _search_function(code, function.__globals__)
    if place is None:
        raise CannotSerialize("its source is not known here, or has changed since it was defined")
    return place


def _search_function(code: CodeType, space: dict[str, Any]) -> Place | None:
    text = _text(code.co_filename, space)
    if not text:
        return None
    flags = code.co_flags & FUTURE_MASK
    word = "lambda" if code.co_name == "<lambda>" else code.co_name
    units = [unit for unit in _units(text, code.co_filename, flags) if word in unit.text]
    units.sort(key=lambda unit: code.co_firstlineno not in unit.lines)
    # The compiler treats imported names specially (3.11, 3.12), so a function of a script compares equal
    # only within its whole text, one of a cell only within its own statement.
    whole = _compiled(Unit(text, 1, flags))
    for lines in (True, False):
        for unit in units:
            place = _place(unit, _compiled(unit), code, lines) or _place(unit, whole, code, lines)
            if place is not None:
                return place
    return None


def _place(unit: Unit, module: CodeType | None, code: CodeType, lines: bool) -> Place | None:
    alone = _compiled(unit)
    if module is None or alone is None:
        return None
    for found in nested(module):
        line = found.co_firstlineno
        if found.co_name == code.co_name and line in unit.lines and same_code(found, code, lines=lines):
            twins = _candidates(module, found.co_name, line)
            index = next(i for i, twin in enumerate(twins) if twin is found)
            if len(twins) == len(_candidates(alone, found.co_name, line)):
                return Place(unit, found.co_name, line, index, len(twins))
    return None


def _candidates(module: CodeType, name: str, line: int) -> list[CodeType]:
    return [code for code in nested(module) if code.co_name == name and code.co_firstlineno == line]


@functools.lru_cache(maxsize=64)
def _compiled(unit: Unit) -> CodeType | None:
    try:
        return unit.compile("")
    except SyntaxError:  # e.g. the line of a lone `else: f = lambda ...`; its parent is tried as well
        return None


def find_class(cls: type) -> Unit:
    """Return the ``class`` statement that made ``cls``.

    Raises
    ------
    CannotSerialize
        If there is none at module level, or its methods are not those of ``cls``.
    """
    known = _known_classes.get(cls)
    if known is None:
        known = _known_classes[cls] = _search_class(cls)
    return known


def _search_class(cls: type) -> Unit:
    if "." in cls.__qualname__:
        raise CannotSerialize("classes defined inside functions have no source of their own")
    space = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    flags = future_flags(space)
    reason = "its source is not known here"
    for filename in _files_of(cls):
        text = _text(filename, space)
        for unit in reversed(_units(text, filename, flags)) if text else ():
            if re.search(rf"^\s*class\s+{re.escape(cls.__name__)}\b", unit.text, re.MULTILINE):
                if _is_class_statement(unit, cls.__name__) and _matches(
                    unit, _compiled(Unit(text, 1, flags)), cls
                ):
                    return unit
                reason = "its source has changed since it was defined; run the definition again"
    raise CannotSerialize(reason)


def remember_class(cls: type, unit: Unit) -> None:
    """Note that ``unit`` made ``cls``, so that it need not be searched."""
    _known_classes[cls] = unit


def future_flags(space: dict[str, Any]) -> int:
    """Return the compiler flags of a namespace that has imported ``__future__.annotations``."""
    return FUTURE_MASK if space.get("annotations") is __future__.annotations else 0


def functions_of(cls: type) -> dict[str, FunctionType]:
    """Return the functions in the class's own dictionary, also behind property, classmethod and the like."""
    found = {}
    for name, value in vars(cls).items():
        inner = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(inner, FunctionType):
            found[name] = inner
    return found


def _files_of(cls: type) -> Iterator[str]:
    seen = set()
    own = [f for f in functions_of(cls).values() if f.__qualname__.startswith(cls.__qualname__ + ".")]
    for filename in [f.__code__.co_filename for f in own]:
        if filename not in seen and not filename.startswith("<string"):
            seen.add(filename)
            yield filename
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if file is not None:
        yield file
    # No method tells: look through the cells, the latest first.
    for filename in reversed(list(linecache.cache)):
        if filename not in seen and (filename.startswith("<") or "ipykernel" in filename):
            yield filename


def _is_class_statement(unit: Unit, name: str) -> bool:
    body: list[ast.stmt] = unit.tree().body
    if unit.text[:1] in (" ", "\t") and isinstance(body[0], ast.If):
        body = body[0].body
    return len(body) == 1 and isinstance(body[0], ast.ClassDef) and body[0].name == name


@functools.lru_cache(maxsize=512)
def class_statement(unit: Unit, name: str) -> ast.ClassDef:
    """Return the syntax tree of the unit's class."""
    return next(
        node for node in ast.walk(unit.tree()) if isinstance(node, ast.ClassDef) and node.name == name
    )


def _matches(unit: Unit, whole: CodeType | None, cls: type) -> bool:
    statement = class_statement(unit, cls.__name__)
    if sys.version_info < (3, 14) and _annotated(statement) != set(vars(cls).get("__annotations__", ())):
        return False
    codes = [code for module in (_compiled(unit), whole) if module is not None for code in nested(module)]
    prefix = cls.__qualname__ + "."
    # A decorated method is its wrapper: the name of its code differs, so it cannot be compared.
    made = [f for f in functions_of(cls).values() if f.__qualname__ == prefix + f.__code__.co_name]
    defined = {n.name for n in statement.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    return all(
        any(c.co_name == f.__name__ and same_code(c, f.__code__, lines=False) for c in codes)
        for f in made
        if f.__name__ in defined
    )


def _annotated(statement: ast.ClassDef) -> set[str]:
    targets = [node.target for node in statement.body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _lines(text: str) -> list[str]:
    # Python ends a line at \n only; str.splitlines would also split at form feeds and the like.
    return [line + "\n" for line in text.removesuffix("\n").split("\n")]


def _text(filename: str, space: dict[str, Any]) -> str:
    lines = linecache.getlines(filename, space)
    return "".join(lines)


def _label(filename: str) -> str:
    if filename.startswith("<") or "ipykernel" in filename:
        return ""
    return os.path.basename(filename)


@functools.lru_cache(maxsize=16)
def _units(text: str, filename: str, flags: int) -> tuple[Unit, ...]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ()
    lines = _lines(text)
    units = []
    for node in _statements(tree.body):
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        units.append(Unit("".join(lines[first - 1 : node.end_lineno]), first, flags, _label(filename)))
    return tuple(units)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    # Innermost first: an `if __name__ == "__main__":` around a function need not travel with it.
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _statements(_children(node))
        yield node


def _children(node: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body
