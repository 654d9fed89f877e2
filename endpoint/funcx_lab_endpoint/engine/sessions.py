"""Which call goes to which serving session, and what becomes of the calls of a lost one. Sans-IO.

Facts come in as method calls; what to send gathers in `outbox`, what to tell the agent in `facts`.

* Calls of one function wait in line; functions take turns.
* A session holds one call, or as many short ones as `demand.AHEAD_S` is worth, so that a worker
  never waits for the next one. When its running call turns long, those behind it are recalled.
* A lost session: the call that was known to run is a `CallLost`; the others go back to the head of
  their lines as *suspects*, are tried again alone, and say so before they enter user code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from funcx_lab.protocol.messages import Event, FunctionBody, Outcome
from funcx_lab_endpoint.engine.contract import Call, CallDone, CallLost, CallOutput, CallStarted, EngineFact
from funcx_lab_endpoint.engine.demand import AHEAD_BYTES, AHEAD_CALLS, AHEAD_S, RunTimes, sessions_wanted
from funcx_lab_endpoint.engine.vitals import Load
from funcx_lab_endpoint.worker import messages as m

#: Ends that say nothing about how long a function runs.
_STOPPED = ("TASK_CANCELLED", "WALLTIME_REACHED")


@dataclass(slots=True, eq=False)
class _Job:
    call: Call
    estimate: float = 0.0
    is_suspect: bool = False
    is_cancelled: bool = False
    #: the session it was sent to and its number there
    session: _Session | None = None
    seq: int = 0
    is_running: bool = False
    #: a newer call of the same task, which waits until this one, cancelled, has ended
    then: Call | None = None

    @property
    def execution(self) -> str:
        return f"{self.session.sid}.{self.seq}" if self.session else ""


@dataclass(slots=True, eq=False)
class _Session:
    sid: str
    worker: Mapping[str, Any]
    idle_since: float
    jobs: dict[int, _Job] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    next_seq: int = 1
    #: seconds and bytes of the calls it holds
    ahead: float = 0.0
    nbytes: int = 0
    #: takes no more calls; takes none while it is silent
    is_closing: bool = False
    is_doubted: bool = False
    #: this call must stay alone: it is long, a suspect, or may run only once
    alone_seq: int = 0


class Sessions:
    """The calls in hand and the sessions that are up."""

    def __init__(self) -> None:
        #: what to send, by session id
        self.outbox: dict[str, list[m.DownItem]] = {}
        #: what to tell the agent
        self.facts: list[EngineFact] = []
        #: sessions that answered, and what is wrong with them ("" if nothing)
        self.answers: dict[str, str] = {}
        #: a count of sessions that came or went and of calls that began or ended
        self.moves = 0
        self.times = RunTimes()
        self._functions: dict[str, FunctionBody] = {}
        self._lines: dict[str, deque[_Job]] = {}
        self._turns: deque[str] = deque()
        self._jobs: dict[str, _Job] = {}
        self._sessions: dict[str, _Session] = {}
        self._handlers: dict[type, Callable[[_Session, Any], None]] = {
            m.Done: self._done,
            m.Output: self._output,
            m.Started: self._started,
            m.Starting: self._starting,
            m.Returned: self._returned,
            m.Answer: self._answered,
        }

    # --- from the agent -----------------------------------------------------------------------------

    def learn(self, function: FunctionBody) -> None:
        """Remember a function."""
        self._functions[function.function_id] = function

    def submit(self, calls: Iterable[Call]) -> None:
        """Put calls in line; one that is in hand already is ignored, unless it is being cancelled."""
        for call in calls:
            job = self._jobs.get(call.task_id)
            if job is None:
                self._jobs[call.task_id] = job = _Job(call, is_suspect=call.suspect)
                self._line_up(job)
            elif job.is_cancelled:
                job.then = call
        self._dispatch()

    def cancel(self, task_id: str) -> bool:
        """Stop a call; one that never ran is forgotten without a fact."""
        job = self._jobs.get(task_id)
        if job is None:
            return False
        job.is_cancelled, job.then = True, None
        if job.session is not None:
            self._send(job.session, m.Stop(job.seq))
            return True
        del self._jobs[task_id]
        line = self._lines[job.call.function_id]
        line.remove(job)
        if not line:
            del self._lines[job.call.function_id]
            self._turns.remove(job.call.function_id)
        return True

    # --- from the sessions --------------------------------------------------------------------------

    def up(self, sid: str, worker: Mapping[str, Any], now: float) -> None:
        """Take in a session that said hello for the first time."""
        self.moves += 1
        self._sessions[sid] = _Session(sid, worker, now)
        self._dispatch()

    def take(self, sid: str, items: Sequence[m.UpItem], now: float) -> None:
        """Handle what a session reports, in its order."""
        session = self._sessions.get(sid)
        if session is None:
            return
        had_calls = bool(session.jobs)
        for item in items:
            handle = self._handlers.get(type(item))
            if handle is not None:
                handle(session, item)
        session.is_doubted = False
        if had_calls and not session.jobs:
            session.idle_since = now
        while self._turns and self._give(session):
            pass

    def retire(self, sid: str) -> None:
        """Give a session no more calls, take back what it has not begun, and let it end."""
        session = self._sessions.get(sid)
        if session is not None and not session.is_closing:
            session.is_closing = True
            self._send(session, m.Recall())
            self._send(session, m.Close())

    def doubt(self, sid: str) -> None:
        """Give a session no call until it is heard again."""
        session = self._sessions.get(sid)
        if session is not None:
            session.is_doubted = True

    def ask(self, sid: str) -> None:
        """Ask a session which calls it holds."""
        session = self._sessions.get(sid)
        if session is not None:
            self._send(session, m.Ask(session.next_seq - 1))

    def lost(self, sid: str, evidence: str) -> None:
        """Take nothing more from a session that is over, and settle its calls."""
        session = self._sessions.pop(sid, None)
        self.outbox.pop(sid, None)
        if session is None:
            return
        self.moves += 1
        for job in reversed(session.jobs.values()):
            if job.is_running or job.call.options.at_most_once:
                self._forget(job)
                self.facts.append(CallLost(job.call.task_id, job.call.tag, job.execution, evidence))
            elif job.is_cancelled:
                self._forget(job)
            else:
                job.is_suspect = True
                self._line_up(job, first=True)
        self._dispatch()

    def session_of(self, task_id: str) -> str:
        """Return the session that holds a call, or nothing."""
        job = self._jobs.get(task_id)
        return job.session.sid if job is not None and job.session is not None else ""

    # --- questions ----------------------------------------------------------------------------------

    @property
    def sids(self) -> list[str]:
        """Sessions that are up."""
        return list(self._sessions)

    @property
    def serving(self) -> int:
        """How many sessions take calls."""
        return sum(not s.is_closing and not s.is_doubted for s in self._sessions.values())

    @property
    def busy(self) -> int:
        """How many sessions hold calls."""
        return sum(bool(session.jobs) for session in self._sessions.values())

    @property
    def queued(self) -> int:
        """How many calls wait for a session."""
        return sum(map(len, self._lines.values()))

    @property
    def in_hand(self) -> int:
        """How many calls have not ended."""
        return len(self._jobs)

    def load(self, sid: str) -> Load:
        """Return what a session has to do."""
        session = self._sessions.get(sid)
        if session is None or not session.jobs:
            return Load.IDLE
        return Load.RUNNING if any(job.is_running for job in session.jobs.values()) else Load.HOLDING

    def wanted(self, limit: int) -> int:
        """Return how many sessions the calls in hand are worth, at most ``limit``."""
        load = {function_id: len(line) for function_id, line in self._lines.items()}
        long = 0
        for session in self._sessions.values():
            long += bool(session.alone_seq)
            for job in session.jobs.values():
                if job.seq != session.alone_seq:
                    load[job.call.function_id] = load.get(job.call.function_id, 0) + 1
        return min(limit, long + sessions_wanted(self.times, load.items(), limit))

    def idle(self, before: float) -> list[str]:
        """Return the sessions that have been without a call since ``before``, longest first."""
        idle = [
            s for s in self._sessions.values() if not s.jobs and not s.is_closing and s.idle_since <= before
        ]
        return [session.sid for session in sorted(idle, key=lambda session: session.idle_since)]

    # --- inside -------------------------------------------------------------------------------------

    def _line_up(self, job: _Job, *, first: bool = False) -> None:
        job.session = None
        job.is_running = False
        function_id = job.call.function_id
        if function_id not in self._lines:
            self._lines[function_id] = deque()
            self._turns.append(function_id)
        line = self._lines[function_id]
        if first:
            line.appendleft(job)
        else:
            line.append(job)

    def _dispatch(self) -> None:
        """Fill the sessions, the emptiest first, one call at a time."""
        while self._turns:
            given = False
            for session in sorted(self._sessions.values(), key=lambda session: session.ahead):
                if self._give(session):
                    given = True
                    if not self._turns:
                        return
            if not given:
                return

    def _give(self, session: _Session) -> bool:
        """Hand ``session`` the next call of the functions in turn if it has room for it."""
        if session.is_closing or session.is_doubted or session.alone_seq:
            return False
        for _ in range(len(self._turns)):
            function_id = self._turns[0]
            self._turns.rotate(-1)
            line = self._lines[function_id]
            if self._has_room(session, line[0]):
                self._assign(session, line.popleft())
                if not line:
                    self._turns.pop()
                    del self._lines[function_id]
                return True
        return False

    def _has_room(self, session: _Session, job: _Job) -> bool:
        if not session.jobs:
            return True
        if job.is_suspect or job.call.options.at_most_once:
            return False
        return (
            session.ahead < AHEAD_S
            and self.times.mean(job.call.function_id) < AHEAD_S
            and len(session.jobs) < AHEAD_CALLS
            and session.nbytes < AHEAD_BYTES
        )

    def _assign(self, session: _Session, job: _Job) -> None:
        call = job.call
        if call.function_id not in session.known:
            session.known.add(call.function_id)
            function = self._functions.get(call.function_id)
            if function is not None:
                self._send(session, m.Learn(function))
        job.session, job.seq = session, session.next_seq
        job.estimate = min(self.times.mean(call.function_id), AHEAD_S)
        session.next_seq += 1
        session.jobs[job.seq] = job
        session.ahead += job.estimate
        session.nbytes += len(call.payload)
        if job.is_suspect or call.options.at_most_once:
            session.alone_seq = job.seq
        path = "" if call.path is None else str(call.path)
        run = m.Run(
            job.seq,
            call.task_id,
            call.function_id,
            call.payload,
            path,
            call.options.walltime_s,
            job.is_suspect,
        )
        self._send(session, run)

    def _send(self, session: _Session, item: m.DownItem) -> None:
        self.outbox.setdefault(session.sid, []).append(item)

    def _release(self, session: _Session, seq: int) -> _Job | None:
        job = session.jobs.pop(seq, None)
        if job is None:
            return None
        session.ahead = session.ahead - job.estimate if session.jobs else 0.0
        session.nbytes -= len(job.call.payload)
        if session.alone_seq == seq:
            session.alone_seq = 0
        return job

    def _forget(self, job: _Job) -> None:
        """Take note that a call has ended; one that waited for that gets in line."""
        del self._jobs[job.call.task_id]
        if job.then is not None:
            self.submit([job.then])

    def _done(self, session: _Session, done: m.Done) -> None:
        job = self._release(session, done.seq)
        if job is None:
            return
        self.moves += 1
        call = job.call
        if done.error is None or done.error.code not in _STOPPED:
            self.times.learn(call.function_id, done.seconds)
        self._forget(job)
        outcome = Outcome(
            done.ok, done.payload, None, done.error, done.started, done.ended, dict(session.worker)
        )
        execution = f"{session.sid}.{done.seq}"
        path = Path(done.path) if done.path else None
        self.facts.append(CallDone(call.task_id, call.tag, execution, outcome, done.first, done.events, path))

    def _output(self, session: _Session, item: m.Output) -> None:
        job = session.jobs.get(item.seq)
        if job is not None:
            events: list[Event] = item.events
            self.facts.append(CallOutput(job.call.task_id, job.execution, item.first, events))

    def _started(self, session: _Session, item: m.Started) -> None:
        job = session.jobs.get(item.seq)
        if job is None:
            return
        self.moves += 1
        job.is_running = True
        call = job.call
        self.facts.append(CallStarted(call.task_id, call.tag, job.execution, item.time, dict(session.worker)))
        session.alone_seq = item.seq
        if len(session.jobs) > 1:
            self._send(session, m.Recall())

    def _starting(self, session: _Session, item: m.Starting) -> None:
        job = session.jobs.get(item.seq)
        if job is not None:
            job.is_running = True
            self._send(session, m.Go(item.seq))

    def _answered(self, session: _Session, answer: m.Answer) -> None:
        """Compare with what it should hold; both directions keep their order, so nothing is under way."""
        missing = [seq for seq in session.jobs if seq <= answer.seq and seq not in answer.held]
        self.answers[session.sid] = f"it does not know of {len(missing)} of its calls" if missing else ""

    def _returned(self, session: _Session, item: m.Returned) -> None:
        for seq in reversed(item.seqs):
            job = self._release(session, seq)
            if job is not None and job.is_cancelled:
                self._forget(job)
            elif job is not None:
                self._line_up(job, first=True)
        self._dispatch()
