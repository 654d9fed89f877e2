"""The engine host: side channel, sessions and supervised engine behind `contract.EngineHost`."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from funcx_lab.launch import users_umask
from funcx_lab.protocol.messages import FunctionBody
from funcx_lab_endpoint.config import EndpointConfig
from funcx_lab_endpoint.engine.contract import Call, EngineFact, EngineHost
from funcx_lab_endpoint.engine.evidence import Evidence, is_here
from funcx_lab_endpoint.engine.leftovers import clear_directories
from funcx_lab_endpoint.engine.progress import Caution, EndBlock, Progress
from funcx_lab_endpoint.engine.readiness import Readiness
from funcx_lab_endpoint.engine.reasons import why_calls_wait
from funcx_lab_endpoint.engine.roster import Roster
from funcx_lab_endpoint.engine.sessions import Sessions
from funcx_lab_endpoint.engine.side_channel import Peer, SideChannel, as_mapping
from funcx_lab_endpoint.engine.stall import EndAll, Watchdog
from funcx_lab_endpoint.engine.supervisor import Supervisor
from funcx_lab_endpoint.engine.vitals import DYING_S, Vitals
from funcx_lab_endpoint.worker import messages as m

logger = logging.getLogger(__name__)

#: Seconds between looks at silence, demand and idleness.
TICK_S = 0.5
#: New calls are looked at together for more demand after this many seconds.
DEMAND_S = 0.05
#: Seconds between looks after which this process must have been stopped: others were not silent then.
PAUSE_S = 5.0
#: Seconds until the worker of a cancelled call is killed from here; it is deaf if C code keeps the GIL.
STOP_LIMIT_S = 6.0


def open_host(config: EndpointConfig, directory: Path) -> EngineHost:
    """Return the engine host of an endpoint; nothing is started yet.

    Parameters
    ----------
    config : EndpointConfig
        What ``directory/config.py`` holds; the engine process reads that file itself.
    directory : Path
        The endpoint's directory.
    """
    return Host(config, directory)


class Host:
    """See `contract.EngineHost`."""

    def __init__(self, config: EndpointConfig, directory: Path) -> None:
        self._config = config
        self._objects = directory / "objects"
        #: what every session is given
        self._given = {
            "objects": str(self._objects),
            "result_limit": config.result_limit,
            "working_directory": config.working_directory or "",
            "umask": users_umask(),
        }
        self._last_words = directory / "runs" / "last_words"
        self._readiness = Readiness()
        self._supervisor = Supervisor(directory / "config.py", directory / "runs", self._readiness)
        self._sessions = Sessions()
        self._channel: SideChannel | None = None
        self._roster = Roster()
        self._engine: dict[str, Any] = {}
        self._report: dict[str, Any] = {}
        self._next_tick = 0.0
        self._looked = time.monotonic()
        self._progress = Progress()
        self._watchdog = Watchdog(self._progress, self._sessions, self._roster, self._node_of)
        self._evidence_book = Evidence(self._last_words)
        #: cancelled calls and when their workers are killed
        self._stopping: dict[str, float] = {}
        self._caution = Caution()

    # --- contract -----------------------------------------------------------------------------------

    def start(self) -> None:
        """End what an earlier life left behind and start the engine process."""
        clear_directories(self._objects, self._last_words)
        self._supervisor.start(time.monotonic())

    def pollables(self) -> Sequence[Any]:
        """Return what to poll for input."""
        sockets = self._channel.sockets if self._channel is not None else []
        return [*sockets, *self._readiness.fds]

    def learn(self, function: FunctionBody) -> None:
        """Remember a function."""
        self._sessions.learn(function)

    def submit(self, calls: Sequence[Call]) -> None:
        """Take calls."""
        self._sessions.submit(calls)
        now = time.monotonic()
        self._flush(now)
        if not self._sessions.serving:
            self._meet_demand(now)
        self._next_tick = min(self._next_tick, now + DEMAND_S)

    def cancel(self, task_id: str) -> bool:
        """Stop a call."""
        is_known = self._sessions.cancel(task_id)
        now = time.monotonic()
        if self._sessions.session_of(task_id):
            self._stopping[task_id] = now + STOP_LIMIT_S
        self._flush(now)
        return is_known

    def poll(self, now: float, ready: Collection[Any] | None = None) -> list[EngineFact]:
        """Handle what is ready and due."""
        if self._channel is not None:
            for peer, items in self._channel.receive(now, ready):
                self._take(peer, items, now)
        if ready is None or now >= self.next_deadline(now) or any(fd in ready for fd in self._readiness.fds):
            self._look_around(now)
        self._flush(now)
        facts, self._sessions.facts = self._sessions.facts, []
        return facts

    def next_deadline(self, now: float) -> float:
        """Return when `poll` wants to be called at the latest."""
        return min(self._next_tick, self._supervisor.next_deadline(now))

    @property
    def credit(self) -> int:
        """How many calls in flight keep all workers busy for about a second."""
        return self._sessions.times.credit(max(self._sessions.serving, self._engine.get("limit", 1)))

    @property
    def waiting_reason(self) -> str:
        """Why calls wait."""
        if self._sessions.serving:
            return ""
        return why_calls_wait(
            self._report, self._caution.trouble, self._supervisor.trouble, is_ready=self._supervisor.is_ready
        )

    def status(self) -> dict[str, Any]:
        """Return JSON facts about workers, calls and the engine."""
        return {
            "workers": self._sessions.serving,
            "busy": self._sessions.busy,
            "queued": self._sessions.queued,
            "in_hand": self._sessions.in_hand,
            "limit": self._engine.get("limit", 0),
            "blocks": self._report.get("blocks", {}),
            "managers": self._report.get("managers", 0),
            "engine": "up" if self._supervisor.is_ready else "starting",
            "engine_pid": self._supervisor.pid,
            "watched_pids": self._supervisor.watched,
            "worker_pids": sorted(peer.worker["pid"] for peer in self._peers() if peer.worker),
            "trouble": self._caution.trouble or self._report.get("trouble", "") or self._supervisor.trouble,
            "restarts": self._supervisor.restarts,
            "sessions": self._sessions.named[:SESSIONS_TOLD],
            "environment": self._roster.environment,
        }

    def stop(self, timeout: float) -> None:
        """End sessions, engine and every process of it."""
        deadline = time.monotonic() + timeout
        self._say_goodbye(min(1.0, timeout / 4))
        self._supervisor.stop(max(1.0, deadline - time.monotonic()))
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._readiness.close()

    # --- what happens -------------------------------------------------------------------------------

    def _look_around(self, now: float) -> None:
        """Attend to everything but the sessions' messages."""
        if now - self._looked > PAUSE_S:
            self._wake_up(now)
        self._looked = now
        ready = self._readiness.ready()
        for event in self._supervisor.poll(now, ready):
            self._hear(event, now)
        if self._channel is not None:
            self._channel.beat(now)
        for key in ready:
            if isinstance(key, str) and key in self._roster:
                self._roster[key].dead_at = now
                self._readiness.unwatch_process(key)
                self._next_tick = min(self._next_tick, now + DYING_S)
            elif isinstance(key, tuple) and key[0] == "idle":
                self._readiness.unwatch_process(key)
                self._progress.lost_idle_worker(self._roster.idle_workers.pop(key[1], ""))
        if now >= self._next_tick:
            self._tick(now)

    def _wake_up(self, now: float) -> None:
        """Blame nobody for a time in which this process was stopped or the machine asleep."""
        for peer in self._peers():
            peer.heard = now
        self._watchdog.restart(now)
        self._supervisor.forgive(now)

    def _say_goodbye(self, timeout: float) -> None:
        """Let idle sessions end by themselves; busy ones get no more than the time that takes."""
        deadline = time.monotonic() + timeout
        idle = set(self._sessions.idle(deadline))
        for sid in self._sessions.sids:
            self._sessions.retire(sid)
        self._flush(time.monotonic())
        while self._channel is not None and idle & set(self._sessions.sids) and time.monotonic() < deadline:
            for peer, items in self._channel.receive(time.monotonic()):
                self._take(peer, items, time.monotonic())
            self._channel.sockets[0].poll(20)

    def _hear(self, event: dict[str, Any], now: float) -> None:
        kind = event["event"]
        if kind == "ready":
            self._engine = event
            if self._channel is None:
                self._channel = SideChannel(
                    event["interface"], event["addresses"], event["ports"], encrypted=event["encrypted"]
                )
            self._watchdog.restart(now)
            self._meet_demand(now, at_least=min(event["initial"], event["limit"]))
        elif kind == "status":
            self._report = event
        elif kind == "ended":
            entry = self._roster.end(event["sid"], event["how"])
            if entry is not None:
                self._next_tick = min(self._next_tick, now + DYING_S)
                if not entry.is_up:
                    self._caution.failed(event["how"], now)
                    logger.error("%s", self._caution.trouble)
        elif kind == "failed":
            self._abandon(event["mark"])

    def _take(self, peer: Peer, items: list[m.UpItem], now: float) -> None:
        entry = self._roster.get(peer.sid)
        if entry is None or self._channel is None:
            return
        if not entry.is_up and isinstance(items[0], m.Hello):
            self._come_up(peer, entry, items[0], now)
        self._sessions.take(peer.sid, items, now)
        if isinstance(items[-1], m.Bye):
            self._channel.say_have(peer)
            self._leave_idle(peer)
            self._lose(peer.sid, items[-1].reason)

    def _leave_idle(self, peer: Peer) -> None:
        """Watch a worker that goes back to Parsl: one that dies there may block its node's queue."""
        worker = peer.worker or {}
        if is_here(worker) and "manager" in worker:
            self._roster.idle_workers[worker["pid"]] = worker["manager"]
            self._readiness.watch_process(worker["pid"], ("idle", worker["pid"]))

    def _come_up(self, peer: Peer, entry: Vitals, hello: m.Hello, now: float) -> None:
        entry.is_up = True
        peer.worker = worker = hello.worker
        self._progress.came_up(now, worker.get("manager", ""))
        self._caution.forget()
        if is_here(worker):
            self._readiness.watch_process(worker["pid"], peer.sid)
            self._readiness.unwatch_process(("idle", worker["pid"]))
        self._sessions.up(peer.sid, worker, now)
        for orphan in self._roster.orphans(self._supervisor.mark)[:1]:
            self._retire(orphan)

    def _tick(self, now: float) -> None:
        self._next_tick = now + TICK_S
        for sid, entry in self._roster:
            self._look_after(sid, entry, now)
        self._end_deaf_workers(now)
        self._end_idle_sessions(now)
        self._meet_demand(now)
        self._look_for_progress(now)

    def _look_after(self, sid: str, entry: Vitals, now: float) -> None:
        """Take a session for lost, doubt it, ask it, or leave it alone."""
        evidence = self._sessions.answers.get(sid) or self._evidence(sid, entry, now)
        if evidence:
            self._lose(sid, evidence, kill=True)  # silent is not dead
            return
        if sid in self._sessions.answers:
            del self._sessions.answers[sid]
            entry.answered()
        if entry.is_doubtful(now):
            self._sessions.doubt(sid)
        if entry.wants_question(now, self._sessions.load(sid)):
            self._sessions.ask(sid)

    def _end_idle_sessions(self, now: float) -> None:
        idle = self._sessions.idle(now - self._config.idle_seconds)
        orphans = self._roster.orphans(self._supervisor.mark)
        spare = max(0, self._roster.serving(self._supervisor.mark) - self._engine.get("minimum", 0))
        for sid in [s for s in idle if s in orphans] + [s for s in idle if s not in orphans][:spare]:
            self._retire(sid)

    def _end_deaf_workers(self, now: float) -> None:
        for task_id, deadline in list(self._stopping.items()):
            sid = self._sessions.session_of(task_id)
            if sid and now < deadline:
                continue
            del self._stopping[task_id]
            if sid and not self._readiness.kill_process(sid):
                self._lose(sid, "a cancelled call did not end")

    def _evidence(self, sid: str, entry: Vitals, now: float) -> str:
        """Return why a session must be taken for lost, or nothing."""
        peer = self._peer(sid)
        if peer is None:
            return entry.ended or ""
        entry.heard, entry.is_connected = peer.heard, peer.is_connected
        is_engines = entry.mark == self._supervisor.mark
        return entry.why_lost(
            now,
            self._sessions.load(sid),
            tells_exit=is_engines and bool(self._engine["tells_exit"]),
            engine_trouble="" if is_engines else self._supervisor.trouble,
        )

    def _lose(self, sid: str, evidence: str, *, kill: bool = False) -> None:
        peer = self._peer(sid)
        worker = peer.worker if peer is not None else None
        node = (worker or {}).get("manager", "")
        self._roster.drop(sid, node, self._supervisor.mark, time.monotonic())
        if peer is not None and worker is not None:
            evidence = self._evidence_book.describe(sid, worker, evidence, peer.memory)
        if kill:
            self._readiness.kill_process(sid)
        self._readiness.unwatch_process(sid)
        self._sessions.answers.pop(sid, None)
        self._sessions.lost(sid, evidence)
        if self._channel is not None:
            self._channel.expel(sid)
        self._release_deserted()

    def _retire(self, sid: str) -> None:
        entry = self._roster[sid]
        if entry.is_up and not entry.is_retired:
            entry.is_retired = True
            self._sessions.retire(sid)

    def _abandon(self, mark: str) -> None:
        """Let the sessions of a failed engine go on if they are up; forget those still asked for."""
        self._report = {}
        for sid in self._roster.fail(mark):
            self._lose(sid, "the engine failed")
        self._release_deserted()

    def _release_deserted(self) -> None:
        for mark in self._roster.deserted():
            self._supervisor.release(mark)

    def _meet_demand(self, now: float, *, at_least: int = 0) -> None:
        if self._channel is None or not self._supervisor.is_ready or now < self._caution.until:
            return
        mark = self._supervisor.mark
        wanted = max(at_least, self._sessions.wanted(self._engine["limit"]), self._engine["minimum"])
        for _ in range(wanted - self._roster.serving(mark)):
            arguments = self._channel.admit(now, self._last_words, **self._given)
            self._roster.ask(arguments.sid, mark, now)
            self._supervisor.open(as_mapping(arguments))

    def _look_for_progress(self, now: float) -> None:
        """End what must move and does not: a block, the engine, or the engine with all sessions."""
        if not self._supervisor.is_ready:
            return
        mark = self._supervisor.mark
        fault = self._watchdog.look(now, self._report, mark)
        if isinstance(fault, EndBlock):
            self._supervisor.end_block(fault.block, fault.reason)
        elif fault is not None:
            self._supervisor.fail(fault.reason, now)
            self._abandon(mark)
            for sid in self._sessions.sids if isinstance(fault, EndAll) else ():
                self._lose(sid, fault.reason, kill=True)

    def _peer(self, sid: str) -> Peer | None:
        return self._channel.peers.get(sid) if self._channel is not None else None

    def _node_of(self, sid: str) -> str:
        peer = self._peer(sid)
        return str(peer.worker.get("manager", "")) if peer is not None and peer.worker else ""

    def _flush(self, now: float) -> None:
        if self._channel is None or not self._sessions.outbox:
            return
        outbox, self._sessions.outbox = self._sessions.outbox, {}
        for sid, items in outbox.items():
            self._channel.send(sid, items, now)

    def _peers(self) -> list[Peer]:
        return list(self._channel.peers.values()) if self._channel is not None else []
