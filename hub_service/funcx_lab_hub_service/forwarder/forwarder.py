"""The forwarder: performs what the dispatch state of each endpoint decides."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from funcx_lab.crash_points import crash_point
from funcx_lab.errors import MalformedMessage
from funcx_lab.protocol.messages import Hello, Refused, Stale, TaskItem, TaskOptions, agent_codec
from funcx_lab.protocol.states import EndpointState
from funcx_lab_hub_service.conditions import Condition, offline_reason
from funcx_lab_hub_service.forwarder.dispatch_state import DispatchState
from funcx_lab_hub_service.forwarder.errands import Errands
from funcx_lab_hub_service.forwarder.instructions import (
    AcknowledgeSoon,
    Instruction,
    Offline,
    Online,
    OpenSession,
    Send,
    SendTasks,
)
from funcx_lab_hub_service.forwarder.keys import load_key
from funcx_lab_hub_service.forwarder.packing import pack_tasks
from funcx_lab_hub_service.forwarder.socket import AgentSocket
from funcx_lab_hub_service.vitals import end_process

if TYPE_CHECKING:
    from funcx_lab.protocol.stream import NewTask
    from funcx_lab_hub_service.endpoints import Endpoints
    from funcx_lab_hub_service.functions import Functions
    from funcx_lab_hub_service.store.records import EndpointRecord
    from funcx_lab_hub_service.tasks import Tasks

log = logging.getLogger(__name__)

_TICK_S = 1.0
#: A tick that comes so late finds frames that wait in the socket: they are read first.
_LATE_S = 5.0
#: Acknowledgements of results gather for so many seconds: one message, one wake-up of the agent.
_ACK_S = 0.02
#: An agent whose key is void has this long to hear so before its connection is cut.
_PARTING_S = 1.0


@dataclass(frozen=True, slots=True)
class _Offer:
    """Leases that leave once their insert is in the writer's queue."""

    forwarder: Forwarder
    endpoint_id: str
    session: int
    tags: Sequence[int]
    items: Sequence[TaskItem]

    def send(self) -> None:
        """Send the tasks."""
        self.forwarder.step(self.endpoint_id, lambda state: state.dispatch(self.items, time.monotonic()))


class Forwarder:
    """The service's side of all endpoint connections.

    Parameters
    ----------
    tasks, endpoints, functions
        The rules.
    boot : int
        Number of this life of the service; tags and sessions begin with it.
    key_file : Path
        The CURVE secret key (Z85), made with mode 0600 when absent.
    host : str
        Address to listen on.
    port, last_port : int
        The port; if 0, ``last_port`` when it is free, else any.
    public_host : str, optional
        What agents dial, when it is not ``host``.
    on_fatal : callable
        Called when the forwarder cannot go on: it must not look healthy then.
    on_refused : callable
        Called with the address of a connection that showed no good key.
    """

    def __init__(
        self,
        tasks: Tasks,
        endpoints: Endpoints,
        functions: Functions,
        *,
        boot: int,
        key_file: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        last_port: int = 0,
        public_host: str | None = None,
        on_fatal: Callable[[BaseException], None] = end_process,
        on_refused: Callable[[str], None] = lambda address: None,
    ) -> None:
        self._tasks = tasks
        self._endpoints = endpoints
        self._functions = functions
        self._host, self._wanted, self._last = host, port, last_port
        self._public_host = public_host or host
        self._numbers = _Numbers(boot)
        self._states: dict[str, DispatchState] = {}
        self._errands = Errands(tasks.facts, self.step, lambda: time.monotonic())
        self._on_fatal = on_fatal
        self._ticked = 0.0
        secret = load_key(key_file)
        #: what agents must find at the other end (Z85)
        self.public_key = zmq.curve_public(secret).decode()
        self.port = 0
        self._socket = AgentSocket(secret, self._is_enrolled, self._on_frame, on_fatal, on_refused)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """What agents dial, e.g. ``tcp://127.0.0.1:40123``."""
        host = self._public_host
        return f"tcp://[{host}]:{self.port}" if ":" in host else f"tcp://{host}:{self.port}"

    @property
    def malformed(self) -> int:
        """How many frames were refused because they are no message."""
        return self._socket.malformed

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        ServiceStartError
            If the address cannot be used.
        """
        self.port = self._socket.open(self._host, self._wanted, self._last)
        self._tasks.attach(self)
        self._endpoints.when_revoked(self._on_revoked)
        self._on_timer()

    async def stop(self) -> None:
        """Tell the agents and hang up; they dial again until the service is back."""
        if self._timer is not None:
            self._timer.cancel()
        for endpoint_id in list(self._states):
            self.step(endpoint_id, lambda state: state.renew("the hub service stopped"))
        self._socket.close()

    # --- what the rules ask (tasks.Dispatcher) ------------------------------------------------------

    def offer(
        self, endpoint_id: str, function_id: str, tasks: Sequence[NewTask], options: TaskOptions | None
    ) -> _Offer | None:
        """Return leases for as many of the tasks as may leave before their commit; None for none."""
        state = self.state(endpoint_id)
        tags = state.offer([len(task.payload) for task in tasks])
        if not tags or state.session is None:
            return None
        items = [
            TaskItem(task.task_id, tag, function_id, task.payload, task.object, options)
            for tag, task in zip(tags, tasks, strict=False)
        ]
        return _Offer(self, endpoint_id, state.session.number, tags, items)

    def queued(self, endpoint_id: str) -> None:
        """Tell that tasks for this endpoint are in the writer's queue, to be leased from the store."""
        self.step(endpoint_id, lambda state: state.queued())

    def withdraw(self, endpoint_id: str, leases: Sequence[tuple[str, int]]) -> None:
        """Forget these offered leases, and no others of the same tasks: their insert failed."""
        self.step(endpoint_id, lambda state: state.withdraw(leases))

    def cancelled(self, endpoint_id: str, leases: Sequence[tuple[str, int | None]]) -> None:
        """Tell the endpoint that these tasks have ended: it may stop them."""
        self.step(endpoint_id, lambda state: state.stop(leases))

    # --- from the socket ----------------------------------------------------------------------------

    def state(self, endpoint_id: str) -> DispatchState:
        """Return the dispatch state of an endpoint."""
        state = self._states.get(endpoint_id)
        if state is None:
            state = self._states[endpoint_id] = DispatchState(self._numbers.take)
        return state

    def _is_enrolled(self, key: str) -> bool:
        return self._endpoints.endpoint_for_key(key) is not None

    def _on_frame(self, peer: bytes, key: str, data: memoryview) -> None:
        endpoint_id = self._endpoints.endpoint_for_key(key)
        if endpoint_id is None:
            self._refuse(peer, key, data)
            return
        try:
            message = agent_codec.decode(data)
        except MalformedMessage as error:
            self._socket.malformed += 1
            log.warning("Endpoint %s sent a frame that is no message: %s", endpoint_id, error)
            return
        self.step(endpoint_id, lambda state: state.receive(peer, message, time.monotonic()))

    def _refuse(self, peer: bytes, key: str, data: memoryview) -> None:
        """Tell an agent whose key is void, and hang up a little later: it is not let in again."""
        try:
            message = agent_codec.decode(data)
        except MalformedMessage:
            message = None
        nonce = message.nonce if isinstance(message, Hello) else ""
        text = "This endpoint was deleted or enrolled anew; register it again."
        self._socket.send(peer, agent_codec.encode(Refused(nonce, "REVOKED", text)))
        self._cut_later(key)

    def _on_revoked(self, endpoint_id: str, key: str) -> None:
        """Say to an agent whose key is void that its session is over; it says hello again and is told why."""
        state = self._states.get(endpoint_id)
        if state is not None and state.session is not None:
            self._socket.send(state.session.peer, agent_codec.encode(Stale(state.session.number)))
            self.step(endpoint_id, lambda state: state.end_session("its key was revoked"))
        if self._endpoints.get(endpoint_id) is None:
            self._states.pop(endpoint_id, None)
        self._cut_later(key)

    def _cut_later(self, key: str) -> None:
        asyncio.get_running_loop().call_later(_PARTING_S, self._socket.cut, key)

    def _on_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._on_timer)
        now = time.monotonic()
        was_late, self._ticked = now - self._ticked > _LATE_S, now
        if was_late:
            return
        try:
            self.tick(now)
        except Exception as error:
            self._on_fatal(error)

    def tick(self, now: float) -> None:
        """Do what is due at monotonic ``now`` (seconds)."""
        for endpoint_id in list(self._states):
            self.step(endpoint_id, lambda state: state.tick(now))

    # --- instructions -------------------------------------------------------------------------------

    def step(self, endpoint_id: str, decide: Callable[[DispatchState], list[Instruction]]) -> None:
        """Tell an endpoint's dispatch state something and do what it decides.

        A mistake of ours ends the session: books that may be wrong are compared anew in the next one.
        """
        state = self._states.get(endpoint_id) or self.state(endpoint_id)
        try:
            if instructions := decide(state):
                self.perform(endpoint_id, instructions)
        except Exception:
            log.exception("What endpoint %s needs went wrong; its session ends", endpoint_id)
            self._states[endpoint_id] = new = DispatchState(self._numbers.take)
            new.session = state.session
            self.perform(endpoint_id, new.renew("the hub service made a mistake; all is compared anew"))

    def perform(self, endpoint_id: str, instructions: Iterable[Instruction]) -> None:
        """Do what a dispatch state decided."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is not None:
            for instruction in instructions:
                self._perform_one(endpoint, instruction)

    def _perform_one(self, endpoint: EndpointRecord, do: Instruction) -> None:
        match do:
            case Send():
                self._send(endpoint, do.peer, agent_codec.encode(do.message))
            case SendTasks():
                self._send_tasks(endpoint, do)
            case AcknowledgeSoon():
                asyncio.get_running_loop().call_later(_ACK_S, self._acknowledge, endpoint.endpoint_id)
            case OpenSession():
                self._endpoints.open_session(endpoint, do.session, do.instance, do.spool)
            case Online():
                self._online(endpoint, do)
            case Offline():
                self._offline_since(endpoint.endpoint_id, time.time() - do.silence_s, do.said)
            case _:
                self._errands.run(endpoint, do)

    def _send(self, endpoint: EndpointRecord, peer: bytes, data: bytes) -> None:
        if self._socket.send(peer, data):
            return
        state = self.state(endpoint.endpoint_id)
        if state.session is not None and state.session.peer == peer:
            # What was lost cannot be told from what arrived: the next session's inventory says.
            self.perform(endpoint.endpoint_id, state.end_session(""))

    def _send_tasks(self, endpoint: EndpointRecord, do: SendTasks) -> None:
        bodies = [self._functions.body(function_id) for function_id in do.functions]
        functions = [body for body in bodies if body is not None]
        for message in pack_tasks(do.session, functions, do.items):
            self._send(endpoint, do.peer, agent_codec.encode(message))
        self._tasks.facts.observer.dispatched(do.items)

    def _acknowledge(self, endpoint_id: str) -> None:
        crash_point("hub.before_acks")
        if endpoint_id in self._states:
            self.step(endpoint_id, lambda state: state.acknowledge())

    def _online(self, endpoint: EndpointRecord, do: Online) -> None:
        old = self._endpoints.condition(endpoint.endpoint_id)
        since = old.since if old.state is EndpointState.ONLINE else time.time()
        condition = Condition(EndpointState.ONLINE, since, "", do.details or old.details)
        if do.environment is not None:
            self._endpoints.set_environment(endpoint.endpoint_id, do.environment)
        self._endpoints.set_condition(endpoint.endpoint_id, condition)
        self._tasks.facts.note_condition(endpoint.endpoint_id, condition)

    def _offline_since(self, endpoint_id: str, since: float, said: str) -> None:
        reason = offline_reason(since) + (f" ({said})" if said else "")
        condition = Condition(EndpointState.OFFLINE, since, reason)
        self._endpoints.set_condition(endpoint_id, condition)
        self._tasks.facts.note_condition(endpoint_id, condition)


class _Numbers:
    """Tags and sessions: ``boot << 40 | counter``, never the same twice."""

    def __init__(self, boot: int) -> None:
        self._next = (boot << 40) + 1

    def take(self, n: int) -> int:
        first = self._next
        self._next += n
        return first
