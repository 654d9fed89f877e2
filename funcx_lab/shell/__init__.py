"""Shell commands as functions: a command line with placeholders, or a script, run at an endpoint."""

from __future__ import annotations

from funcx_lab.shell.function import ShellFunction, ShellScript
from funcx_lab.shell.result import ShellResult

__all__ = ["ShellFunction", "ShellResult", "ShellScript"]
