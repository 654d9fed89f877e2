"""Cards of maps that change in place: a bar over the items, right at the end."""

from __future__ import annotations

import logging
import sys
import threading
import uuid
from typing import Any

from funcx_lab.task_map import TaskMap
from funcx_lab_magics.front_end import can_update, is_watched

log = logging.getLogger(__name__)

#: A card changes this often (seconds).
TICK_S = 0.25


class MapCard:
    """One view of a map, changed in place where that is possible: a display, or a line of a terminal.

    Parameters
    ----------
    shell : InteractiveShell
        Where it is shown.
    task_map : TaskMap
        The map.
    quiet : bool
        Show nothing.
    """

    def __init__(self, shell: Any, task_map: TaskMap[Any], *, quiet: bool = False) -> None:
        self._shell, self._map, self._quiet = shell, task_map, quiet
        self._display_id = uuid.uuid4().hex
        self._shown = ""

    def show(self, *, final: bool = False) -> None:
        """Show how far the map is; where nobody looks on, only its end."""
        if self._quiet:
            return
        line = self._map.line()
        if can_update(self._shell):
            if line != self._shown and (final or is_watched(self._shell)):
                self._publish()
                self._shown = line
        elif sys.stderr.isatty() or final:
            blank = " " * max(0, len(self._shown) - len(line))
            sys.stderr.write(f"{chr(13) if self._shown else ''}{line}{blank}{chr(10) if final else ''}")
            sys.stderr.flush()
            self._shown = line

    def _publish(self) -> None:
        self._shell.display_pub.publish(
            data={"text/plain": repr(self._map), "text/html": self._map._repr_html_()},
            metadata=metadata(self._map),
            transient={"display_id": self._display_id},
            update=bool(self._shown),
        )

    def follow(self) -> None:
        """Show how far the map is until it has ended."""
        try:
            while not self._map.wait(TICK_S):
                self.show()
            self.show(final=True)
        except Exception:
            log.warning("The card of map %s is not updated any more", self._map.group_id, exc_info=True)


def metadata(task_map: TaskMap[Any]) -> dict[str, Any]:
    """Return what an output's metadata says about a map."""
    return {"funcx": {"map": task_map.group_id, "endpoint": task_map.endpoint, "label": task_map.label}}


def show_map(shell: Any, task_map: TaskMap[Any]) -> None:
    """Display a map here and keep the display up to date until the map ends."""
    card = MapCard(shell, task_map)
    card.show(final=task_map.done() or not is_watched(shell))
    if not task_map.done() and is_watched(shell):
        name = f"funcx-map-{task_map.group_id[-8:]}"
        threading.Thread(target=card.follow, name=name, daemon=True).start()


def install(shell: Any) -> None:
    """Show every map of this notebook as a card, where there is a front end that can update one."""
    if can_update(shell):
        formatter = shell.display_formatter.ipython_display_formatter
        formatter.for_type(TaskMap, lambda task_map: show_map(shell, task_map))


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    formatter = shell.display_formatter.ipython_display_formatter
    if TaskMap in formatter.type_printers:
        formatter.pop(TaskMap)
