"""A call in the engine's hands, and a serving session that may hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from funcx_lab.protocol.messages import Outcome
from funcx_lab_endpoint.engine.contract import Call
from funcx_lab_endpoint.worker import messages as m


@dataclass(slots=True, eq=False)
class Job:
    """One call until it has ended.

    Attributes
    ----------
    line : str
        The line it waits in: that of its named session, or of its function.
    is_suspect : bool
        It may be what killed whoever had it, so it runs alone and says when it begins.
    serving : Serving or None
        The session it was sent to; ``seq`` is its number there.
    then : Call or None
        A newer call of the same task, which waits until this one, cancelled, has ended.
    """

    call: Call
    line: str = field(init=False)
    estimate: float = 0.0
    is_suspect: bool = False
    is_cancelled: bool = False
    serving: Serving | None = None
    seq: int = 0
    is_running: bool = False
    then: Call | None = None

    def __post_init__(self) -> None:
        name = self.call.options.session
        self.line = self.call.function_id if name is None else f"session {name}"

    @property
    def execution(self) -> str:
        """The name of its run, nothing before it was sent."""
        return f"{self.serving.sid}.{self.seq}" if self.serving else ""

    def run(self, lost: str) -> m.Run:
        """Return the message that sends it; ``lost``: how its named session was lost, if it was."""
        call = self.call
        return m.Run(
            self.seq,
            call.task_id,
            call.function_id,
            call.payload,
            "" if call.path is None else str(call.path),
            call.options.walltime_s,
            self.is_suspect,
            call.options.session or "",
            lost,
            call.options.requires,
        )


@dataclass(slots=True, eq=False)
class Serving:
    """A serving session that is up.

    Attributes
    ----------
    ahead, nbytes : float, int
        Seconds and bytes of the calls it holds.
    is_closing, is_doubted : bool
        It takes no more calls; it takes none while it is silent.
    alone_seq : int
        This call must stay alone: it is long, a suspect, or may run only once.
    last_line : str
        The line its last call came from.
    """

    sid: str
    worker: Mapping[str, Any]
    idle_since: float
    jobs: dict[int, Job] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    next_seq: int = 1
    ahead: float = 0.0
    nbytes: int = 0
    is_closing: bool = False
    is_doubted: bool = False
    alone_seq: int = 0
    last_line: str = ""

    def take(self, job: Job, *, alone: bool) -> None:
        """Count a call that is about to be sent."""
        job.serving, job.seq = self, self.next_seq
        self.next_seq += 1
        self.jobs[job.seq] = job
        self.ahead += job.estimate
        self.nbytes += len(job.call.payload)
        self.last_line = job.line
        if alone:
            self.alone_seq = job.seq

    def release(self, seq: int) -> Job | None:
        """Count a call no more; return it, or None if it was not here."""
        job = self.jobs.pop(seq, None)
        if job is None:
            return None
        self.ahead = self.ahead - job.estimate if self.jobs else 0.0
        self.nbytes -= len(job.call.payload)
        if self.alone_seq == seq:
            self.alone_seq = 0
        return job


def outcome_of(done: m.Done, worker: Mapping[str, Any]) -> Outcome:
    """Return how a call ended, with the facts of where it ran."""
    facts = {**worker, "session": done.session} if done.session else dict(worker)
    return Outcome(done.ok, done.payload, None, done.error, done.started, done.ended, facts)
