"""The serving sessions of an engine: asked for, taken in, looked after, lost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from funcx_lab.launch import users_umask
from funcx_lab_endpoint.config import EndpointConfig
from funcx_lab_endpoint.engine.evidence import Evidence, is_here
from funcx_lab_endpoint.engine.progress import Caution, Progress
from funcx_lab_endpoint.engine.readiness import Readiness
from funcx_lab_endpoint.engine.roster import Roster
from funcx_lab_endpoint.engine.sessions import Sessions
from funcx_lab_endpoint.engine.side_channel import Peer, SideChannel, as_mapping
from funcx_lab_endpoint.engine.supervisor import Supervisor
from funcx_lab_endpoint.engine.vitals import Load, Vitals
from funcx_lab_endpoint.worker import messages as m


class Pool:
    """The sessions of one endpoint.

    Parameters
    ----------
    config : EndpointConfig
        What sessions are given, and how long they may be idle.
    directory : Path
        The endpoint's directory.
    supervisor, readiness, sessions, roster
        The host's.

    Attributes
    ----------
    channel : SideChannel or None
        The wire to the sessions; None until an engine was ready.
    engine : dict
        What the engine said of itself when it was ready.
    given : dict
        What every session is given.
    """

    def __init__(
        self,
        config: EndpointConfig,
        directory: Path,
        supervisor: Supervisor,
        readiness: Readiness,
        sessions: Sessions,
        roster: Roster,
    ) -> None:
        self._idle_s = config.idle_seconds
        self._supervisor, self._readiness = supervisor, readiness
        self._sessions, self._roster = sessions, roster
        self.objects = directory / "objects"
        self.last_words = directory / "runs" / "last_words"
        self.given = {
            "objects": str(self.objects),
            "result_limit": config.result_limit,
            "working_directory": config.working_directory or "",
            "umask": users_umask(),
            "environments": str(directory / "environments") if config.allow_requirements else "",
            "environments_kept": config.environments_kept,
        }
        self.channel: SideChannel | None = None
        self.engine: dict[str, Any] = {}
        self.progress, self.caution = Progress(), Caution()
        self._evidence_book = Evidence(self.last_words)

    def take(self, peer: Peer, items: list[m.UpItem], now: float) -> None:
        """Handle what a session reports."""
        entry = self._roster.get(peer.sid)
        if entry is None or self.channel is None:
            return
        if not entry.is_up and isinstance(items[0], m.Hello):
            self._come_up(peer, entry, items[0], now)
        self._sessions.take(peer.sid, items, now)
        self._roster.hear(items)
        if isinstance(items[-1], m.Bye):
            self.channel.say_have(peer)
            self._leave_idle(peer)
            self.lose(peer.sid, items[-1].reason)

    def _come_up(self, peer: Peer, entry: Vitals, hello: m.Hello, now: float) -> None:
        entry.is_up = True
        peer.worker = worker = hello.worker
        self.progress.came_up(now, worker.get("manager", ""))
        self.caution.forget()
        if is_here(worker):
            self._readiness.watch_process(worker["pid"], peer.sid)
            self._readiness.unwatch_process(("idle", worker["pid"]))
        self._sessions.up(peer.sid, worker, now)
        orphans = self._roster.orphans(self._supervisor.mark)
        for orphan in [sid for sid in orphans if not self._sessions.is_home(sid)][:1]:
            self._retire(orphan)

    def _leave_idle(self, peer: Peer) -> None:
        """Watch a worker that goes back to Parsl: one that dies there may block its node's queue."""
        worker = peer.worker or {}
        if is_here(worker) and "manager" in worker:
            self._roster.idle_workers[worker["pid"]] = worker["manager"]
            self._readiness.watch_process(worker["pid"], ("idle", worker["pid"]))

    def look_after(self, sid: str, entry: Vitals, now: float) -> None:
        """Take a session for lost, doubt it, ask it, or leave it alone."""
        evidence = self._sessions.answers.get(sid) or self._evidence(sid, entry, now)
        if evidence:
            self.lose(sid, evidence, kill=True)  # silent is not dead
            return
        if sid in self._sessions.answers:
            del self._sessions.answers[sid]
            entry.answered()
        if entry.is_doubtful(now):
            self._sessions.doubt(sid)
        if entry.wants_question(now, self._sessions.load(sid)):
            self._sessions.ask(sid)

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
            tells_exit=is_engines and bool(self.engine["tells_exit"]),
            engine_trouble="" if is_engines else self._supervisor.trouble,
        )

    def end_idle(self, now: float) -> None:
        """End the sessions that nobody needs."""
        idle = self._sessions.idle(now - self._idle_s)
        orphans = self._roster.orphans(self._supervisor.mark)
        spare = max(0, self._roster.serving(self._supervisor.mark) - self.engine.get("minimum", 0))
        for sid in [s for s in idle if s in orphans] + [s for s in idle if s not in orphans][:spare]:
            self._retire(sid)

    def meet_demand(self, now: float, *, at_least: int = 0) -> None:
        """Ask for as many sessions as the calls in hand are worth."""
        if self.channel is None or not self._supervisor.is_ready or now < self.caution.until:
            return
        mark = self._supervisor.mark
        wanted = max(at_least, self._sessions.wanted(self.engine["limit"]), self.engine["minimum"])
        for _ in range(wanted - self._roster.serving(mark)):
            survey = self._roster.wants_survey
            arguments = self.channel.admit(now, self.last_words, survey=survey, **self.given)
            self._roster.ask(arguments.sid, mark, now)
            self._supervisor.open(as_mapping(arguments))

    def lose(self, sid: str, evidence: str, *, kill: bool = False) -> None:
        """Take nothing more from a session; ``kill``: its process may live."""
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
        if self.channel is not None:
            self.channel.expel(sid)
        self._release_deserted()

    def _retire(self, sid: str) -> None:
        entry = self._roster[sid]
        if entry.is_up and not entry.is_retired:
            entry.is_retired = True
            self._sessions.retire(sid)

    def abandon(self, mark: str) -> None:
        """Let the sessions of a failed engine go on if they are up; forget those still asked for."""
        for sid in self._roster.fail(mark):
            self.lose(sid, "the engine failed")
        self._release_deserted()

    def _release_deserted(self) -> None:
        for mark in self._roster.deserted():
            self._supervisor.release(mark)

    def say_goodbye(self, timeout: float) -> None:
        """Let idle sessions end by themselves; busy ones get no more than the time that takes."""
        deadline = time.monotonic() + timeout
        idle = {sid for sid in self._sessions.sids if self._sessions.load(sid) is Load.IDLE}
        for sid in self._sessions.sids:
            self._sessions.retire(sid)
        self.flush(time.monotonic())
        while self.channel is not None and idle & set(self._sessions.sids) and time.monotonic() < deadline:
            for peer, items in self.channel.receive(time.monotonic()):
                self.take(peer, items, time.monotonic())
            self.channel.sockets[0].poll(20)

    def flush(self, now: float) -> None:
        """Send what waits for the sessions."""
        if self.channel is None or not self._sessions.outbox:
            return
        outbox, self._sessions.outbox = self._sessions.outbox, {}
        for sid, items in outbox.items():
            self.channel.send(sid, items, now)

    def peers(self) -> list[Peer]:
        """Return the sessions that were let in."""
        return list(self.channel.peers.values()) if self.channel is not None else []

    def _peer(self, sid: str) -> Peer | None:
        return self.channel.peers.get(sid) if self.channel is not None else None

    def node_of(self, sid: str) -> str:
        """Return the node on which a session runs, nothing if it has none."""
        peer = self._peer(sid)
        return str(peer.worker.get("manager", "")) if peer is not None and peer.worker else ""
