"""An agent's engine in the model world: the real sessions and side channel; the batch system is a list."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import zmq

from chaos.model.process import Cable, Process
from funcx_lab_endpoint.engine.contract import Call, EngineFact
from funcx_lab_endpoint.engine.sessions import Sessions
from funcx_lab_endpoint.engine.side_channel import SideChannel
from funcx_lab_endpoint.worker import messages as m

if TYPE_CHECKING:
    from chaos.model.agent import Agent
    from chaos.model.world import World

_EVENTS = int(zmq.EVENTS)
#: Sessions that an endpoint may have at a time.
LIMIT = 2
_GIVEN = {"objects": "", "result_limit": 1000, "agent_gone_s": 20.0}


class Router:
    """What the side channel asks of its socket: frames come in by route and leave by route."""

    def __init__(self) -> None:
        self.inbox: deque[bytes | SimpleNamespace] = deque()
        self.cables: dict[bytes, Cable] = {}
        self._to: bytes | None = None

    def get(self, _option: int) -> int:
        """Return whether there is input."""
        return int(zmq.POLLIN) if self.inbox else 0

    def recv(self, *, copy: bool = True) -> Any:
        """Return a route, then its frame."""
        return self.inbox.popleft()

    def send(self, part: bytes, _flags: int) -> None:
        """Take a route, then its frame."""
        if self._to is None:
            cable = self.cables.get(part)
            if cable is None or cable.is_cut:
                raise zmq.ZMQError(zmq.EHOSTUNREACH)
            self._to = part
        else:
            self.cables[self._to].down.append(part)
            self._to = None

    def bring(self, cable: Cable) -> None:
        """Let a frame of ``cable`` arrive."""
        self.inbox += [cable.route, SimpleNamespace(buffer=cable.up.popleft())]


class CableChannel(SideChannel):
    """The side channel without its sockets."""

    def __init__(self) -> None:
        self.peers = {}
        self._by_route, self._by_key, self._next_beat = {}, {}, 0.0
        self._router: Any = Router()
        self._zap: Any = None
        self._server_key, self._addresses = b"", []

    def _answer_zap(self) -> None:
        """Do nothing: there is no encryption here."""


class Engine:
    """From the start of an agent to its end; its processes may outlive it."""

    def __init__(self, world: World, agent: Agent) -> None:
        self.world, self.agent = world, agent
        self.sessions = Sessions()
        self.channel = CableChannel()
        #: sessions that were started here and not lost, and those of them that said hello
        self._started: dict[str, Process] = {}
        self._up: set[str] = set()

    def dial(self) -> Cable:
        """Connect a process."""
        cable = Cable()
        self.channel._router.cables[cable.route] = cable
        return cable

    # --- for the agent ------------------------------------------------------------------------------

    def submit(self, calls: list[Call]) -> None:
        """Take calls."""
        self.sessions.submit(calls)
        self._flush()

    def cancel(self, task_id: str) -> None:
        """Stop a call."""
        self.sessions.cancel(task_id)
        self._flush()

    def facts(self) -> list[EngineFact]:
        """Return what happened."""
        facts, self.sessions.facts = self.sessions.facts, []
        return facts

    # --- by itself ----------------------------------------------------------------------------------

    def step(self) -> None:
        """Hear the sessions, start one if there is room, give up those that are dead."""
        r, now, router = self.world.r, self.world.clock.now, self.channel._router
        for cable in [cable for cable in router.cables.values() if cable.up]:
            for _ in range(len(cable.up) if self.world.calm else r.randint(0, len(cable.up))):
                router.bring(cable)
        for peer, items in self.channel.receive(now):
            self._take(peer.sid, items, now)
        for sid, wrong in self.sessions.answers.items():
            if wrong:
                self.world.truth.flaw("a session lost calls without being lost", sid, wrong)
        self.sessions.answers.clear()
        self.channel.beat(now)
        for process in list(self.agent.processes):
            if not process.alive:
                self._bury(process)
        if len(self._started) < LIMIT and r.random() < 0.5:
            arguments = self.channel.admit(
                now, Path("words"), objects="", result_limit=1000, agent_gone_s=20.0
            )
            self._started[arguments.sid] = process = Process(self.world, self.agent, arguments)
            self.agent.processes.append(process)
        self._flush()

    def _take(self, sid: str, items: list[m.UpItem], now: float) -> None:
        if sid not in self.channel.peers:
            return
        if sid not in self._up and isinstance(items[0], m.Hello):
            self._up.add(sid)
            self.sessions.up(sid, {}, now)
        self.sessions.take(sid, items, now)
        if isinstance(items[-1], m.Bye):
            self.channel.say_have(self.channel.peers[sid])
            self.lose(sid, "bye")

    def _bury(self, process: Process) -> None:
        """Take a dead process for lost, some time after its last frames."""
        cable = process.wire.socket.cable
        if self._started.get(process.sid) is not process:
            self.agent.processes.remove(process)
        elif (cable is None or not cable.up) and self.world.r.random() < 0.5:
            self.agent.processes.remove(process)
            self.lose(process.sid, "the process died")

    def lose(self, sid: str, evidence: str) -> None:
        """Take nothing more from a session."""
        self._started.pop(sid, None)
        self.sessions.lost(sid, evidence)
        self.channel.expel(sid)
        self._flush()

    def _flush(self) -> None:
        outbox, self.sessions.outbox = self.sessions.outbox, {}
        for sid, items in outbox.items():
            self.channel.send(sid, items, self.world.clock.now)
