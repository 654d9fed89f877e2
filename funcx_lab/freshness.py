"""Whether a function still is what it was when it was packed.

In a notebook, helpers are redefined and globals change while the function that uses them stays the
same object. A snapshot remembers what a function was made of: code, defaults, and what each name it
reads stood for, through every function of the user's it reaches.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from funcx_lab.remote_function import RemoteFunction
from funcx_lab.serialize.code_objects import global_names
from funcx_lab.serialize.origin import by_reference

_MISSING = object()
_ATOMS = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))
#: Functions that use more names than this are packed at each call.
_LIMIT = 200


class Snapshot:
    """What a function was made of.

    Parameters
    ----------
    function : callable
        The function that was packed.

    Attributes
    ----------
    lasting : bool
        Whether it can be compared at all. It cannot when it uses an object that may change inside, a
        dictionary for instance: such a function is packed anew at each call, so that its tasks see
        what a local call would.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._checks: list[Callable[[], bool]] = []
        self._seen: set[int] = set()
        self.lasting = self._covers(function) and len(self._checks) <= _LIMIT

    def holds(self) -> bool:
        """Whether all is as it was."""
        return self.lasting and all(check() for check in self._checks)

    def _covers(self, value: Any) -> bool:
        """Add checks for ``value``; False if it may change without a trace."""
        if isinstance(value, (*_ATOMS, ModuleType, BuiltinFunctionType)) or id(value) in self._seen:
            return True
        if isinstance(value, RemoteFunction):
            return self._covers(value.local_function)
        if isinstance(value, (tuple, frozenset)):
            return len(value) <= _LIMIT and all(self._covers(item) for item in value)
        if isinstance(value, FunctionType):
            self._seen.add(id(value))
            return by_reference(value) or self._covers_function(value)
        return isinstance(value, type) and by_reference(value)

    def _covers_function(self, function: FunctionType) -> bool:
        self._checks.append(_is_same_function(function))
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            if not self._covers(value):
                return False
        if function.__dict__ and not self._covers(tuple(function.__dict__.values())):
            return False
        for check, value in _names(function):
            self._checks.append(check)
            if len(self._checks) > _LIMIT or not self._covers(value):
                return False
        return True


def _is_same_function(function: FunctionType) -> Callable[[], bool]:
    find, code = weakref.ref(function), function.__code__
    defaults, kwdefaults = function.__defaults__, dict(function.__kwdefaults__ or {})

    def check() -> bool:
        now = find()
        return (
            now is not None
            and now.__code__ is code
            and now.__defaults__ is defaults
            and (now.__kwdefaults__ or {}) == kwdefaults
        )

    return check


def _names(function: FunctionType) -> Iterator[tuple[Callable[[], bool], Any]]:
    """Yield for each free name how to see that it still means the same, and what it means."""
    space = function.__globals__
    for name in global_names(function.__code__):
        value = space.get(name, _MISSING)
        if value is not _MISSING:
            yield _means_the_same(space, name, value), value
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # empty: a name that is not bound yet
            continue
        yield _holds_the_same(cell, value), value


def _means_the_same(space: dict[str, Any], name: str, value: Any) -> Callable[[], bool]:
    same = _sameness(value)
    return lambda: same(space.get(name, _MISSING))


def _holds_the_same(cell: Any, value: Any) -> Callable[[], bool]:
    same = _sameness(value)
    return lambda: same(cell.cell_contents)


def _sameness(value: Any) -> Callable[[Any], bool]:
    if isinstance(value, (FunctionType, type)):
        find = weakref.ref(value)  # a strong one would keep the function alive through itself
        return lambda now: now is find()
    return lambda now: now is value
