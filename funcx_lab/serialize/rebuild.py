"""What a stream of `funcx_lab.serialize.pickling` calls where it is read.

The names here are part of the wire: payloads refer to them.
"""

from __future__ import annotations

import builtins
import collections
import enum
import functools
import importlib
import uuid
import weakref
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import CellType, FunctionType, ModuleType
from typing import Any

from funcx_lab.errors import CannotDeserialize, CannotSerialize, PythonMismatch
from funcx_lab.protocol.payload import PYTHON
from funcx_lab.serialize import origin, source

#: The name under which rebuilt globals hold the module they are the globals of.
MODULE = "__funcx_module__"
#: What ``__main__`` holds while the calls of a session are opened and run; None: each call has its own.
shared_space: ContextVar[dict[str, Any] | None] = ContextVar("shared_space", default=None)

# A class keeps one id for the life of a process; whoever rebuilds it remembers the id. So an instance
# that went to a worker and back is an instance of the class it left.
_ids: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
_classes: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()
_unfilled: weakref.WeakSet[type] = weakref.WeakSet()


def class_id(cls: type) -> str:
    """Return the id under which ``cls`` travels from this process."""
    known = _ids.get(cls)
    return known if known is not None else _remember(cls, uuid.uuid4().hex)


def _remember(cls: type, identity: str) -> str:
    _ids[cls] = identity
    _classes[identity] = cls
    return identity


def make_space(name: str) -> dict[str, Any]:
    """Return the globals that functions of one user module share in one payload, or in one session."""
    shared = shared_space.get()
    if shared is not None and name == "__main__":
        return shared
    module = ModuleType(name)
    vars(module).update({"__builtins__": builtins, MODULE: module})
    return vars(module)


def module_space(name: str) -> dict[str, Any]:
    """Return the globals of an installed module."""
    return vars(import_module(name))


def import_module(name: str) -> ModuleType:
    """Import an installed module by name.

    Raises
    ------
    CannotDeserialize
        If it is not installed here.
    """
    try:
        return importlib.import_module(name)
    except ImportError as err:
        raise CannotDeserialize(
            f"Module {name!r} is needed here and cannot be imported: {err}. Install it where the task runs."
        ) from err


def make_module(name: str) -> ModuleType:
    """Return an empty stand-in for a module that exists only at the sender."""
    return ModuleType(name)


def fill_modules(attributes: Sequence[tuple[ModuleType, dict[str, Any]]]) -> None:
    """Give stand-ins the attributes that are used."""
    for module, values in attributes:
        vars(module).update(values)


def make_cell() -> CellType:
    """Return an empty closure cell."""
    return CellType()


def make_function(
    space: dict[str, Any], place: tuple[Any, ...], name: str, qualname: str, cells: Mapping[str, CellType]
) -> FunctionType:
    """Compile a function from its source; `fill_function` completes it.

    Raises
    ------
    CannotDeserialize
        If this Python cannot compile the source.
    """
    unit, *rest = place
    where = source.Place(source.Unit(*unit), *rest)
    try:
        code = where.code(where.unit.register(name))
    except SyntaxError as err:
        raise CannotDeserialize(
            f"Function {name!r} is not Python {PYTHON}, line {err.lineno}: {err.msg}. "
            "Use the same Python at both ends, or older syntax."
        ) from err
    if code is None or set(code.co_freevars) != set(cells):
        raise CannotDeserialize(
            f"Function {name!r} cannot be told from others on line {where.line} in Python {PYTHON}; "
            "give it a line of its own."
        )
    closure = tuple(cells[free] for free in code.co_freevars)
    function = FunctionType(code, space, name, None, closure)
    function.__qualname__ = qualname
    return function


def fill_function(function: FunctionType, state: dict[str, Any]) -> None:
    """Give a function its globals, closure, defaults and attributes."""
    function.__globals__.update(state["globals"])
    fill_modules(state["modules"])
    for name in state["imports"]:
        import_module(name)
    for cell, content in state["cells"]:
        cell.cell_contents = content
    function.__defaults__ = state["defaults"]
    function.__kwdefaults__ = state["kwdefaults"]
    function.__module__ = state["module"]
    function.__doc__ = state["doc"]
    function.__annotations__ = state["annotations"]
    function.__dict__.update(state["dict"])


def make_class(
    space: dict[str, Any], unit: tuple[Any, ...], name: str, identity: str, needed: dict[str, Any]
) -> type:
    """Return this process's own class if it has it, else run the ``class`` statement."""
    statement = source.Unit(*unit)
    known = _classes.get(identity) or _own_class(space["__name__"], name, statement)
    if known is None:
        space.update(needed["globals"])
        fill_modules(needed["modules"])
        for module in needed["imports"]:
            import_module(module)
        exec(statement.compile(statement.register(name)), space)  # noqa: S102  # it is the user's own class
        known = space[name]
        source.remember_class(known, statement)
        _unfilled.add(known)
    _remember(known, identity)
    return known


def _own_class(module: str, name: str, statement: source.Unit) -> type | None:
    candidate = origin.find(module, name)
    if not isinstance(candidate, type):
        return None
    try:
        return candidate if source.find_class(candidate).text == statement.text else None
    except CannotSerialize:
        return None


def fill_class(cls: type, state: dict[str, Any]) -> None:
    """Give a class's methods their globals, and the class what was changed after its definition."""
    state["space"].update(state["globals"])
    fill_modules(state["modules"])
    for name in state["imports"]:
        import_module(name)
    if cls in _unfilled:
        _unfilled.discard(cls)
        for name, value in state["changed"].items():
            setattr(cls, name, value)


def identity(thing: Any) -> Any:
    """Return ``thing``."""
    return thing


def make_cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    """Return ``function`` behind an empty `functools.lru_cache`."""
    return functools.lru_cache(maxsize=maxsize, typed=typed)(function)


def load_dill(python: str, data: bytes) -> Any:
    """Return what dill wrote, if the same Python minor version wrote it.

    Raises
    ------
    PythonMismatch
        Before a byte of it is loaded; foreign bytecode can crash the process.
    """
    require_python(python)
    import dill

    return dill.loads(data)  # noqa: S301  # trusted, see the callers in values.py


def require_python(python: str) -> None:
    """Raise `PythonMismatch` unless ``python`` is this Python's minor version."""
    if python != PYTHON:
        raise PythonMismatch(
            f"This holds bytecode of Python {python} and here is Python {PYTHON}; it was not loaded, since "
            "it could crash the process. Use the same Python at both ends, or define the function in a file "
            "or a cell, so that it travels as source."
        )


def make_namedtuple(
    name: str, fields: tuple[str, ...], defaults: tuple[Any, ...], module: str, identity: str
) -> type:
    """Return this process's own `collections.namedtuple` class if it has it, else a new one."""
    known = _classes.get(identity)
    if known is None:
        candidate = origin.find(module, name)
        same = isinstance(candidate, type) and getattr(candidate, "_fields", None) == fields
        known = candidate if same else collections.namedtuple(name, fields, defaults=defaults, module=module)
    _remember(known, identity)
    return known


def make_enum(base: Any, name: str, members: dict[str, Any], module: str, identity: str) -> type:
    """Return this process's own ``Enum(name, members)`` if it has it, else a new one."""
    known: Any = _classes.get(identity)
    if known is None:
        candidate = origin.find(module, name)
        same = isinstance(candidate, enum.EnumMeta) and enum_members(candidate) == members
        known = candidate if same else base(name, members, module=module)
    _remember(known, identity)
    return known  # type: ignore[no-any-return]  # a class, see above


def enum_members(cls: Any) -> dict[str, Any]:
    """Return the values of an enum's members by name."""
    return {name: member.value for name, member in cls.__members__.items()}
