"""The engine host: side channel, sessions and supervised engine behind `contract.EngineHost`."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.messages import FunctionBody
from funcx_lab_endpoint.config import EndpointConfig
from funcx_lab_endpoint.engine.contract import Call, EngineFact, EngineHost
from funcx_lab_endpoint.engine.leftovers import clear_directories
from funcx_lab_endpoint.engine.pool import Pool
from funcx_lab_endpoint.engine.progress import EndBlock
from funcx_lab_endpoint.engine.readiness import Readiness
from funcx_lab_endpoint.engine.reasons import why_calls_wait
from funcx_lab_endpoint.engine.roster import Roster
from funcx_lab_endpoint.engine.sessions import Sessions
from funcx_lab_endpoint.engine.side_channel import SideChannel
from funcx_lab_endpoint.engine.stall import EndAll, Watchdog
from funcx_lab_endpoint.engine.supervisor import Supervisor
from funcx_lab_endpoint.engine.vitals import DYING_S

logger = logging.getLogger(__name__)

#: Seconds between looks at silence, demand and idleness.
TICK_S = 0.5
#: New calls are looked at together for more demand after this many seconds.
DEMAND_S = 0.05
#: Seconds between looks after which this process must have been stopped: others were not silent then.
PAUSE_S = 5.0
#: Seconds until the worker of a cancelled call is killed from here; it is deaf if C code keeps the GIL.
STOP_LIMIT_S = 6.0
#: Of the named sessions that are up, so many are told.
SESSIONS_TOLD = 100


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
        self._readiness = Readiness()
        self._supervisor = Supervisor(directory / "config.py", directory / "runs", self._readiness)
        self._sessions, self._roster = Sessions(), Roster()
        self._pool = Pool(config, directory, self._supervisor, self._readiness, self._sessions, self._roster)
        self._session_idle_s = config.session_idle_seconds
        self._report: dict[str, Any] = {}
        self._next_tick = 0.0
        self._looked = time.monotonic()
        self._watchdog = Watchdog(self._pool.progress, self._sessions, self._roster, self._pool.node_of)
        #: cancelled calls and when their workers are killed
        self._stopping: dict[str, float] = {}

    # --- contract -----------------------------------------------------------------------------------

    def start(self) -> None:
        """End what an earlier life left behind and start the engine process."""
        clear_directories(self._pool.objects, self._pool.last_words)
        self._supervisor.start(time.monotonic())

    def pollables(self) -> Sequence[Any]:
        """Return what to poll for input."""
        sockets = self._pool.channel.sockets if self._pool.channel is not None else []
        return [*sockets, *self._readiness.fds]

    def learn(self, function: FunctionBody) -> None:
        """Remember a function."""
        self._sessions.learn(function)

    def submit(self, calls: Sequence[Call]) -> None:
        """Take calls."""
        self._sessions.submit(calls)
        now = time.monotonic()
        self._pool.flush(now)
        if not self._sessions.serving:
            self._pool.meet_demand(now)
        self._next_tick = min(self._next_tick, now + DEMAND_S)

    def cancel(self, task_id: str) -> bool:
        """Stop a call."""
        is_known = self._sessions.cancel(task_id)
        now = time.monotonic()
        if self._sessions.session_of(task_id):
            self._stopping[task_id] = now + STOP_LIMIT_S
        self._pool.flush(now)
        return is_known

    def give_back(self, task_id: str) -> bool:
        """Forget a call that no worker has."""
        return self._sessions.give_back(task_id)

    def poll(self, now: float, ready: Collection[Any] | None = None) -> list[EngineFact]:
        """Handle what is ready and due."""
        if self._pool.channel is not None:
            for peer, items in self._pool.channel.receive(now, ready):
                self._pool.take(peer, items, now)
        if ready is None or now >= self.next_deadline(now) or any(fd in ready for fd in self._readiness.fds):
            self._look_around(now)
        self._pool.flush(now)
        facts, self._sessions.facts = self._sessions.facts, []
        return facts

    def next_deadline(self, now: float) -> float:
        """Return when `poll` wants to be called at the latest."""
        return min(self._next_tick, self._supervisor.next_deadline(now))

    @property
    def credit(self) -> int:
        """How many calls in flight keep all workers busy for about a second."""
        return self._sessions.times.credit(max(self._sessions.serving, self._pool.engine.get("limit", 1)))

    @property
    def waiting_reason(self) -> str:
        """Why calls wait."""
        if self._sessions.serving:
            return ""
        return why_calls_wait(
            self._report,
            self._pool.caution.trouble,
            self._supervisor.trouble,
            is_ready=self._supervisor.is_ready,
        )

    @property
    def environment(self) -> Environment | None:
        """What a worker has told of its environment last."""
        return self._roster.environment

    def status(self) -> dict[str, Any]:
        """Return JSON facts about workers, calls and the engine."""
        return {
            "workers": self._sessions.serving,
            "busy": self._sessions.busy,
            "queued": self._sessions.queued,
            "in_hand": self._sessions.in_hand,
            "limit": self._pool.engine.get("limit", 0),
            "blocks": self._report.get("blocks", {}),
            "managers": self._report.get("managers", 0),
            "engine": "up" if self._supervisor.is_ready else "starting",
            "engine_pid": self._supervisor.pid,
            "watched_pids": self._supervisor.watched,
            "worker_pids": sorted(peer.worker["pid"] for peer in self._pool.peers() if peer.worker),
            "trouble": self._pool.caution.trouble
            or self._report.get("trouble", "")
            or self._supervisor.trouble,
            "restarts": self._supervisor.restarts,
            "sessions": self._sessions.named[:SESSIONS_TOLD],
        }

    def stop(self, timeout: float) -> None:
        """End sessions, engine and every process of it."""
        deadline = time.monotonic() + timeout
        self._pool.say_goodbye(min(1.0, timeout / 4))
        self._supervisor.stop(max(1.0, deadline - time.monotonic()))
        if self._pool.channel is not None:
            self._pool.channel.close()
            self._pool.channel = None
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
        if self._pool.channel is not None:
            self._pool.channel.beat(now)
        for key in ready:
            if isinstance(key, str) and key in self._roster:
                self._roster[key].dead_at = now
                self._readiness.unwatch_process(key)
                self._next_tick = min(self._next_tick, now + DYING_S)
            elif isinstance(key, tuple) and key[0] == "idle":
                self._readiness.unwatch_process(key)
                self._pool.progress.lost_idle_worker(self._roster.idle_workers.pop(key[1], ""))
        if now >= self._next_tick:
            self._tick(now)

    def _wake_up(self, now: float) -> None:
        """Blame nobody for a time in which this process was stopped or the machine asleep."""
        for peer in self._pool.peers():
            peer.heard = now
        self._watchdog.restart(now)
        self._supervisor.forgive(now)

    def _hear(self, event: dict[str, Any], now: float) -> None:
        kind = event["event"]
        if kind == "ready":
            self._pool.engine = event
            if self._pool.channel is None:
                self._pool.channel = SideChannel(
                    event["interface"], event["addresses"], event["ports"], encrypted=event["encrypted"]
                )
            self._watchdog.restart(now)
            self._pool.meet_demand(now, at_least=min(event["initial"], event["limit"]))
        elif kind == "status":
            self._report = event
        elif kind == "ended":
            entry = self._roster.end(event["sid"], event["how"])
            if entry is not None:
                self._next_tick = min(self._next_tick, now + DYING_S)
                if not entry.is_up:
                    self._pool.caution.failed(event["how"], now)
                    logger.error("%s", self._pool.caution.trouble)
        elif kind == "failed":
            self._report = {}
            self._pool.abandon(event["mark"])

    def _tick(self, now: float) -> None:
        self._next_tick = now + TICK_S
        for sid, entry in self._roster:
            self._pool.look_after(sid, entry, now)
        self._end_deaf_workers(now)
        self._sessions.end_unused(now - self._session_idle_s)
        self._pool.end_idle(now)
        self._pool.meet_demand(now)
        self._look_for_progress(now)

    def _end_deaf_workers(self, now: float) -> None:
        for task_id, deadline in list(self._stopping.items()):
            sid = self._sessions.session_of(task_id)
            if sid and now < deadline:
                continue
            del self._stopping[task_id]
            if sid and not self._readiness.kill_process(sid):
                self._pool.lose(sid, "a cancelled call did not end")

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
            self._report = {}
            self._pool.abandon(mark)
            for sid in self._sessions.sids if isinstance(fault, EndAll) else ():
                self._pool.lose(sid, fault.reason, kill=True)
