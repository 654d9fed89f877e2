"""The engine host: side channel, sessions and supervised engine behind `contract.EngineHost`."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funcx_lab.launch import users_umask
from funcx_lab.protocol.messages import FunctionBody
from funcx_lab_endpoint.config import EndpointConfig
from funcx_lab_endpoint.engine.contract import Call, EngineFact, EngineHost
from funcx_lab_endpoint.engine.leftovers import read_last_words
from funcx_lab_endpoint.engine.readiness import Readiness
from funcx_lab_endpoint.engine.sessions import Sessions
from funcx_lab_endpoint.engine.side_channel import Peer, SideChannel, as_mapping
from funcx_lab_endpoint.engine.supervisor import Supervisor
from funcx_lab_endpoint.worker import messages as m

logger = logging.getLogger(__name__)

#: Seconds between looks at silence, demand and idleness.
TICK_S = 0.5
#: New calls are looked at together for more demand after this many seconds.
DEMAND_S = 0.05
#: Seconds that the last frames of a dead worker may take to arrive, and its exit code.
DYING_S = 0.1
EXIT_CODE_S = 2.0
#: A session that its engine gave up is lost after this silence, any session after the longer one.
ORPHAN_SILENCE_S = 6.0
SILENCE_S = 60.0
#: Seconds without a session although workers are free, until the engine is started anew.
STUCK_S = 60.0
#: Seconds until the worker of a cancelled call is killed from here; it is deaf if C code keeps the GIL.
STOP_LIMIT_S = 6.0
#: Sessions that ended before they were up are asked for again after 1, 2, 4 ... seconds, at most this.
BACKOFF_LIMIT_S = 30.0


@dataclass(slots=True)
class _Entry:
    """A session that was asked for."""

    mark: str
    is_up: bool = False
    is_retired: bool = False
    #: what the engine said when it gave it up
    ended: str | None = None
    #: when its process was seen dead
    dead_at: float | None = None


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
        self._entries: dict[str, _Entry] = {}
        self._old_marks: set[str] = set()
        self._engine: dict[str, Any] = {}
        self._report: dict[str, Any] = {}
        self._next_tick = 0.0
        self._progress = 0.0
        #: cancelled calls and when their workers are killed
        self._stopping: dict[str, float] = {}
        self._failed_sessions = 0
        self._open_after = 0.0
        self._trouble = ""

    # --- contract -----------------------------------------------------------------------------------

    def start(self) -> None:
        """End what an earlier life left behind and start the engine process."""
        for path in (self._objects, self._last_words):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (
            *self._objects.glob("*.result"),
            *self._objects.glob("*.part"),
            *self._last_words.iterdir(),
        ):
            path.unlink(missing_ok=True)  # of sessions of an earlier life; nobody asks for them any more
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
        if not self._supervisor.is_ready:
            trouble = self._supervisor.trouble
            return f"engine is starting again: {trouble}" if trouble else "engine is starting"
        if self._trouble or self._report.get("trouble"):
            return self._trouble or str(self._report["trouble"])
        for block, facts in self._report.get("blocks", {}).items():
            job = f" (job {facts['job']})" if facts["job"] else ""
            return f"block {block} {facts['state']}{job} {facts['reason']}".rstrip()
        return "workers are starting"

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
            "trouble": self._trouble or self._report.get("trouble", "") or self._supervisor.trouble,
            "restarts": self._supervisor.restarts,
            "python": platform.python_version(),
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
        ready = self._readiness.ready()
        for event in self._supervisor.poll(now, ready):
            self._hear(event, now)
        if self._channel is not None:
            self._channel.beat(now)
        for key in ready:
            if isinstance(key, str) and key in self._entries:
                self._entries[key].dead_at = now
                self._readiness.unwatch_process(key)
                self._next_tick = min(self._next_tick, now + DYING_S)
        if now >= self._next_tick:
            self._tick(now)

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
            self._progress = now
            self._meet_demand(now, at_least=min(event["initial"], event["limit"]))
        elif kind == "status":
            self._report = event
        elif kind == "ended":
            entry = self._entries.get(event["sid"])
            if entry is not None:
                entry.ended = event["how"]
                self._next_tick = min(self._next_tick, now + DYING_S)
                if not entry.is_up:
                    self._hold_back(event["how"], now)
        elif kind == "failed":
            self._abandon(event["mark"])

    def _hold_back(self, reason: str, now: float) -> None:
        """Ask ever more slowly for sessions that end before they are up."""
        self._failed_sessions += 1
        self._open_after = now + min(2.0 ** (self._failed_sessions - 1), BACKOFF_LIMIT_S)
        self._trouble = f"workers cannot serve: {reason}"
        logger.error("%s", self._trouble)

    def _take(self, peer: Peer, items: list[m.UpItem], now: float) -> None:
        entry = self._entries.get(peer.sid)
        if entry is None or self._channel is None:
            return
        if not entry.is_up and isinstance(items[0], m.Hello):
            self._come_up(peer, entry, items[0], now)
        self._sessions.take(peer.sid, items, now)
        if isinstance(items[-1], m.Bye):
            self._channel.say_have(peer)
            self._lose(peer.sid, items[-1].reason)

    def _come_up(self, peer: Peer, entry: _Entry, hello: m.Hello, now: float) -> None:
        entry.is_up = True
        peer.worker = worker = hello.worker
        self._progress = now
        self._failed_sessions, self._trouble = 0, ""
        if worker.get("host") == platform.node():
            self._readiness.watch_process(worker["pid"], peer.sid)
        self._sessions.up(peer.sid, worker, now)
        orphan = next(
            (sid for sid, old in self._entries.items() if old.mark != entry.mark and not old.is_retired), None
        )
        if orphan is not None:
            self._retire(orphan)

    def _tick(self, now: float) -> None:
        self._next_tick = now + TICK_S
        for sid, entry in list(self._entries.items()):
            evidence = self._evidence(sid, entry, now)
            if evidence:
                self._readiness.kill_process(sid)  # silent is not dead
                self._lose(sid, evidence)
            elif entry.ended is not None:
                self._retire(sid)
        self._end_deaf_workers(now)
        spare = self._serving_entries() - max(self._engine.get("minimum", 0), 0)
        for sid in self._sessions.idle(now - self._config.idle_seconds)[: max(0, spare)]:
            self._retire(sid)
        self._meet_demand(now)
        self._look_for_progress(now)

    def _end_deaf_workers(self, now: float) -> None:
        for task_id, deadline in list(self._stopping.items()):
            sid = self._sessions.session_of(task_id)
            if sid and now < deadline:
                continue
            del self._stopping[task_id]
            if sid and not self._readiness.kill_process(sid):
                self._lose(sid, "a cancelled call did not end")

    def _evidence(self, sid: str, entry: _Entry, now: float) -> str:
        """Return why a session must be taken for lost, or nothing."""
        peer = self._channel.peers.get(sid) if self._channel is not None else None
        if peer is None or not entry.is_up:
            return entry.ended or ""
        silence = now - peer.heard
        if entry.dead_at is not None:
            can_tell = self._engine["tells_exit"] and entry.mark == self._supervisor.mark
            patience = EXIT_CODE_S if can_tell and entry.ended is None else DYING_S
            if now - entry.dead_at >= patience:
                return entry.ended or "the process died"
        if entry.ended is not None and silence > ORPHAN_SILENCE_S:
            return entry.ended
        if entry.mark != self._supervisor.mark and silence > ORPHAN_SILENCE_S + DYING_S:
            return f"silent since its engine failed: {self._supervisor.trouble}"
        if entry.dead_at is None and silence > SILENCE_S:
            return f"not heard for {silence:.0f} s"
        return ""

    def _lose(self, sid: str, evidence: str) -> None:
        entry = self._entries.pop(sid, None)
        peer = self._channel.peers.get(sid) if self._channel is not None else None
        if peer is not None and peer.worker is not None:
            worker = peer.worker
            last_words = read_last_words(self._last_words / sid)
            evidence = f"worker {worker.get('pid')} on {worker.get('host')}: {evidence}{last_words}"
        self._readiness.unwatch_process(sid)
        self._sessions.lost(sid, evidence)
        if self._channel is not None:
            self._channel.expel(sid)
        if entry is not None and entry.mark in self._old_marks:
            self._release_old_marks()

    def _retire(self, sid: str) -> None:
        entry = self._entries[sid]
        if entry.is_up and not entry.is_retired:
            entry.is_retired = True
            self._sessions.retire(sid)

    def _abandon(self, mark: str) -> None:
        """Let the sessions of a failed engine go on if they are up; forget those still asked for."""
        self._old_marks.add(mark)
        for sid, entry in list(self._entries.items()):
            if entry.mark == mark and not entry.is_up:
                self._lose(sid, "the engine failed")
        self._release_old_marks()

    def _release_old_marks(self) -> None:
        for mark in self._old_marks - {entry.mark for entry in self._entries.values()}:
            self._old_marks.discard(mark)
            self._supervisor.release(mark)

    def _serving_entries(self) -> int:
        mark = self._supervisor.mark
        return sum(entry.mark == mark and not entry.is_retired for entry in self._entries.values())

    def _meet_demand(self, now: float, *, at_least: int = 0) -> None:
        if self._channel is None or not self._supervisor.is_ready or now < self._open_after:
            return
        wanted = max(at_least, self._sessions.wanted(self._engine["limit"]), self._engine["minimum"])
        for _ in range(wanted - self._serving_entries()):
            arguments = self._channel.admit(now, self._last_words, **self._given)
            self._entries[arguments.sid] = _Entry(self._supervisor.mark)
            self._supervisor.open(as_mapping(arguments))

    def _look_for_progress(self, now: float) -> None:
        """Start the engine anew if workers stand idle while sessions were asked for and none comes up."""
        mine = [entry for entry in self._entries.values() if entry.mark == self._supervisor.mark]
        waiting = sum(not entry.is_up for entry in mine)
        if not waiting or self._report.get("workers", 0) <= len(mine) - waiting:
            self._progress = now
        elif now - self._progress > STUCK_S and self._supervisor.is_ready:
            mark = self._supervisor.mark
            self._supervisor.fail(f"no session came up for {STUCK_S:.0f} s although workers are free", now)
            self._abandon(mark)

    def _flush(self, now: float) -> None:
        if self._channel is None or not self._sessions.outbox:
            return
        outbox, self._sessions.outbox = self._sessions.outbox, {}
        for sid, items in outbox.items():
            self._channel.send(sid, items, now)

    def _peers(self) -> list[Peer]:
        return list(self._channel.peers.values()) if self._channel is not None else []
