"""The call that runs now: since when, whether it was stopped, what is told of its end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from funcx_lab.protocol.messages import ErrorInfo, Event
from funcx_lab_endpoint.worker import messages as m
from funcx_lab_endpoint.worker.call import Ended

_STOP_WORDS = {
    "TASK_CANCELLED": "The call was cancelled",
    "WALLTIME_REACHED": "The call reached its walltime",
}


@dataclass(slots=True)
class Running:
    """A call in the user's code."""

    run: m.Run
    #: on the performance counter, as ``kill_at``; in Unix seconds
    begun: float
    wall: float
    is_told: bool = False
    stop_code: str = ""
    kill_at: float = float("inf")

    def stop_error(self) -> ErrorInfo:
        """Return the error of a call that was stopped."""
        seconds = time.perf_counter() - self.begun
        words = _STOP_WORDS[self.stop_code]
        if self.stop_code == "WALLTIME_REACHED":
            words += f" of {self.run.walltime_s:g} s"
        return ErrorInfo(self.stop_code, f"{words} and was stopped after {seconds:.2f} s.")

    def done(self, ended: Ended, seconds: float, first: int, events: list[Event]) -> m.Done:
        """Return the report of its end after ``seconds``."""
        return m.Done(
            self.run.seq,
            ended.ok,
            ended.payload,
            ended.error,
            self.wall,
            self.wall + seconds,
            seconds,
            first,
            events,
            ended.path,
            ended.session,
            ended.is_session_over,
        )
