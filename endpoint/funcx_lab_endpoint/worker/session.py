"""A serving session: runs in a worker, dials the agent's side channel, serves calls from it.

Two threads. The main thread runs the calls, and while it has none it reads the socket itself, so
that a short call passes through no other thread. The watching thread takes the socket over when a
call runs for longer than a tick: it forwards output, hears cancels, keeps time. Whoever holds
``_lock`` owns the socket and everything that is not the user's.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import msgspec
import zmq

from funcx_lab.protocol.messages import LONGEST_S, ErrorInfo, FunctionBody
from funcx_lab_endpoint.worker import messages as m
from funcx_lab_endpoint.worker.apart import Elsewhere, make_environments
from funcx_lab_endpoint.worker.apart_messages import Setup
from funcx_lab_endpoint.worker.call import Caller, Ended
from funcx_lab_endpoint.worker.output import Capture
from funcx_lab_endpoint.worker.place import entered, facts
from funcx_lab_endpoint.worker.running import Running
from funcx_lab_endpoint.worker.surroundings import Interrupter, Surroundings, scrub_environment
from funcx_lab_endpoint.worker.surveyor import Surveyor
from funcx_lab_endpoint.worker.wire import Wire

#: Seconds: the watching thread looks this often; attends to a call this old; tells of it when this
#: old; what a stopped call gets to end by itself.
TICK_S = 0.008
ATTEND_S = 0.016
STARTED_S = 0.05
GRACE_S = 2.0
#: Seconds over its walltime at which a call ends its process whatever it does.
DEAF_S = 8.0
#: Ticks without a call until the watching thread sleeps.
_QUIET_TICKS = 120
#: Calls shorter than this (seconds) may share a frame for as long as this; all others leave alone.
GATHER_S = 0.0005


def serve(arguments: dict[str, Any]) -> dict[str, Any]:
    """Serve calls until told to end, or until the agent is gone.

    Parameters
    ----------
    arguments : dict
        `funcx_lab_endpoint.worker.messages.Arguments` as a mapping; all that is needed.

    Returns
    -------
    dict
        ``{"sid": ..., "reason": ...}``: why it ended.
    """
    given = msgspec.convert(arguments, m.Arguments)
    scrub_environment()
    with open(given.last_words, "w", encoding="utf-8") as last_words:
        faulthandler.enable(last_words, all_threads=False)
        try:
            with entered(given.working_directory, given.umask):
                reason = _run(Session(given, last_words))
        finally:
            faulthandler.disable()
    Path(given.last_words).unlink(missing_ok=True)
    return {"sid": given.sid, "reason": reason}


def _run(session: Session) -> str:
    try:
        return session.run()
    finally:
        session.close()


class Session:
    """The state of one serving session; `run` serves."""

    def __init__(self, arguments: m.Arguments, last_words: TextIO) -> None:
        self._last_words = last_words
        self._calls: deque[m.Run] = deque()
        self._functions: dict[str, FunctionBody] = {}
        self._running: Running | None = None
        #: results about to leave
        self._gathered: list[m.UpItem] = []
        self._gathered_since = 0.0
        self._go = -1
        self._closing = ""
        self._over = False
        self._lock = threading.Lock()
        self._is_wanted = False
        self._active = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._interrupter = Interrupter()
        self._surroundings = Surroundings()
        self._capture = Capture()
        self._interrupter.is_shielded = lambda: self._capture.is_draining
        self._elsewhere = Elsewhere(
            Setup(arguments.sid, arguments.objects, arguments.result_limit),
            make_environments(arguments.environments, arguments.environments_kept),
            self._interrupter,
            self._capture.add,
        )
        self._caller = Caller(
            arguments.sid,
            Path(arguments.objects),
            arguments.result_limit,
            self._interrupter,
            self._capture.add,
            self._elsewhere.perform,
        )
        self._main = threading.get_ident()
        self._pid, self._parent = os.getpid(), os.getppid()
        self._surveyor = Surveyor(is_wanted=arguments.survey)
        self._wire = Wire(arguments, facts(), self._surveyor.take)
        self._poller = zmq.Poller()
        for readable in (self._wire.socket, self._wake_read, *self._capture.reading.values()):
            self._poller.register(readable, zmq.POLLIN)
        self._watcher = threading.Thread(target=self._watch, name="funcx-lab-watch", daemon=True)

    # --- the main thread ----------------------------------------------------------------------------

    def run(self) -> str:
        """Serve; return why it ended."""
        with self._lock:
            self._watcher.start()
            while True:
                now = time.monotonic()
                if now >= self._wire.next_beat:
                    self._wire.beat(now)
                if self._calls:
                    self._run_call(self._calls.popleft())
                elif reason := self._why_end(now):
                    break
                else:
                    self._send_gathered()
                    self._obey(self._wire.wait())
            self._over = True
            self._wire.send([m.Bye(reason)])
            self._wire.linger()
        self._active.set()
        self._watcher.join()
        return reason

    def close(self) -> None:
        """Give back what was taken from the process."""
        self._over = True
        self._surveyor.close()
        self._wire.close()
        self._elsewhere.close()
        self._capture.close()
        self._surroundings.restore()
        self._interrupter.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _why_end(self, now: float) -> str:
        if self._closing:
            return self._closing
        if self._wire.is_fenced:
            return "the agent takes nothing more from it"
        if self._is_agent_gone(now):
            return f"the agent was not heard for {now - self._wire.heard:.0f} s"
        if os.getppid() != self._parent:
            return "its manager is gone"
        return ""

    def _is_agent_gone(self, now: float) -> bool:
        """Ask the wire, after a look at it: a call may have kept us from looking for an hour."""
        if self._wire.is_agent_gone(now):
            self._obey(self._wire.read())
        return self._wire.is_agent_gone(now)

    def _run_call(self, run: m.Run) -> None:
        if run.confirm and not self._is_confirmed(run):
            return
        begun = time.perf_counter()
        running = Running(run, begun, time.time())
        self._capture.begin()
        self._running = running
        if not self._active.is_set():
            self._active.set()
        if run.walltime_s is not None:
            # C code that keeps the GIL stops every thread of ours, but not this one.
            deaf_s = min(run.walltime_s, LONGEST_S) + DEAF_S
            faulthandler.dump_traceback_later(deaf_s, exit=True, file=self._last_words)
        self._lock.release()
        try:
            ended = self._caller.perform(run, self._functions.get(run.function_id))
            if os.getpid() != self._pid:
                os._exit(0)  # a fork of the user's that came back from its function
            self._surroundings.disarm()
            self._capture.flush()
        finally:
            self._take_lock()
            self._running = None
        self._interrupter.is_wanted = False
        if run.walltime_s is not None:
            faulthandler.cancel_dump_traceback_later()
        self._finish(running, ended, time.perf_counter() - begun)
        # The outcome is on its way; the next call may not come before everything is in its place again.
        self._capture.restore()
        self._surroundings.restore()

    def _is_confirmed(self, run: m.Run) -> bool:
        """Ask before entering a call that may have killed a worker; False if it was taken back."""
        self._calls.appendleft(run)
        self._send_gathered()
        self._wire.send([m.Starting(run.seq)])
        while self._go != run.seq and self._calls and self._calls[0] is run:
            now = time.monotonic()
            if now >= self._wire.next_beat:
                self._wire.beat(now)
            if self._is_agent_gone(now):
                self._calls.clear()
                return False
            self._obey(self._wire.wait())
        if not self._calls or self._calls[0] is not run:
            return False
        self._calls.popleft()
        return True

    def _finish(self, running: Running, ended: Ended, seconds: float) -> None:
        if running.stop_code and not ended.ok:
            ended = replace(ended, error=running.stop_error(), payload=b"", path="")
        first, events = self._capture.take(0.0, final=True)
        self._gathered.append(running.done(ended, seconds, first, events))
        clock = running.begun + seconds
        is_short = seconds < GATHER_S and bool(self._calls)
        if not is_short or clock - self._gathered_since > GATHER_S:
            self._gathered_since = clock
            self._send_gathered()

    def _send_gathered(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._wire.send(gathered)

    def _take_lock(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        self._is_wanted = True
        os.write(self._wake_write, b"x")
        self._lock.acquire()
        self._is_wanted = False
        os.read(self._wake_read, 64)

    # --- the watching thread ------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over:
            self._active.wait()
            quiet = 0
            while quiet < _QUIET_TICKS and not self._over:
                time.sleep(TICK_S)
                running = self._running
                quiet = quiet + 1 if running is None else 0
                if running is not None and time.perf_counter() - running.begun >= ATTEND_S:
                    self._attend(running)
            if not self._over:
                self._active.clear()
                if self._running is not None:  # begun between the last look and the clear
                    self._active.set()

    def _attend(self, running: Running) -> None:
        """Own the socket for as long as this call runs."""
        if self._is_wanted:
            return
        with self._lock:
            self._send_gathered()
            while self._running is running and not self._is_wanted:
                self._poller.poll(self._patience_ms(running))
                now = time.monotonic()
                self._obey(self._wire.read())  # before any thought of silence: we may have been stopped
                self._capture.drain()
                self._tell_output(running)
                if now >= self._wire.next_beat:
                    self._wire.beat(now)
                if not self._is_wanted:
                    self._keep_time(running, now)

    def _patience_ms(self, running: Running) -> int:
        age = time.perf_counter() - running.begun
        waits = [self._wire.next_beat - time.monotonic(), running.kill_at - time.perf_counter()]
        if not running.is_told:
            waits.append(STARTED_S - age)
        if running.run.walltime_s is not None and not running.stop_code:
            waits.append(running.run.walltime_s - age)
        if self._capture.has_text or self._interrupter.is_wanted:
            waits.append(0.02)
        return max(0, int(min(waits) * 1000) + 1)

    def _keep_time(self, running: Running, now: float) -> None:
        clock = time.perf_counter()
        age = clock - running.begun
        if not running.is_told and age >= STARTED_S:
            running.is_told = True
            self._wire.send([m.Started(running.run.seq, running.wall)])
        walltime = running.run.walltime_s
        if walltime is not None and age >= walltime and not running.stop_code:
            self._stop(running, "WALLTIME_REACHED")
        if self._interrupter.is_wanted:
            signal.pthread_kill(self._main, signal.SIGINT)
        if clock >= running.kill_at:
            self._give_up(running, running.stop_error())
        if self._wire.is_agent_gone(now) or self._wire.is_fenced:
            self._give_up(running, None)

    def _tell_output(self, running: Running) -> None:
        first, events = self._capture.take(time.time())
        if events:
            self._wire.send([m.Output(running.run.seq, first, events)])

    def _stop(self, running: Running, code: str) -> None:
        """Interrupt the user's function; if it does not end within the grace, end this process."""
        if running.stop_code:
            return
        running.stop_code = code
        running.kill_at = time.perf_counter() + GRACE_S
        self._interrupter.is_wanted = True
        signal.pthread_kill(self._main, signal.SIGINT)

    def _give_up(self, running: Running, error: ErrorInfo | None) -> None:
        """Report the running call if there is somebody to hear, and kill this process."""
        if error is not None:
            first, events = self._capture.take(0.0, final=True)
            seconds = time.perf_counter() - running.begun
            self._wire.send(
                [
                    m.Returned([run.seq for run in self._calls]),
                    running.done(Ended(False, error=error), seconds, first, events),
                    m.Bye("a stopped call did not end"),
                ]
            )
            self._wire.linger()
        os.kill(os.getpid(), signal.SIGKILL)

    # --- with the lock held -------------------------------------------------------------------------

    def _obey(self, items: list[m.DownItem]) -> None:
        for item in items:
            if isinstance(item, m.Run):
                self._calls.append(item)
            elif isinstance(item, m.Learn):
                self._functions[item.function.function_id] = item.function
            elif isinstance(item, m.Go):
                self._go = item.seq
            elif isinstance(item, m.Recall):
                self._hand_back(list(self._calls))
            elif isinstance(item, m.Stop):
                self._cancel(item.seq)
            elif isinstance(item, m.EndNamed):
                self._caller.end_session(item.name)
            elif isinstance(item, m.Ask):
                self._answer(item)
            else:
                self._closing = "told to end"

    def _cancel(self, seq: int) -> None:
        if self._running is not None and self._running.run.seq == seq:
            self._stop(self._running, "TASK_CANCELLED")
        else:
            self._hand_back([run for run in self._calls if run.seq == seq])

    def _answer(self, asked: m.Ask) -> None:
        self._send_gathered()
        held = [run.seq for run in self._calls]
        if self._running is not None:
            held.append(self._running.run.seq)
        self._wire.send([m.Answer(asked.seq, held)])

    def _hand_back(self, runs: list[m.Run]) -> None:
        if runs:
            for run in runs:
                self._calls.remove(run)
            self._wire.send([m.Returned([run.seq for run in runs])])
