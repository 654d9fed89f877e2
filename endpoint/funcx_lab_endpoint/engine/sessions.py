"""Which call goes to which serving session, and what becomes of the calls of a lost one. Sans-IO.

Facts come in as method calls; what to send gathers in `outbox`, what to tell the agent in `facts`.

* Calls of one function wait in line; functions take turns (`lines`).
* Calls of one named session wait in one line, whatever their function, and go where it lives (`named`).
* A session holds one call, or as many short ones as `demand.AHEAD_S` is worth, so that a worker
  never waits for the next one. When its running call turns long, those behind it are recalled.
* A lost session: the call that was known to run is a `CallLost`; the others go back to the head of
  their lines as *suspects*, are tried again alone, and say so before they enter user code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from funcx_lab.protocol.messages import Event, FunctionBody
from funcx_lab_endpoint.engine.contract import Call, CallDone, CallLost, CallOutput, CallStarted, EngineFact
from funcx_lab_endpoint.engine.demand import AHEAD_BYTES, AHEAD_CALLS, AHEAD_S, RunTimes, sessions_wanted
from funcx_lab_endpoint.engine.jobs import Job, Serving, outcome_of
from funcx_lab_endpoint.engine.lines import Lines
from funcx_lab_endpoint.engine.named import NamedSessions
from funcx_lab_endpoint.engine.vitals import Load
from funcx_lab_endpoint.worker import messages as m

#: Ends that say nothing about how long a function runs.
_STOPPED = ("TASK_CANCELLED", "WALLTIME_REACHED")


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
        self._lines = Lines()
        self._named = NamedSessions()
        self._now = 0.0
        self._jobs: dict[str, Job] = {}
        self._sessions: dict[str, Serving] = {}
        self._handlers: dict[type, Callable[[Serving, Any], None]] = {
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
                self._jobs[call.task_id] = job = Job(call, is_suspect=call.suspect)
                if call.options.session is not None:
                    self._named.enter(call.options.session)
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
        if job.serving is not None:
            self._send(job.serving, m.Stop(job.seq))
            return True
        self._lines.remove(job)
        self._forget(job)
        return True

    def give_back(self, task_id: str) -> bool:
        """Forget a call that no session has; return whether it was one."""
        job = self._jobs.get(task_id)
        if job is None or job.serving is not None:
            return False
        self._lines.remove(job)
        self._forget(job)
        return True

    # --- from the sessions --------------------------------------------------------------------------

    def up(self, sid: str, worker: Mapping[str, Any], now: float) -> None:
        """Take in a session that said hello for the first time."""
        self.moves += 1
        self._sessions[sid] = Serving(sid, worker, now)
        self._dispatch()

    def take(self, sid: str, items: Sequence[m.UpItem], now: float) -> None:
        """Handle what a session reports, in its order."""
        self._now = now
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
        while self._lines and self._give(session):
            pass

    def retire(self, sid: str) -> None:
        """Give a session no more calls, take back what it has not begun, and let it end."""
        session = self._sessions.get(sid)
        if session is not None and not session.is_closing:
            session.is_closing = True
            self._named.lost(sid, "its worker was told to end")
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
        self._named.lost(sid, evidence)
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
        return job.serving.sid if job is not None and job.serving is not None else ""

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
        return len(self._lines)

    @property
    def in_hand(self) -> int:
        """How many calls have not ended."""
        return len(self._jobs)

    @property
    def named(self) -> list[dict[str, Any]]:
        """The named sessions that are up, for people."""
        return self._named.report()

    def is_home(self, sid: str) -> bool:
        """Whether a named session lives in this one."""
        return bool(self._named.at(sid))

    def load(self, sid: str) -> Load:
        """Return what a session has to do."""
        session = self._sessions.get(sid)
        if session is None or not session.jobs:
            return Load.IDLE
        return Load.RUNNING if any(job.is_running for job in session.jobs.values()) else Load.HOLDING

    def wanted(self, limit: int) -> int:
        """Return how many sessions the calls in hand are worth, at most ``limit``."""
        load: dict[str, int] = {}
        long = 0
        for job, count in self._lines.heads():
            name = job.call.options.session
            if name is None:
                load[job.line] = count
            elif not self._named.home(name):
                long += 1
        for session in self._sessions.values():
            long += bool(session.alone_seq)
            for job in session.jobs.values():
                if job.seq != session.alone_seq:
                    load[job.call.function_id] = load.get(job.call.function_id, 0) + 1
        return min(limit, long + sessions_wanted(self.times, load.items(), limit))

    def idle(self, before: float) -> list[str]:
        """Return the sessions that have been without a call since ``before``, longest first."""
        idle = [
            s
            for s in self._sessions.values()
            if not s.jobs and not s.is_closing and s.idle_since <= before and not self._named.at(s.sid)
        ]
        return [session.sid for session in sorted(idle, key=lambda session: session.idle_since)]

    def end_unused(self, before: float) -> None:
        """End the named sessions that nobody has used since ``before``; their workers go on."""
        for name, sid in self._named.expired(before):
            self._send(self._sessions[sid], m.EndNamed(name))

    # --- inside -------------------------------------------------------------------------------------

    def _line_up(self, job: Job, *, first: bool = False) -> None:
        job.serving = None
        job.is_running = False
        self._lines.add(job, first=first)

    def _dispatch(self) -> None:
        """Fill the sessions, the emptiest first, one call at a time."""
        while self._lines:
            given = False
            for session in sorted(self._sessions.values(), key=self._burden):
                if self._give(session):
                    given = True
                    if not self._lines:
                        return
            if not given:
                return

    def _burden(self, session: Serving) -> tuple[float, int]:
        return session.ahead, len(self._named.at(session.sid))

    def _give(self, session: Serving) -> bool:
        """Hand ``session`` the next call in turn if it has room for it."""
        if session.is_closing or session.is_doubted or session.alone_seq:
            return False
        for name in self._named.at(session.sid):
            job = self._lines.head(f"session {name}")
            if job is None:
                continue
            if not self._has_room(session, job):
                return False  # nobody else can take it, so it must not be overtaken for ever
            if session.last_line != job.line:
                self._lines.remove(job)
                self._assign(session, job)
                return True
        job = self._lines.next(lambda job: self._has_room(session, job))
        if job is not None:
            self._assign(session, job)
        return job is not None

    def _has_room(self, session: Serving, job: Job) -> bool:
        name = job.call.options.session
        if name is not None and self._named.home(name) not in ("", session.sid):
            return False
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

    def _assign(self, session: Serving, job: Job) -> None:
        call = job.call
        if call.function_id not in session.known:
            session.known.add(call.function_id)
            function = self._functions.get(call.function_id)
            if function is not None:
                self._send(session, m.Learn(function))
        job.estimate = min(self.times.mean(call.function_id), AHEAD_S)
        session.take(job, alone=job.is_suspect or call.options.at_most_once)
        name, lost = call.options.session, ""
        if name is not None:
            lost = self._named.settle(name, session.sid, str(session.worker.get("host", "")))
        self._send(session, job.run(lost))

    def _send(self, session: Serving, item: m.DownItem) -> None:
        self.outbox.setdefault(session.sid, []).append(item)

    def _forget(self, job: Job) -> None:
        """Take note that a call has ended; one that waited for that gets in line."""
        del self._jobs[job.call.task_id]
        if job.call.options.session is not None:
            self._named.leave(job.call.options.session, self._now)
        if job.then is not None:
            self.submit([job.then])

    def _done(self, session: Serving, done: m.Done) -> None:
        job = session.release(done.seq)
        if job is None:
            return
        self.moves += 1
        call = job.call
        if done.error is None or done.error.code not in _STOPPED:
            self.times.learn(call.function_id, done.seconds)
        self._settled(session, job, done)
        self._forget(job)
        outcome = outcome_of(done, session.worker)
        execution = f"{session.sid}.{done.seq}"
        path = Path(done.path) if done.path else None
        self.facts.append(CallDone(call.task_id, call.tag, execution, outcome, done.first, done.events, path))

    def _settled(self, session: Serving, job: Job, done: m.Done) -> None:
        """Take note of what a call did with its named session, unless that has moved on."""
        name = job.call.options.session
        if name is not None and self._named.home(name) == session.sid:
            self._named.told(name)
            if done.is_session_over:
                self._named.end(name, "")

    def _output(self, session: Serving, item: m.Output) -> None:
        job = session.jobs.get(item.seq)
        if job is not None:
            events: list[Event] = item.events
            self.facts.append(CallOutput(job.call.task_id, job.execution, item.first, events))

    def _started(self, session: Serving, item: m.Started) -> None:
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

    def _starting(self, session: Serving, item: m.Starting) -> None:
        job = session.jobs.get(item.seq)
        if job is not None:
            job.is_running = True
            self._send(session, m.Go(item.seq))

    def _answered(self, session: Serving, answer: m.Answer) -> None:
        """Compare with what it should hold; both directions keep their order, so nothing is under way."""
        missing = [seq for seq in session.jobs if seq <= answer.seq and seq not in answer.held]
        self.answers[session.sid] = f"it does not know of {len(missing)} of its calls" if missing else ""

    def _returned(self, session: Serving, item: m.Returned) -> None:
        for seq in reversed(item.seqs):
            job = session.release(seq)
            if job is not None and job.is_cancelled:
                self._forget(job)
            elif job is not None:
                self._line_up(job, first=True)
        self._dispatch()
