"""One of the two agents that have the endpoint's key: the real agent state and engine, life after life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.model.engine import Engine
from chaos.model.process import Process
from chaos.model.spool import SteppedSpool
from funcx_lab.protocol.messages import Bye, Results, agent_codec, forwarder_codec
from funcx_lab_endpoint.agent_state import AgentState
from funcx_lab_endpoint.holdings import revive
from funcx_lab_endpoint.instructions import (
    CancelCall,
    GiveBack,
    Instruction,
    Learn,
    Reconnect,
    Refusal,
    Save,
    Send,
    Submit,
)

if TYPE_CHECKING:
    from chaos.model.world import World


class Agent:
    """An agent's directory; `is_up` while a process runs in it."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.is_up, self.is_refused = False, False
        self.directory = world.directories[number]
        self.directory.lose()
        self.processes: list[Process] = []
        self._lives = self._nonces = self._peers = 0
        self.life: tuple[int, int] = (number, 0)
        self._peer: bytes | None = None
        self._dial_at = 0.0

    # --- life and death -----------------------------------------------------------------------------

    def start(self, *, takeover: bool = False) -> None:
        """Begin a life."""
        self._lives += 1
        self.life, self.is_up, self.is_refused = (self.number, self._lives), True, False
        instance = f"agent {self.number}.{self._lives}"
        self.spool = SteppedSpool(self.directory)
        self.holdings = revive(self.spool.id, self.spool.entries())
        self.state = AgentState(
            instance=instance, holdings=self.holdings, new_nonce=self._new_nonce, takeover=takeover
        )
        self.engine = Engine(self.world, self)
        self._dial_at = self.world.clock.now

    def _new_nonce(self) -> str:
        self._nonces += 1
        return f"{self.life} {self._nonces}"

    def kill(self) -> None:
        """End as kill -9 does; what its workers run goes on for a while."""
        if self.is_up:
            self.spool.commit(self.world.r.randint(0, self.spool.waiting))
            self.is_up = False
            self._hang_up()
            for process in self.processes:
                process.cut()

    def stop(self) -> None:
        """End as after SIGTERM, with no time for what runs."""
        if self.is_up:
            self.state.drain()
            self.perform()
            if self.state.session is not None:
                self._do(Send(Bye(self.state.session, "stopped")))
            self.state.leave()
            self.perform()
            self.spool.commit(self.spool.waiting)
            self.kill()
            for process in self.processes:
                process.kill()

    @property
    def open(self) -> int:
        """How many things it has to do; a refused agent may not run what it holds."""
        if not self.is_up:
            return 0
        held = sum(not self.is_refused or holding.outcome is not None for holding in self.holdings)
        return held + len(self.holdings.losses) + self.spool.waiting

    # --- the link -----------------------------------------------------------------------------------

    def _dial(self) -> None:
        self._peers += 1
        self._peer = f"{self.life} {self._peers}".encode()
        self.world.network.open(self._peer, self.life)
        self.state.link_up(self.world.clock.now)

    def _hang_up(self) -> None:
        if self._peer is not None:
            self.world.network.close(self._peer)
            self._peer = None

    def lose_link(self) -> None:
        """Find the connection broken; dial again soon."""
        if self.is_up and self._peer is not None:
            self._hang_up()
            self.state.link_down()
            self._dial_at = self.world.clock.now + 0.2 * self.world.r.random()

    def receive(self, life: object, data: bytes) -> None:
        """Take a frame if it is for this life."""
        if self.is_up and life == self.life:
            self.state.receive(forwarder_codec.decode(data), self.world.clock.now)
            if self.state.session is not None:
                self.is_refused = False
            self.perform()

    # --- a turn -------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do what is due."""
        if not self.is_up:
            return
        now = self.world.clock.now
        if self._peer is None and now >= self._dial_at:
            self._dial()
        self.state.tick(now)
        if self.state.beat_due(now):
            self.state.beat({"credit": 20 if self.world.calm else self.world.r.choice((0, 1, 3, 20))}, now)
        self.perform()

    def work(self) -> None:
        """Let the engine do what is due."""
        if self.is_up:
            self.engine.step()
            for fact in self.engine.facts():
                self.state.engine_fact(fact)
            self.perform()

    def write(self) -> None:
        """Let the spool's thread do something."""
        if self.is_up and self.spool.waiting:
            r, waiting = self.world.r, self.spool.waiting
            self.state.saved(self.spool.commit(waiting if self.world.calm else r.randint(1, waiting)))
            self.perform()

    def lose_spool(self) -> None:
        """Find the spool's file deleted: what the agent holds goes to a new one."""
        self.directory.lose()
        self.spool = SteppedSpool(self.directory)
        self.state.spool_replaced()
        self.perform()

    def perform(self) -> None:
        """Do what the state decided."""
        for instruction in self.state.turn(self.world.clock.now):
            self._do(instruction)

    def _do(self, instruction: Instruction) -> None:
        match instruction:
            case Send(message):
                if isinstance(message, Results):
                    self.world.truth.told.update(item.execution for item in message.results)
                if self._peer is not None:
                    self.world.network.to_hub(self._peer, agent_codec.encode(message))
            case Learn() | Submit() | CancelCall() | GiveBack():
                self._tell_engine(instruction)
            case Save():
                self.spool.save(instruction)
            case Reconnect():
                self.lose_link()
            case Refusal(code):
                self.is_refused = code == "ENDPOINT_BUSY"
            case _:
                self.world.truth.flaw("no such instruction", instruction)

    def _tell_engine(self, instruction: Learn | Submit | CancelCall | GiveBack) -> None:
        match instruction:
            case Learn(function):
                self.engine.sessions.learn(function)
            case Submit(calls):
                self.engine.submit(calls)
            case CancelCall(task_id):
                self.engine.cancel(task_id)
            case GiveBack(task_id) if self.engine.sessions.give_back(task_id):
                self.state.given_back(task_id)
