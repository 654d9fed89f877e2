"""The %funcx and %%funcx magics: ``%load_ext funcx_lab``."""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Register the magics, their configuration, completion and the look of tasks."""
    from funcx_lab_magics.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take away what `load_ipython_extension` added."""
    from funcx_lab_magics.extension import unload

    unload(shell)
