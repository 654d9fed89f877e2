"""A serving session in the model world: the real wire and messages, toy calls."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq

from funcx_lab.protocol.messages import ErrorInfo, Event
from funcx_lab_endpoint.worker import messages as m
from funcx_lab_endpoint.worker.channel import Channel
from funcx_lab_endpoint.worker.wire import LINGER_S, Wire

if TYPE_CHECKING:
    from chaos.model.agent import Agent
    from chaos.model.world import World

_connections = itertools.count(1)


class Cable:
    """One connection to the agent, in order; with it goes what is under way."""

    def __init__(self) -> None:
        self.route = b"%d" % next(_connections)
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.is_cut = False

    def cut(self) -> None:
        """Break it."""
        self.is_cut = True
        self.up.clear()
        self.down.clear()


class _Socket:
    """What `Wire` asks of its socket."""

    cable: Cable | None = None

    def send(self, frame: bytes) -> None:
        """Put a frame on its way; without a connection it is lost."""
        if self.cable is not None:
            self.cable.up.append(frame)

    def recv(self, _flags: int = 0) -> bytes:
        """Return a frame."""
        if self.cable is None or not self.cable.down:
            raise zmq.Again
        return self.cable.down.popleft()


class CableWire(Wire):
    """The session's end of the link; a cable takes the place of the connection."""

    def __init__(self, arguments: m.Arguments, clock: Any) -> None:
        self._sid, self._gone_s = arguments.sid, arguments.agent_gone_s
        self._items: list[m.UpItem] = [m.Hello(m.SESSION_VERSION, arguments.token, {"pid": 1})]
        self._channel = Channel()
        self._survey = lambda: None
        self.is_fenced = False
        self._heard = self.next_beat = clock.now
        self.socket: Any = _Socket()

    def take_one(self) -> list[m.DownItem]:
        """Take one frame."""
        try:
            return self._open(self.socket.recv())
        except zmq.Again:
            return []

    @property
    def is_clear(self) -> bool:
        """Whether the agent has everything."""
        return self._channel.is_clear


class Process:
    """A process in a worker; goes on when its agent dies, until it notices."""

    def __init__(self, world: World, agent: Agent, arguments: m.Arguments) -> None:
        self.world, self.agent, self.sid = world, agent, arguments.sid
        self.wire = CableWire(arguments, world.clock)
        self.alive, self.closing = True, False
        self._calls: deque[m.Run] = deque()
        self._functions: set[str] = set()
        #: the call in user code, and the output it has made and told
        self._running: m.Run | None = None
        self._told = 0
        self._asked = self._go = -1
        self._leave_by: float | None = None

    # --- what happens to it -------------------------------------------------------------------------

    def kill(self) -> None:
        """Die now; frames that left may still arrive."""
        self.alive = False
        cable = self.wire.socket.cable
        if cable is not None:
            cable.is_cut = True
            cable.down.clear()
            for _ in range(self.world.r.randint(0, len(cable.up))):
                cable.up.pop()

    def cut(self) -> None:
        """Lose the connection."""
        if self.wire.socket.cable is not None:
            self.wire.socket.cable.cut()
            self.wire.socket.cable = None

    # --- what it does -------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one thing."""
        if not self.alive:
            return
        if not self._link():
            self.kill()
            return
        for item in self.wire.take_one():
            self._obey(item)
        gone = self.wire.is_agent_gone(self.world.clock.now)
        if self._leave_by is not None:
            late = self.world.clock.now > self._leave_by
            self.alive = not (self.wire.is_clear or self.wire.is_fenced or late)
        elif self._running is not None:
            self._go_on_running(is_over=gone or self.wire.is_fenced)
        elif self._calls:
            self._begin_call()
        elif self.closing or gone:
            self._leave()

    def _link(self) -> bool:
        """Dial or send a heartbeat if it is time to; False when there is nobody to dial."""
        now, wire = self.world.clock.now, self.wire
        if wire.socket.cable is None:
            if self.agent.is_up and self.world.r.random() < 0.3:
                wire.socket.cable = self.agent.engine.dial()
                wire.beat(now)
            elif wire.is_agent_gone(now):
                return False
        elif now >= wire.next_beat:
            wire.beat(now)
        return True

    def _go_on_running(self, *, is_over: bool) -> None:
        if is_over:
            self.kill()
        elif self.world.r.random() < (0.6 if self.world.calm else self.world.pace):
            self._end_call()
        elif self.world.r.random() < 0.3:
            self._say_something(told=True)

    def _obey(self, item: m.DownItem) -> None:
        if isinstance(item, m.Run):
            self._calls.append(item)
        elif isinstance(item, m.Learn):
            self._functions.add(item.function.function_id)
        elif isinstance(item, m.Go):
            self._go = item.seq
        elif isinstance(item, m.Recall):
            self._hand_back(list(self._calls))
        elif isinstance(item, m.Stop):
            if self._running is not None and self._running.seq == item.seq:
                self._stopped(item.seq)
            else:
                self._hand_back([run for run in self._calls if run.seq == item.seq])
        elif isinstance(item, m.Ask):
            running = [] if self._running is None else [self._running.seq]
            self.wire.send([m.Answer(item.seq, [run.seq for run in self._calls] + running)])
        else:
            self.closing = True

    def _hand_back(self, runs: list[m.Run]) -> None:
        if runs:
            for run in runs:
                self._calls.remove(run)
            self.wire.send([m.Returned([run.seq for run in runs])])

    def _begin_call(self) -> None:
        run = self._calls[0]
        if run.confirm and self._go != run.seq:
            if self._asked != run.seq:
                self._asked = run.seq
                self.world.truth.started.add(self._execution(run))  # from here on it may be to blame
                self.wire.send([m.Starting(run.seq)])
            return
        self._calls.popleft()
        self._running, self._told = run, 0
        truth = self.world.truth
        truth.begin(run.task_id, self._execution(run))
        if run.function_id not in self._functions:
            truth.flaw("call of a function that never came", run.task_id)
        self._say_something(told=False)
        if run.task_id in truth.deadly:
            self.kill()  # before its buffers leave the process
        elif self.world.r.random() < 0.5:
            self.wire.send([m.Started(run.seq, 1.0)])

    def _execution(self, run: m.Run) -> str:
        return f"{self.sid}.{run.seq}"

    def _say_something(self, *, told: bool) -> None:
        run = self._running
        assert run is not None
        output = self.world.truth.output[self._execution(run)]
        output.append(f"{self._execution(run)}-{len(output)}")
        if told:
            self.wire.send([m.Output(run.seq, self._told, self._events(run))])
            self._told = len(output)

    def _events(self, run: m.Run) -> list[Event]:
        output = self.world.truth.output[self._execution(run)]
        return [Event(1.0, "stdout", text) for text in output[self._told :]]

    def _end_call(self) -> None:
        run = self._running
        assert run is not None
        self._say_something(told=False)
        execution, truth = self._execution(run), self.world.truth
        raises = run.task_id in truth.clumsy and truth.starts[run.task_id] == 1
        error = ErrorInfo("TASK_FAILED", "raised") if raises else None
        if not raises:
            truth.values[execution] = run.task_id
        events, seconds = self._events(run), self.world.r.choice((0.0001, 0.0001, 5.0))
        payload = execution.encode()
        done = m.Done(run.seq, not raises, payload, error, 1.0, 2.0, seconds, self._told, events)
        self._running = None
        self.wire.send([done])

    def _stopped(self, seq: int) -> None:
        error = ErrorInfo("TASK_CANCELLED", "stopped")
        run = self._running
        assert run is not None
        self.wire.send([m.Done(seq, False, b"", error, 1.0, 2.0, 0.1, self._told, self._events(run))])
        self._running = None

    def _leave(self) -> None:
        """End in good order: when the agent has everything, or it takes too long."""
        self.wire.send([m.Bye("told to end")])
        self._leave_by = self.world.clock.now + LINGER_S
