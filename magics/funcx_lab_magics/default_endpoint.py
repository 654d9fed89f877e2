"""Where a cell goes whose line names no endpoint, and who said so.

JupyterLab's toolbar keeps a default in the notebook's metadata. A kernel cannot read those, so the Jupyter
server writes it beside, in ``$FUNCX_LAB_HOME/notebooks/<SHA-256 of the notebook's path>.json``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funcx_lab.config import home
from funcx_lab.errors import ConfigError
from funcx_lab_magics.settings import FuncX

log = logging.getLogger(__name__)

#: What ``%funcx config`` calls the notebook as the one who says something.
NOTEBOOK = "this notebook"


@dataclass(frozen=True)
class Default:
    """An endpoint, and who says that cells go there.

    Attributes
    ----------
    name : str
        Name or id of the endpoint.
    origin : str
        Who says so, in words.
    """

    name: str
    origin: str


class DefaultEndpoint:
    """Finds the endpoint of cells whose line names none.

    Parameters
    ----------
    settings : FuncX
        What the kernel and IPython's configuration say.
    file : callable
        Gives the notebook's own file, or None if the front end did not tell it.
    """

    def __init__(self, settings: FuncX, file: Callable[[], Path | None]) -> None:
        self._settings, self._file = settings, file
        self._told, self._saved = _Watched(_told_name), _Watched(_saved_name)

    def find(self) -> Default:
        """Return the default: of ``%funcx config`` here, else of the notebook, else as configured."""
        settings = self._settings
        if not settings.is_set_here("endpoint") and (name := self._of_notebook()):
            return Default(name, NOTEBOOK)
        return Default(settings.endpoint, settings.origin("endpoint"))

    def _of_notebook(self) -> str:
        """Return what the notebook says, ``""`` for nothing: first what the server told, else its file."""
        file = self._file()
        if file is None:
            return ""
        try:
            told = self._told.read(told_file(file))
        except ConfigError:
            log.info("No home directory to look for the notebook's endpoint in", exc_info=True)
            told = None
        if told is not None:
            return told
        return self._saved.read(file) or ""


def told_file(notebook: Path) -> Path:
    """Return the file in which the Jupyter server tells a notebook's default endpoint.

    Parameters
    ----------
    notebook : Path
        Absolute path of the notebook.

    Raises
    ------
    funcx_lab.errors.ConfigError
        If there is no home directory.
    """
    digest = hashlib.sha256(str(notebook).encode("utf-8", "surrogateescape")).hexdigest()
    return home() / "notebooks" / f"{digest}.json"


class _Watched:
    """What a JSON file says, read again only when the file has changed.

    Parameters
    ----------
    pick : callable
        Takes the endpoint's name from what the file holds; whatever it raises counts as no name.
    """

    def __init__(self, pick: Callable[[Mapping[str, Any]], object]) -> None:
        self._pick = pick
        self._seen: tuple[Any, ...] | None = None
        self._name = ""

    def read(self, path: Path) -> str | None:
        """Return the name, ``""`` if the file has none, or None if there is no such file."""
        try:
            facts = os.stat(path)
        except OSError:
            return None
        seen = (path, facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if seen != self._seen:
            self._seen, self._name = seen, self._load(path)
        return self._name

    def _load(self, path: Path) -> str:
        try:
            name = self._pick(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            log.info("%s names no endpoint", path, exc_info=True)
            return ""
        return name.strip() if isinstance(name, str) else ""


def _told_name(document: Mapping[str, Any]) -> object:
    return document.get("default_endpoint")


def _saved_name(document: Mapping[str, Any]) -> object:
    return document["metadata"].get("funcx", {}).get("default_endpoint")
