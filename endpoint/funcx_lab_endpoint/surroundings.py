"""The process around an agent: its environment, its log, and facts about it that people want to see."""

from __future__ import annotations

import importlib.metadata
import logging
import logging.handlers
import os
import platform
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import funcx_lab
from funcx_lab.launch import keep_private

#: Carried by everything an agent starts; its value is the endpoint's directory.
MARK = "FUNCX_LAB_ENDPOINT"
_LOG_BYTES = 10_000_000
# The caller's tokens, and what belongs to its kernel or notebook server.
_NOT_INHERITED = ("FUNCX_LAB_TOKEN", "FUNCX_LAB_URL", "FUNCX_LAB_JUPYTERHUB_URL", MARK)
_NOT_INHERITED_PREFIXES = ("JUPYTERHUB_", "JPY_", "IPYKERNEL_")
#: What a notebook user asks first about an environment.
_PACKAGES = ("dill", "msgspec", "numpy", "pandas", "parsl", "pyarrow", "scikit-learn", "scipy", "torch")


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for an agent: without tokens and a kernel's settings, with our programs first."""
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _NOT_INHERITED and not name.startswith(_NOT_INHERITED_PREFIXES)
    }
    programs = str(Path(sys.executable).parent)
    path = kept.get("PATH", os.defpath).split(os.pathsep)
    kept["PATH"] = os.pathsep.join([programs, *(each for each in path if each != programs)])
    return kept


def enter(directory: Path) -> None:
    """Make the calling process an agent's: clean its environment and mark what it will start."""
    kept = clean_environment(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ.update(kept)
    os.environ[MARK] = os.path.realpath(directory)
    keep_private()


def log_to(path: Path) -> None:
    """Send the log of this process to ``path``, mode 0600, at most 10 MB and one older file."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("parsl").setLevel(logging.WARNING)


def describe() -> dict[str, Any]:
    """Return host, Python, version and the packages people ask for."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "version": funcx_lab.__version__,
        "packages": packages,
    }
