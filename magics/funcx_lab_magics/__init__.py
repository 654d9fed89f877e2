"""The %funcx and %%funcx magics: ``%load_ext funcx_lab``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funcx_lab_magics.watch.live import Watch


def load_ipython_extension(shell: Any) -> None:
    """Register the magics, their configuration, completion and the look of tasks."""
    from funcx_lab_magics.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take away what `load_ipython_extension` added."""
    from funcx_lab_magics.extension import unload

    unload(shell)


def watch_tasks(tasks: Any, **options: Any) -> Watch:
    """Show how tasks are, as they go; parameters, value and errors as `funcx_lab.watch`."""
    from funcx_lab_magics.watch.show import watch

    return watch(tasks, **options)
