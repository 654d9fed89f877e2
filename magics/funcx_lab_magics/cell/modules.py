"""Modules and what is imported from them: replayed as import statements, or sent in part.

What is installed is imported again at the endpoint. A module that lies beside the notebook is not
there, so the parts of it that the cell names are sent by value.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Collection

from funcx_lab.serialize import origin


def import_statement(name: str, value: object) -> str | None:
    """Return the import statement that binds ``name`` to ``value`` elsewhere, or None if there is none."""
    if isinstance(value, types.ModuleType):
        module = value.__name__
        if module == "__main__" or sys.modules.get(module) is not value:
            return None
        return f"import {module}" if module == name else f"import {module} as {name}"
    if not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return None
    module, attribute = value.__module__, value.__qualname__
    if "." in attribute or not origin.by_reference(value):
        return None
    return f"from {module} import {attribute}" + ("" if attribute == name else f" as {name}")


def submodules(value: object, paths: Collection[str]) -> list[str]:
    """Return imports of the submodules that the cell reaches by dots, as in ``scipy.stats.norm``."""
    if not isinstance(value, types.ModuleType):
        return []
    needed = set()
    for path in paths:
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            module = ".".join([value.__name__, *parts[:end]])
            if module not in sys.modules:
                break
            needed.add(module)
    return [f"import {module}" for module in sorted(needed)]


def local_part(value: object, paths: Collection[str]) -> object:
    """Return ``value``, or, for a module beside the notebook, a namespace with what the cell names of it.

    Parameters
    ----------
    value : object
        Anything.
    paths : collection of str
        Dotted paths that the cell reads on it.
    """
    if not isinstance(value, types.ModuleType) or not is_local(value):
        return value
    part = types.SimpleNamespace()
    for name in sorted({path.split(".")[0] for path in paths}):
        inner = {path.partition(".")[2] for path in paths if path.startswith(f"{name}.")}
        if hasattr(value, name):
            setattr(part, name, local_part(getattr(value, name), inner))
    return part


def is_local(module: types.ModuleType) -> bool:
    """Whether a module lies in the notebook's folder or below and is not installed."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__" or origin.is_installed(module.__name__):
        return False
    folder = os.path.realpath(os.getcwd()) + os.sep
    return bool(os.path.realpath(file).startswith(folder))
