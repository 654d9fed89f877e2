"""Pickle protocol 5 in which the user's own functions and classes travel as source.

C's pickler does the work; it asks about every function, class and module on its way. What is installed
travels by name; what lives in ``__main__`` or beside the notebook travels as source with the globals
and closure it uses; what has no source travels as dill's bytecode, and the stream says so.
"""

from __future__ import annotations

import _thread
import ast
import enum
import functools
import io
import pickle  # the SDK pickles for the user; readers decide whom to trust
import socket
import threading
import types
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import (
    AsyncGeneratorType,
    CellType,
    CodeType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    ModuleType,
)
from typing import Any, TypeVar

from funcx_lab.errors import CannotSerialize
from funcx_lab.protocol.payload import PYTHON
from funcx_lab.serialize import origin, rebuild, source
from funcx_lab.serialize.captured import (
    Space,
    captured,
    changed,
    class_names,
    globals_of,
    is_empty,
    plain_annotations,
)
from funcx_lab.serialize.code_objects import attribute_names, global_names
from funcx_lab.serialize.needs import Needs

#: Buffers below this many bytes stay inside the stream.
IN_BAND_LIMIT = 4096

_FILE = "an open file cannot be sent; send its path, or open it inside the function"
_LOCK = "a lock belongs to one process; create it inside the function"
_LAZY = "it can only be used where it was made; send a list of its items"
_REFUSED: dict[type, str] = {
    **dict.fromkeys(
        (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO), _FILE
    ),
    **dict.fromkeys((_thread.LockType, _thread.RLock, threading.Condition, threading.Event), _LOCK),
    **dict.fromkeys((GeneratorType, AsyncGeneratorType), _LAZY),
    CoroutineType: "a coroutine can only run where it was made; await it first",
    socket.socket: "a socket belongs to one process; open it inside the function",
    threading.Thread: "a thread belongs to one process; start it inside the function",
}
_TYPE_NAMES = {cls: name for name, cls in vars(types).items() if isinstance(cls, type)}
_NAMELESS_TYPES = frozenset({type(None), type(Ellipsis), type(NotImplemented)})


@dataclass(slots=True)
class Stream:
    """A pickle and its buffers; ``bound`` says that it holds bytecode of this Python version."""

    data: bytes | memoryview
    buffers: list[memoryview]
    bound: bool


def dumps(value: Any) -> Stream:
    """Return ``value`` as a stream.

    Raises
    ------
    Exception
        Whatever pickling raised; callers name what they were sending.
    """
    return _dumps(value, _Pickler)


def dumps_for_key(value: Any) -> Stream:
    """Return ``value`` as a stream that is the same whatever comments, blank lines and place its code has.

    Nothing can be rebuilt from it. Raises as `dumps`.
    """
    return _dumps(value, _KeyPickler)


def dumps_noting(value: Any, needs: Needs) -> Stream:
    """Return ``value`` as a stream, and add to ``needs`` what the other side must have; raises as `dumps`."""
    stream = _dumps(value, functools.partial(_NotingPickler, needs))
    needs.bound = needs.bound or stream.bound
    return stream


def _dumps(value: Any, make: Callable[..., _Pickler]) -> Stream:
    file = io.BytesIO()
    buffers: list[memoryview] = []

    def keep_out(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < IN_BAND_LIMIT:
            return True
        buffers.append(raw)
        return False

    pickler = make(file, 5, buffer_callback=keep_out)
    pickler.dump(value)
    data = file.getbuffer() if file.tell() > IN_BAND_LIMIT else file.getvalue()
    return Stream(data, buffers, pickler.bound)


def dumps_by_value(value: Any) -> Stream:
    """Return ``value`` as dill's bytecode, for what plain pickling cannot do."""
    file = io.BytesIO()
    pickle.Pickler(file, 5).dump(_ByDill(value))
    return Stream(file.getbuffer(), [], True)


class _ByDill:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _reduce_by_dill(self.value)


def _reduce_by_dill(value: Any) -> tuple[Any, ...]:
    import dill

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dill warns of what it then raises
        data = dill.dumps(value, protocol=5, byref=False, recurse=True)
    return rebuild.load_dill, (PYTHON, data)


class _Pickler(pickle.Pickler):
    """C's pickler with an opinion on functions, classes and modules."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bound = False
        self._spaces: dict[int, Space] = {}

    def reducer_override(self, thing: Any) -> Any:
        """Return how ``thing`` travels; NotImplemented leaves it to pickle."""
        kind = type(thing)
        if kind in _REFUSED:
            raise CannotSerialize(_REFUSED[kind])
        reduce = _REDUCERS.get(kind)
        if reduce is not None:
            return reduce(self, thing)
        if isinstance(thing, type):
            return self.reduce_class(thing)
        return NotImplemented

    def by_dill(self, thing: Any) -> tuple[Any, ...]:
        """Send ``thing`` as bytecode and remember that the stream is bound to this Python."""
        self.bound = True
        return _reduce_by_dill(thing)

    def reduce_function(self, function: FunctionType) -> Any:
        if origin.by_reference(function):
            return NotImplemented
        owner, _, name = function.__qualname__.rpartition(".")
        cls = origin.find(function.__module__, owner) if owner else None
        if isinstance(cls, type) and getattr(cls, name, None) is function:
            return getattr, (cls, name)
        try:
            place = source.find_function(function)
        except CannotSerialize:
            return self.by_dill(function)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        where = self.place_form(place)
        space = self._space(function.__globals__)
        arguments = (space, where, function.__name__, function.__qualname__, cells)
        state = self._state_of(function, space, list(cells.values()))
        return rebuild.make_function, arguments, state, None, None, rebuild.fill_function

    def _state_of(self, function: FunctionType, space: Space, cells: list[CellType]) -> dict[str, Any]:
        code = function.__code__
        return {
            **captured(space, global_names(code), attribute_names(code)),
            "cells": [(cell, cell.cell_contents) for cell in cells if not is_empty(cell)],
            "defaults": function.__defaults__,
            "kwdefaults": function.__kwdefaults__,
            "module": function.__module__,
            "doc": function.__doc__,
            "annotations": plain_annotations(function),
            "dict": function.__dict__,
        }

    def _space(self, globals_: dict[str, Any]) -> Space:
        space = self._spaces.get(id(globals_))
        if space is None:
            space = self._spaces[id(globals_)] = Space(globals_)
        return space

    def reduce_class(self, cls: type) -> Any:
        if cls in _NAMELESS_TYPES or origin.by_reference(cls):
            return NotImplemented
        if cls.__module__ == "builtins":
            return (getattr, (types, _TYPE_NAMES[cls])) if cls in _TYPE_NAMES else NotImplemented
        owner, _, name = cls.__qualname__.rpartition(".")
        outer = origin.find(cls.__module__, owner) if owner else None
        if isinstance(outer, type) and getattr(outer, name, None) is cls:
            return getattr, (outer, name)
        try:
            unit = source.find_class(cls)
        except CannotSerialize:
            return _reduce_called(cls) or self.by_dill(cls)
        space = self._space(globals_of(cls))
        names = class_names(unit, cls.__name__)
        needed = captured(space, names.now, names.attributes)
        arguments = (space, *self.class_form(unit, cls), needed)
        state = {
            **captured(space, names.later, names.attributes),
            "space": space,
            "changed": changed(cls, unit),
        }
        return rebuild.make_class, arguments, state, None, None, rebuild.fill_class

    def place_form(self, place: source.Place) -> tuple[Any, ...]:
        """Return how the text of a function travels."""
        return place.unit.wire, place.name, place.line, place.index, place.count

    def class_form(self, unit: source.Unit, cls: type) -> tuple[Any, ...]:
        """Return how the text and the identity of a class travel."""
        return unit.wire, cls.__name__, rebuild.class_id(cls)

    def reduce_module(self, module: ModuleType) -> Any:
        name = module.__name__
        return (rebuild.import_module if origin.is_installed(name) else rebuild.make_module), (name,)

    def reduce_space(self, space: Space) -> Any:
        return (rebuild.module_space if space.installed else rebuild.make_space), (space.name,)

    def reduce_cell(self, cell: CellType) -> Any:
        return rebuild.make_cell, ()  # its content comes with the function's state

    def reduce_cached(self, cached: Any) -> Any:
        if origin.by_reference(cached):
            return NotImplemented
        how = cached.cache_parameters()
        return rebuild.make_cached, (cached.__wrapped__, how["maxsize"], how["typed"])

    def reduce_mapping(self, mapping: Any) -> Any:
        return type(mapping), (dict(mapping),)  # functools.singledispatch keeps such

    def reduce_type_variable(self, variable: TypeVar) -> Any:
        return NotImplemented if origin.is_installed(variable.__module__) else (TypeVar, (variable.__name__,))


class _KeyPickler(_Pickler):
    """Writes what code says, not how it is written or where it stands."""

    def persistent_id(self, thing: Any) -> Any:
        """Return what stands for text and sets; None for all else.

        Whether two equal texts are one object, and the order of a set, differ from process to process.
        """
        if type(thing) is str:
            return thing.encode("utf-8", "surrogatepass")
        if type(thing) in (set, frozenset):
            return type(thing).__name__.encode(), sorted(thing, key=repr)
        return None

    def place_form(self, place: source.Place) -> tuple[Any, ...]:
        return ast.dump(place.unit.tree()), place.name, place.index

    def class_form(self, unit: source.Unit, cls: type) -> tuple[Any, ...]:
        return ast.dump(unit.tree()), cls.__name__


class _NotingPickler(_Pickler):
    """Notes the modules that the other side must have."""

    def __init__(self, needs: Needs, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._needs = needs
        self._seen: set[object] = set()

    def reducer_override(self, thing: Any) -> Any:
        reduced = super().reducer_override(thing)
        name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
        if isinstance(name, str) and name not in self._seen:
            self._seen.add(name)
            self._needs.add(name if origin.is_installed(name) else None)
        return reduced

    def place_form(self, place: source.Place) -> tuple[Any, ...]:
        self._needs.add_source(place.unit.tree())
        return super().place_form(place)

    def class_form(self, unit: source.Unit, cls: type) -> tuple[Any, ...]:
        self._needs.add_source(unit.tree())
        return super().class_form(unit, cls)


_Reducer = Callable[[_Pickler, Any], Any]
_REDUCERS: dict[type, _Reducer] = {
    FunctionType: _Pickler.reduce_function,
    ModuleType: _Pickler.reduce_module,
    CellType: _Pickler.reduce_cell,
    CodeType: _Pickler.by_dill,
    Space: _Pickler.reduce_space,
    functools._lru_cache_wrapper: _Pickler.reduce_cached,
    TypeVar: _Pickler.reduce_type_variable,
    weakref.WeakKeyDictionary: _Pickler.reduce_mapping,
    MappingProxyType: _Pickler.reduce_mapping,
}


def _reduce_called(cls: type) -> tuple[Any, ...] | None:
    """Return how a class travels that a call made, not a ``class`` statement."""
    identity = rebuild.class_id(cls)
    if isinstance(cls, enum.EnumMeta):
        members = rebuild.enum_members(cls)
        return rebuild.make_enum, (cls.__base__, cls.__name__, members, cls.__module__, identity)
    fields = getattr(cls, "_fields", None)
    if issubclass(cls, tuple) and isinstance(fields, tuple) and cls.__bases__ == (tuple,):
        defaults = tuple(cls._field_defaults.values())  # type: ignore[attr-defined]  # a named tuple
        return rebuild.make_namedtuple, (cls.__name__, fields, defaults, cls.__module__, identity)
    return None
