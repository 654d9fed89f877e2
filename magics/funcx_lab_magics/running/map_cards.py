"""Cards of maps that change in place: a bar over the items, right at the end."""

from __future__ import annotations

from typing import Any

from funcx_lab.maps.live import LiveView
from funcx_lab.maps.task_map import TaskMap
from funcx_lab_magics.page.front_end import can_update


def map_card(shell: Any, task_map: TaskMap[Any]) -> LiveView:
    """Return a view of a map: a display where one can change, else a line of the terminal."""
    about = {"map": task_map.group_id, "endpoint": task_map.endpoint, "label": task_map.label}
    return LiveView(task_map, shell if can_update(shell) else None, {"funcx": about})


def show_map(shell: Any, task_map: TaskMap[Any]) -> None:
    """Display a map here and keep the display up to date until the map ends."""
    card = map_card(shell, task_map)
    if task_map.done() or not can_update(shell):
        card.show(final=True)
    else:
        card.follow_beside()


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
