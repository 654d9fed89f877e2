"""A cell that stays with its task: shows what it does, takes its value, and says how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from funcx_lab_magics.page.failures import as_text
from funcx_lab_magics.page.front_end import can_update, is_captured, is_recorded
from funcx_lab_magics.page.replay import Replay
from funcx_lab_magics.running.manifest_line import ManifestLine
from funcx_lab_magics.running.memo import Announcing
from funcx_lab_magics.running.progress import PATIENCE_S
from funcx_lab_magics.running.waiting import wait
from funcx_lab_magics.tasks import Task


@dataclass(frozen=True)
class Manner:
    """How a cell stays with its task.

    Attributes
    ----------
    on_interrupt : str
        ``"cancel"`` or ``"detach"``, as in `wait`.
    patience_s : float
        Seconds of silence until the line tells how the task is; below 0: never.
    stream : bool
        Show output as it comes, not at the end.
    no_raise : bool
        Show an error of the task and return None.
    """

    on_interrupt: str = "cancel"
    patience_s: float = PATIENCE_S
    stream: bool = True
    no_raise: bool = False


def stay(
    shell: Any,
    task: Task,
    line: ManifestLine,
    manner: Manner,
    say_reuse: Callable[[str], None] | None = None,
) -> Any:
    """Stay with a task until it ends; return its value.

    Parameters
    ----------
    say_reuse : callable, optional
        Shows in one line which earlier result the task was given.

    Raises
    ------
    CellInterrupted
        If the user interrupted; ``no_raise`` does not hide that.
    Exception
        As `wait`.
    """
    replay = Replay(shell, task.view.identity(), later=not manner.stream, on_cleared=line.show_anew)
    patience_s = -1.0 if is_recorded(shell) or is_captured(shell) else manner.patience_s
    try:
        show = replay if say_reuse is None else Announcing(task, say_reuse, replay)
        value = wait(
            task,
            show,
            line.show,
            on_interrupt=manner.on_interrupt,
            patience_s=patience_s,
            has_clock=can_update(shell),
        )
    except Exception as err:  # whatever the cell raised
        _end(task, replay, line)
        if not manner.no_raise:
            raise
        sys.stderr.write(as_text(err) + "\n")
        return None
    except KeyboardInterrupt:
        replay.finish()
        raise
    _end(task, replay, line)
    return value


def _end(task: Task, replay: Replay, line: ManifestLine) -> None:
    replay.finish()
    if not task.is_refused:
        task.learn_ending()
        line.end(task)
