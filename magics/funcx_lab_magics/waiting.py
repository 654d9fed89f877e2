"""Wait for a task in the cell that started it: replay what it does, and obey interrupts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn

from funcx_lab.protocol.messages import Event
from funcx_lab_magics.display import TaskView, short
from funcx_lab_magics.failures import CellInterrupted, show_as
from funcx_lab_magics.tasks import Task

#: A cell that has waited this long (seconds) is told why.
PATIENCE_S = 2.0


def wait(
    task: Task, show: Callable[[Event], None], say: Callable[[str], None], *, on_interrupt: str = "cancel"
) -> Any:
    """Replay a task's events until it ends; bring its names into the notebook and return its value.

    Parameters
    ----------
    task : Task
        The task.
    show : callable
        Shows one event here.
    say : callable
        Shows what the task waits for; ``""`` when it does not wait.
    on_interrupt : str
        ``"cancel"``: the first interrupt cancels the task, a second one only stops waiting.
        ``"detach"``: the first one only stops waiting.

    Raises
    ------
    CellInterrupted
        If the user interrupted.
    FuncxLabError
        If the hub service refused the task, or it cannot be followed.
    Exception
        As `Task.result`.
    """
    started = time.monotonic()
    try:
        task.wait_accepted()
        _replay(task, show, say, started)
        return task.result()
    except KeyboardInterrupt:
        _interrupted(task, time.monotonic() - started, on_interrupt)


def _replay(task: Task, show: Callable[[Event], None], say: Callable[[str], None], started: float) -> None:
    view, said = TaskView(task.task_id, task.endpoint), ""
    for event in task.follow():
        if event is not None:
            view.apply(event)
            show(event)
        reason = _reason(view) if time.monotonic() - started >= PATIENCE_S else ""
        if reason != said:
            say(reason)
            said = reason
    if said:
        say("")


def _reason(view: TaskView) -> str:
    if view.is_final or view.state == "running":
        return ""
    return f"{view.word}: {view.reason}" if view.reason else view.word


def _interrupted(task: Task, seconds: float, on_interrupt: str) -> NoReturn:
    if on_interrupt == "detach":
        _detach(task)
    try:
        stopped = task.cancel()
    except KeyboardInterrupt:
        _detach(task)
    name, where = short(task.task_id), task.endpoint
    if stopped:
        _stop(f"Cancelled {name} on {where} after {seconds:.0f} s.")
    _stop(f"{name} on {where} had already ended; %funcx result {task.task_id[-8:]} gives its result.")


def _detach(task: Task) -> NoReturn:
    word = task.task_id[-8:]
    _stop(
        f"Stopped waiting for {short(task.task_id)}, which goes on at {task.endpoint}: "
        f"%funcx attach {word} shows it, %funcx cancel {word} stops it."
    )


def _stop(message: str) -> NoReturn:
    raise show_as(CellInterrupted(message), [message]) from None
