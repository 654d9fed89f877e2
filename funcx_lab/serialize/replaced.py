"""Functions of other people's modules, replaced when and only if the user's code imports the module.

Notebooks write ``from IPython.display import display`` and ``plt.show()``. Without a kernel IPython
prints the objects' text and matplotlib shows nothing, so both are led to the notebook.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any


def replace_functions(module: str, functions: Mapping[str, Any]) -> None:
    """Replace these functions of a module, now or when it is imported.

    Parameters
    ----------
    module : str
        Its full name.
    functions : mapping
        Name to replacement.
    """
    loaded = sys.modules.get(module)
    if loaded is not None:
        vars(loaded).update(functions)
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if not (isinstance(finder, _Finder) and finder.module == module)
    ]
    sys.meta_path.insert(0, _Finder(module, functions))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module as Python does, and changes it once it has run."""

    def __init__(self, module: str, functions: Mapping[str, Any]) -> None:
        self.module = module
        self._functions = functions

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._functions)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, functions: Mapping[str, Any]) -> None:
        self._loader = loader
        self._functions = functions

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        vars(module).update(self._functions)
