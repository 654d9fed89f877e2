"""Wait for a task in the cell that started it: replay what it does, and obey interrupts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol.messages import Event
from funcx_lab_magics.page.display import TaskView, short
from funcx_lab_magics.page.failures import interrupted
from funcx_lab_magics.running.progress import PATIENCE_S, Progress
from funcx_lab_magics.tasks import Task


class Stoppable(Protocol):
    """What can be stopped: a task, or a map."""

    @property
    def task_id(self) -> str:
        """What ``%funcx`` finds it by."""

    @property
    def endpoint(self) -> str:
        """Where it runs."""

    def cancel(self) -> int:
        """Cancel it; false if it had already ended."""


def wait(
    task: Task,
    show: Callable[[Event], None],
    say: Callable[[str], None],
    *,
    on_interrupt: str = "cancel",
    patience_s: float = PATIENCE_S,
    has_clock: bool = True,
) -> Any:
    """Replay a task's events until it ends; bring its names into the notebook and return its value.

    Parameters
    ----------
    task : Task
        The task.
    show : callable
        Shows one event here.
    say : callable
        Shows how the task is, in place of what it showed before.
    on_interrupt : str
        ``"cancel"``: the first interrupt cancels the task, a second one only stops waiting.
        ``"detach"``: the first one only stops waiting.
    patience_s, has_clock
        As in `Progress`.

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
        view = TaskView(task.task_id, task.endpoint, created=task.view.created)
        _replay(task, show, say, Progress(view, patience_s, time.time(), has_clock=has_clock))
        return task.result()
    except KeyboardInterrupt:
        if on_interrupt == "detach":
            detach(task)
        cancel(task, say, time.monotonic() - started)


def _replay(
    task: Task, show: Callable[[Event], None], say: Callable[[str], None], progress: Progress
) -> None:
    said = ""
    for event in task.follow():
        if event is not None:
            progress.hear(event, time.time())
            show(event)
        note = progress.note(time.time())
        if note != said:
            say(note)
            said = note


def cancel(task: Stoppable, say: Callable[[str], None], seconds: float) -> NoReturn:
    """Cancel a task after an interrupt and say what became of it; a second interrupt only stops waiting.

    Parameters
    ----------
    task : Stoppable
        The task.
    say : callable
        Shows that the answer is waited for.
    seconds : float
        How long the cell had waited.

    Raises
    ------
    CellInterrupted
        Always.
    """
    name, where, word = short(task.task_id), task.endpoint, task.task_id[-8:]
    try:
        say("■ cancelling; interrupt once more to stop waiting for the answer")
        stopped = task.cancel()
    except KeyboardInterrupt:
        detach(task, "was asked to stop, which nobody has confirmed yet")
    except FuncxLabError as err:
        interrupted(f"{name} on {where} may go on: {err.message} %funcx cancel {word} asks once more.")
    if stopped:
        say("■ cancelled")
        interrupted(f"Cancelled {name} on {where} after {seconds:.0f} s.")
    say("")
    interrupted(f"{name} on {where} had already ended; %funcx result {word} gives its result.")


def detach(task: Stoppable, what: str = "goes on") -> NoReturn:
    """Stop waiting for a task and say how to come back to it.

    Raises
    ------
    CellInterrupted
        Always.
    """
    word = task.task_id[-8:]
    interrupted(
        f"Stopped waiting for {short(task.task_id)} on {task.endpoint}, which {what}: "
        f"%funcx attach {word} shows it, %funcx cancel {word} stops it."
    )
