"""Which face a watch gets: a figure with controls, changing text, or lines."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import UsageError
from funcx_lab_magics.watch.faces import DisplayFace, LineFace
from funcx_lab_magics.watch.live import Watch
from funcx_lab_magics.watch.targets import endpoint_source, source_of

if TYPE_CHECKING:
    from funcx_lab import FuncXClient

#: What a figure in a cell is made with.
NEEDED = ("anywidget", "bokeh", "ipywidgets")


def watch(
    tasks: Any = None,
    *,
    endpoint: str | None = None,
    client: FuncXClient | None = None,
    block: bool | None = None,
) -> Watch:
    """Show how tasks are, as they go; parameters, value and errors as `funcx_lab.watch`."""
    if (tasks is None) == (endpoint is None):
        raise UsageError("watch() needs what to watch: futures, tasks, a map or an id; or endpoint=NAME.")
    source = endpoint_source(endpoint, client) if tasks is None else source_of(tasks, client)
    begun = ShownWatch(source)
    shell = _shell()
    begun.look_first()
    place = _give_face(begun, shell)
    if place == "record" and not source.has_end and block is None:
        begun.close()
    elif place != "page" if block is None else block:
        _wait(begun)
    elif place == "capture":
        begun.close()
    else:
        begun.start()
    return begun


class ShownWatch(Watch):
    """A watch that is shown where it was made, and again wherever it is displayed.

    Attributes
    ----------
    panel : object or None
        The figure with its controls, if there is one.
    """

    panel: Any = None
    _cell: object = None

    def _ipython_display_(self) -> None:
        """Show it in another cell; the cell that made it has it already."""
        shell = _shell()
        if shell is not None and shell.execution_count != self._cell:
            _give_face(self, shell)
            self.wake_up()


def _give_face(begun: ShownWatch, shell: Any) -> str:
    """Show a watch here; return where that is: a terminal, a page, a record that is read later, a capture."""
    if getattr(shell, "kernel", None) is None:
        begun.add(LineFace())
        return "terminal"
    from funcx_lab_magics.page.front_end import can_update, is_watched

    begun._cell = shell.execution_count
    if is_watched(shell) and has_widgets():
        from funcx_lab_magics.watch.panel import Panel

        if begun.panel is None:
            begun.panel = Panel(begun)
            begun.add(begun.panel)
        begun.panel.display()
    text = DisplayFace(shell.display_pub, begun.title)
    text.show(begun.board, begun.title, is_over=begun.is_over)
    begun.add(text)
    if is_watched(shell):
        return "page"
    return "record" if can_update(shell) else "capture"


def has_widgets() -> bool:
    """Whether this kernel can make a figure with controls."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def _wait(begun: Watch) -> None:
    """Watch until it is over; an interrupt ends the watch, never its tasks."""
    try:
        begun.run()
    except KeyboardInterrupt:
        if begun.has_end:  # whoever waits for an end wants to know that it was not reached
            raise
    finally:
        begun.close()


def _shell() -> Any:
    """Return the IPython that runs this, if one does; IPython is not imported for it."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
