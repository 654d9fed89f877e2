"""IPython's display functions, led to the notebook in a process that has no kernel.

Notebooks write ``from IPython.display import display``. Without a kernel IPython prints the objects'
text, so its functions are replaced, when and only if the user's code imports IPython.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

#: Where IPython defines the functions that ``IPython.display`` offers.
MODULE = "IPython.core.display_functions"


def replace_display(functions: Mapping[str, Any]) -> None:
    """Replace these of IPython's display functions, now or when it is imported.

    Parameters
    ----------
    functions : mapping
        Name to replacement.
    """
    loaded = sys.modules.get(MODULE)
    if loaded is not None:
        vars(loaded).update(functions)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    sys.meta_path.insert(0, _Finder(functions))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the one module as Python does, and changes it once it has run."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != MODULE:
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
