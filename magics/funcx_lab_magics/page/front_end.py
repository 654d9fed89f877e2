"""What shows a notebook's outputs: whether displays can change, whether somebody looks, which file it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from IPython.core.displaypub import CapturingDisplayPublisher


def can_update(shell: Any) -> bool:
    """Whether a display can change after it was shown: in a kernel, and not under ``%%capture``."""
    return getattr(shell, "kernel", None) is not None and not is_captured(shell)


def is_captured(shell: Any) -> bool:
    """Whether what is shown goes to a variable (``%%capture``)."""
    return isinstance(getattr(shell, "display_pub", None), CapturingDisplayPublisher)


def is_recorded(shell: Any) -> bool:
    """Whether nobody looks on: nbconvert and papermill run a notebook and record what is left at the end.

    They say so by forbidding the kernel to ask for input.
    """
    if getattr(shell, "kernel", None) is None:
        return False
    asked = shell.get_parent() or {}
    return (asked.get("content") or {}).get("allow_stdin") is False


def is_watched(shell: Any) -> bool:
    """Whether somebody sees displays change."""
    return can_update(shell) and not is_recorded(shell)


def notebook_file(shell: Any) -> Path | None:
    """Return the notebook's own file, if its front end told the kernel."""
    told = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    path = Path(str(told))
    return path if path.suffix == ".ipynb" and path.is_absolute() else None
