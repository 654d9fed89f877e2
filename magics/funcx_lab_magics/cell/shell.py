"""``%%funcx --shell``: the cell is a bash script; names that ``-i`` gives it are environment variables."""

from __future__ import annotations

import argparse
import dataclasses
import numbers
import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from IPython.core.error import UsageError

from funcx_lab import serialize
from funcx_lab.serialize import PackedFunction
from funcx_lab.shell import ShellResult, ShellScript
from funcx_lab_magics.cell.capture import Capture, Cell
from funcx_lab_magics.cell.manifest import Manifest
from funcx_lab_magics.cell.ready import ReadyCell

#: Options that mean nothing for a script.
_NOT_WITH = {"exclude": "-x", "map": "--map"}
_CHECK_S = 10.0


class ShellCell(ReadyCell):
    """A script that can be submitted."""

    def pack(self) -> PackedFunction:
        """Return the script as a function of its variables."""
        return serialize.pack_function(ShellScript(self.cell.source))


def prepare_shell(cell: Cell, options: argparse.Namespace, namespace: Mapping[str, Any]) -> ShellCell:
    """Read a script and collect its variables; nothing is sent.

    Parameters
    ----------
    cell : Cell
        The cell.
    options : argparse.Namespace
        The line's options, defaults filled in.
    namespace : mapping
        The notebook's names.

    Raises
    ------
    IPython.core.error.UsageError
        An option that does not fit, a name that cannot be a variable, or a syntax error.
    """
    for name, option in _NOT_WITH.items():
        if getattr(options, name, None):
            raise UsageError(f"{option} does not go with --shell: the cell is a bash script.")
    values = {name: _text(name, namespace) for name in options.include or ()}
    _check_syntax(cell)
    sizes = {name: len(text.encode("utf-8", "surrogateescape")) for name, text in values.items()}
    manifest = Manifest(options.endpoint, Capture(values=values, sizes=sizes), requires=options.requires)
    return ShellCell(cell, manifest, [], {}, options)


def shown(value: Any) -> Any:
    """Return a cell's value; a script's output stands above it already."""
    return dataclasses.replace(value, is_shown=True) if isinstance(value, ShellResult) else value


def _text(name: str, namespace: Mapping[str, Any]) -> str:
    if name not in namespace:
        raise UsageError(f"-i names {name!r}, which is not defined here. Nothing was sent.")
    value = namespace[name]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, numbers.Real):
        return str(value)
    if not isinstance(value, str) or "\0" in value:
        kind = "text with a null byte" if isinstance(value, str) else f"a {type(value).__name__}"
        raise UsageError(
            f"{name!r} is {kind}, and a variable of a script can be text, a number, a path, True or False. "
            "Nothing was sent."
        )
    return value


def _check_syntax(cell: Cell) -> None:
    bash = shutil.which("bash")
    if bash is None:
        return  # the endpoint has one, and says what is wrong
    command = [bash, "-n", "-c", cell.source]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_CHECK_S)
    except (OSError, ValueError, subprocess.TimeoutExpired) as err:
        raise UsageError(f"The script cannot be read: {err}. Nothing was sent.") from None
    if done.returncode:
        raise UsageError(f"The script cannot be read. Nothing was sent.\n{done.stderr.strip()}")
