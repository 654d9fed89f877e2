"""What a waiting cell says of its task; no I/O, no clock."""

from __future__ import annotations

from funcx_lab.protocol.messages import Event
from funcx_lab.protocol.states import TaskState
from funcx_lab_magics.page.display import LOOKS, TaskView

#: A cell that has been silent for so many seconds is told why, unless it asks for another patience.
PATIENCE_S = 2.0
#: A clock on the page moves so often (seconds): in the first minute, and later.
CLOCK_S, SLOW_CLOCK_S, YOUNG_S = 1.0, 10.0, 60.0
#: What else there is to do when the endpoint is away.
_AWAY = "with -b the cell waits by itself; %funcx endpoints shows the others"
_OUTPUT = ("stdout", "stderr", "display", "update_display", "clear")


class Progress:
    """Decides what a waiting cell says of its task: nothing, until it was silent for a while.

    Parameters
    ----------
    view : TaskView
        Its task; kept up to date by `hear`.
    patience_s : float
        Seconds of silence until the task's state is shown; below 0: never.
    now : float
        Unix seconds, as wherever ``now`` is asked for.
    has_clock : bool
        Say anew how long the task is in its state; otherwise only that the state is another one.
    """

    def __init__(self, view: TaskView, patience_s: float, now: float, *, has_clock: bool = True) -> None:
        self._view, self._patience_s, self._has_clock = view, patience_s, has_clock
        self._begun = self._silent_since = self._clocked = now
        self._state: tuple[str, str] | None = None
        self._note = ""

    def hear(self, event: Event, now: float) -> None:
        """Take in one event of the task."""
        self._view.apply(event)
        if event.kind in _OUTPUT:
            self._silent_since = now

    def note(self, now: float) -> str:
        """Return what to say now; ``""`` for nothing."""
        if self._patience_s < 0 or not (self._note or now - self._silent_since >= self._patience_s):
            return ""
        state = (self._view.state, self._view.reason)
        clock_s = CLOCK_S if now - self._begun < YOUNG_S else SLOW_CLOCK_S
        if state != self._state or (self._has_clock and now - self._clocked >= clock_s):
            self._state, self._clocked = state, now
            self._note = self._words(now)
        return self._note

    def _words(self, now: float) -> str:
        view = self._view
        icon = LOOKS[view.state][0] if view.state in LOOKS else "?"
        hint = _AWAY if view.state == TaskState.WAITING_FOR_EP else ""
        return " · ".join(filter(None, (f"{icon} {view.word}", view.reason, view.elapsed(now), hint)))
