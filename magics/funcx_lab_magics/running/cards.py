"""Cards of tasks that change in place: one display, updated from a thread until the task ends.

Updates go by display id, never by printing: what a thread prints lands in whichever cell runs then.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from dataclasses import replace
from typing import Any

from funcx_lab_magics.page.display import TaskView
from funcx_lab_magics.page.front_end import is_watched
from funcx_lab_magics.running.progress import CLOCK_S, SLOW_CLOCK_S, YOUNG_S
from funcx_lab_magics.tasks import Task

log = logging.getLogger(__name__)

#: A card changes at most this often (seconds) ...
FASTEST_S = 0.25


def show_card(shell: Any, task: Task) -> None:
    """Display a task here and keep the display up to date until the task ends."""
    view = TaskView(task.task_id, task.endpoint, task.view.label, created=task.view.created)
    view.cell = task.view.cell
    display_id = uuid.uuid4().hex
    publish(shell, task.view, display_id, update=False)
    if not task.view.is_final and is_watched(shell):
        follower = threading.Thread(
            target=_follow,
            args=(shell, task, view, display_id),
            name=f"funcx-card-{display_id[:8]}",
            daemon=True,
        )
        follower.start()


def publish(shell: Any, view: TaskView, display_id: str, *, update: bool) -> None:
    """Send a task's card as a display message."""
    shell.display_pub.publish(
        data=view.bundle(), metadata=view.metadata(), transient={"display_id": display_id}, update=update
    )


def _follow(shell: Any, task: Task, view: TaskView, display_id: str) -> None:
    try:
        _keep_up_to_date(shell, task, view, display_id)
        task.learn_ending()
        publish(shell, replace(task.view, tail=view.tail), display_id, update=True)
    except Exception:
        log.warning("The card of task %s is not updated any more", view.task_id, exc_info=True)


def _keep_up_to_date(shell: Any, task: Task, view: TaskView, display_id: str) -> None:
    shown, changed = time.monotonic(), False
    for event in task.follow():
        if event is not None:
            view.apply(event)
            changed = True
        now = time.monotonic()
        clock = CLOCK_S if time.time() - view.created < YOUNG_S else SLOW_CLOCK_S
        if now - shown >= (FASTEST_S if changed else clock):
            publish(shell, view, display_id, update=True)
            shown, changed = now, False


def install(shell: Any) -> None:
    """Show every task of this notebook as a card, where there is a front end that can update one."""
    if getattr(shell, "kernel", None) is not None:
        shell.display_formatter.ipython_display_formatter.for_type(Task, lambda task: show_card(shell, task))


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    formatter = shell.display_formatter.ipython_display_formatter
    if Task in formatter.type_printers:
        formatter.pop(Task)
