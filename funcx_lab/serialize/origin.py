"""What the other side has anyway, and therefore travels as a name only."""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
from types import ModuleType
from typing import Any

_PACKAGE_FOLDERS = ("site-packages", "dist-packages")


def _folders() -> tuple[str, ...]:
    paths = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(site.getsitepackages())
    paths.add(os.path.dirname(os.__file__))
    return tuple(os.path.realpath(path) + os.sep for path in paths if path)


_INSTALLED = _folders()


def is_installed(name: str) -> bool:
    """Whether module ``name`` belongs to Python, to an installed package or to funcx-lab itself.

    A module that lies beside the user's notebook does not: the endpoint does not have it.
    """
    top = name.partition(".")[0]
    if top in ("__main__", "__mp_main__"):
        return False
    if top in sys.stdlib_module_names or top.split("_")[:2] == ["funcx", "lab"]:
        return True
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or _first_path(sys.modules.get(top))
    if file is None:
        return module is not None and getattr(module, "__spec__", None) is not None
    return _in_packages(file)


@functools.lru_cache(maxsize=4096)
def _in_packages(file: str) -> bool:
    path = os.path.realpath(file)
    return path.startswith(_INSTALLED) or any(part in path.split(os.sep) for part in _PACKAGE_FOLDERS)


def _first_path(module: ModuleType | None) -> str | None:
    paths = list(getattr(module, "__path__", []))
    return str(paths[0]) if paths else None


def find(module: str | None, qualname: str) -> Any:
    """Return the object at ``qualname`` of a module that is imported, else None."""
    found: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def by_reference(thing: Any) -> bool:
    """Whether a function or class can be found by its name in an installed module."""
    module = getattr(thing, "__module__", None)
    qualname = getattr(thing, "__qualname__", "")
    return isinstance(module, str) and is_installed(module) and find(module, qualname) is thing
