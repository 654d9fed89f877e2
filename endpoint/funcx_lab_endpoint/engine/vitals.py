"""Whether a serving session still lives: what its silence means, and when it is asked. Sans-IO.

Silence alone ends no session that runs a call: C code may keep every thread of Python for an hour.
Its connection tells, since ZeroMQ answers for a process as long as that is neither dead nor stopped.
A session without a call has no excuse: it beats every 2 s and answers what it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: Seconds that the last frames of a dead worker may take to arrive, and its exit code.
DYING_S = 0.1
EXIT_CODE_S = 2.0
#: A session that its engine gave up, or whose engine failed, is lost after this silence.
ABANDONED_S = 6.0
#: One that runs no call, or is not known to run one, after this; one that does, after this.
IDLE_SILENCE_S = 20.0
RUNNING_SILENCE_S = 45.0
#: After this silence a session gets no further calls until it is heard again.
DOUBT_S = 6.0
#: Seconds between questions to a session that runs nothing, and until the answer is overdue.
ASK_S = 30.0
ANSWER_S = 20.0


class Load(Enum):
    """What a session has to do."""

    IDLE = "idle"
    #: it has calls, none of which is known to run
    HOLDING = "holding"
    RUNNING = "running"


@dataclass(slots=True)
class Vitals:
    """What is known of a session that was asked for.

    Attributes
    ----------
    mark : str
        The engine that was asked.
    asked : float
        When (monotonic seconds, as all times here).
    heard : float
        When it last said anything.
    is_connected : bool
        Whether its connection stands.
    is_up, is_retired : bool
        It said hello; it was told to end.
    ended : str or None
        What the engine said when it gave it up.
    dead_at : float or None
        When its process was seen dead.
    question_at : float or None
        When it was asked what it holds and has not answered yet.
    """

    mark: str
    asked: float
    heard: float = 0.0
    is_connected: bool = True
    is_up: bool = False
    is_retired: bool = False
    ended: str | None = None
    dead_at: float | None = None
    question_at: float | None = None
    _next_question: float = 0.0

    def is_doubtful(self, now: float) -> bool:
        """Whether it has been silent for so long that it should get no call."""
        return self.is_up and now - self.heard > DOUBT_S

    def is_orphan(self, mark: str) -> bool:
        """Whether it serves although the engine that lives now does not have it."""
        return self.is_up and not self.is_retired and (self.mark != mark or self.ended is not None)

    def wants_question(self, now: float, load: Load) -> bool:
        """Whether to ask it now; a call that runs long is proof enough that it works."""
        if load is Load.RUNNING or not self.is_up:
            self.question_at, self._next_question = None, now + ASK_S
            return False
        if self._next_question == 0.0:
            self._next_question = now + ASK_S
        if self.question_at is not None or now < self._next_question:
            return False
        self.question_at, self._next_question = now, now + ASK_S
        return True

    def answered(self) -> None:
        """Take note of the answer."""
        self.question_at = None

    def why_lost(self, now: float, load: Load, *, tells_exit: bool, engine_trouble: str) -> str:
        """Return why the session must be taken for lost, or nothing.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        load : Load
            What it has to do.
        tells_exit : bool
            Its engine lives and will say how the process ended.
        engine_trouble : str
            Why its engine failed; empty if that lives.
        """
        if not self.is_up:
            return self.ended or ""
        if self.dead_at is not None:
            patience = EXIT_CODE_S if tells_exit and self.ended is None else DYING_S
            return self._death(engine_trouble) if now - self.dead_at >= patience else ""
        return self._silence(now, load, engine_trouble)

    def _death(self, engine_trouble: str) -> str:
        words = self.ended or "the process died"
        return f"{words} after its engine failed: {engine_trouble}" if engine_trouble else words

    def _silence(self, now: float, load: Load, engine_trouble: str) -> str:
        silence = now - self.heard
        if load is not Load.IDLE and self.is_connected:
            return ""
        if self.ended is not None and silence > ABANDONED_S:
            return self.ended
        if engine_trouble and silence > ABANDONED_S:
            return f"silent since its engine failed: {engine_trouble}"
        if silence > (RUNNING_SILENCE_S if load is Load.RUNNING else IDLE_SILENCE_S):
            return f"not heard for {silence:.0f} s"
        if load is Load.IDLE and self.question_at is not None and now - self.question_at > ANSWER_S:
            return f"it did not answer within {ANSWER_S:.0f} s"
        return ""
