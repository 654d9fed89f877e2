"""Make this process unable to unpickle: what users send stays bytes here, whatever a library does."""

from __future__ import annotations

import sys
from typing import Any

_BANNED = ("dill", "cloudpickle")
_installed = False


def refuse_unpickling() -> None:
    """Refuse every class that an unpickler asks for, for the rest of the process's life.

    An import ban alone cannot hold: pyzmq, tornado and sqlite-utils import pickle themselves.
    """
    global _installed
    if _installed:
        return
    for name in _BANNED:
        if name in sys.modules:
            raise RuntimeError(f"{name} was imported before the hub service could refuse it.")
        sys.modules[name] = None  # type: ignore[assignment]  # how Python says: not importable
    sys.addaudithook(_refuse)
    _installed = True


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        raise RuntimeError(f"The hub service never unpickles; something asked for {arguments!r:.200}.")
