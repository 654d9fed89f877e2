"""The forwarder: performs what the dispatch state of each endpoint decides."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from funcx_lab.config import write_private
from funcx_lab.errors import ConfigError, MalformedMessage
from funcx_lab.protocol.messages import Hello, Refused, Stale, TaskItem, TaskOptions, agent_codec
from funcx_lab.protocol.states import EndpointState
from funcx_lab_hub_service.endpoints import Condition, offline_reason
from funcx_lab_hub_service.forwarder.dispatch_state import DispatchState
from funcx_lab_hub_service.forwarder.instructions import (
    AcknowledgeSoon,
    Fetch,
    Instruction,
    Offline,
    Online,
    OpenSession,
    Reconcile,
    Send,
    SendTasks,
    StoreEvents,
    StoreLosses,
    StoreResults,
    StoreStarted,
)
from funcx_lab_hub_service.forwarder.packing import pack_tasks
from funcx_lab_hub_service.forwarder.socket import AgentSocket

if TYPE_CHECKING:
    from funcx_lab.protocol.stream import NewTask
    from funcx_lab_hub_service.endpoints import Endpoints
    from funcx_lab_hub_service.functions import Functions
    from funcx_lab_hub_service.store.outcomes import Reconciliation, Verdict
    from funcx_lab_hub_service.store.records import EndpointRecord
    from funcx_lab_hub_service.tasks import Tasks

log = logging.getLogger(__name__)

_TICK_S = 1.0
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
        state = self.forwarder.state(self.endpoint_id)
        self.forwarder.perform(self.endpoint_id, state.dispatch(self.items, time.monotonic()))


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
    ) -> None:
        self._tasks = tasks
        self._endpoints = endpoints
        self._functions = functions
        self._host, self._wanted, self._last = host, port, last_port
        self._public_host = public_host or host
        self._numbers = _Numbers(boot)
        self._states: dict[str, DispatchState] = {}
        secret = _load_key(key_file)
        #: what agents must find at the other end (Z85)
        self.public_key = zmq.curve_public(secret).decode()
        self.port = 0
        self._socket = AgentSocket(secret, self._is_enrolled, self._on_frame)
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
        self._endpoints.when_deleted(self._on_deleted)
        self._on_timer()

    async def stop(self) -> None:
        """Hang up; agents dial again until the service is back."""
        if self._timer is not None:
            self._timer.cancel()
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
        self.perform(endpoint_id, self.state(endpoint_id).queued())

    def withdraw(self, endpoint_id: str, leases: Sequence[tuple[str, int]]) -> None:
        """Forget these offered leases, and no others of the same tasks: their insert failed."""
        self.perform(endpoint_id, self.state(endpoint_id).withdraw(leases))

    def cancelled(self, endpoint_id: str, leases: Sequence[tuple[str, int | None]]) -> None:
        """Tell the endpoint that these tasks have ended: it may stop them."""
        self.perform(endpoint_id, self.state(endpoint_id).stop(leases))

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
        self.perform(endpoint_id, self.state(endpoint_id).receive(peer, message, time.monotonic()))

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

    def _on_deleted(self, endpoint_id: str, key: str | None) -> None:
        state = self._states.pop(endpoint_id, None)
        if state is not None and state.session is not None:  # it says hello again and is told why not
            stale = Stale(state.session.number)
            self._socket.send(state.session.peer, agent_codec.encode(stale))
        if key is not None:
            self._cut_later(key)

    def _cut_later(self, key: str) -> None:
        asyncio.get_running_loop().call_later(_PARTING_S, self._socket.cut, key)

    def _on_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._on_timer)
        self.tick(time.monotonic())

    def tick(self, now: float) -> None:
        """Do what is due at monotonic ``now`` (seconds)."""
        for endpoint_id, state in list(self._states.items()):
            self.perform(endpoint_id, state.tick(now))

    # --- instructions -------------------------------------------------------------------------------

    def perform(self, endpoint_id: str, instructions: Iterable[Instruction]) -> None:
        """Do what a dispatch state decided."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is not None:
            for instruction in instructions:
                self._perform_one(endpoint, instruction)

    def _perform_one(self, endpoint: EndpointRecord, do: Instruction) -> None:  # noqa: C901  # one line a kind
        match do:
            case Send():
                self._send(endpoint, do.peer, agent_codec.encode(do.message))
            case SendTasks():
                self._send_tasks(endpoint, do)
            case StoreResults():
                self._judge(endpoint, do)
            case StoreLosses():
                self._judge(endpoint, do)
            case Fetch():
                self._fetch(endpoint, do)
            case StoreEvents():
                self._store_events(endpoint, do)
            case StoreStarted():
                self._tasks.facts.store_started(endpoint, do.tasks)
            case AcknowledgeSoon():
                asyncio.get_running_loop().call_later(_ACK_S, self._acknowledge, endpoint.endpoint_id)
            case OpenSession():
                self._endpoints.open_session(endpoint, do.session, do.instance, do.spool)
            case Reconcile():
                self._reconcile(endpoint, do)
            case Online():
                self._online(endpoint, do)
            case Offline():
                self._offline(endpoint, do)

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

    def _judge(self, endpoint: EndpointRecord, do: StoreResults | StoreLosses) -> None:
        def judged(verdict: Verdict | None) -> None:
            state = self.state(endpoint.endpoint_id)
            if verdict is None:
                state.judging_failed(do.session)
                return
            self.perform(
                endpoint.endpoint_id,
                state.judged(do.peer, do.session, verdict.acked, verdict.unknown, verdict.requeued),
            )

        if isinstance(do, StoreResults):
            self._tasks.facts.store_results(endpoint, do.results, judged)
        else:
            self._tasks.facts.store_losses(endpoint, do.tasks, judged)

    def _acknowledge(self, endpoint_id: str) -> None:
        state = self._states.get(endpoint_id)
        if state is not None:
            self.perform(endpoint_id, state.acknowledge())

    def _fetch(self, endpoint: EndpointRecord, do: Fetch) -> None:
        def leased(found: tuple[list[TaskItem], bool] | None) -> None:
            state = self.state(endpoint.endpoint_id)
            if found is None:
                state.fetch_failed()
                return
            self.perform(endpoint.endpoint_id, state.fetched(do.session, *found, time.monotonic()))

        self._tasks.facts.lease_queued(endpoint, do.session, do.tags, do.size_limit, leased)

    def _store_events(self, endpoint: EndpointRecord, do: StoreEvents) -> None:
        def stored(acks: list[tuple[str, str, int]]) -> None:
            state = self.state(endpoint.endpoint_id)
            self.perform(endpoint.endpoint_id, state.events_stored(do.peer, do.session, acks))

        self._tasks.facts.store_events(endpoint, do.batches, stored)

    def _reconcile(self, endpoint: EndpointRecord, do: Reconcile) -> None:
        def compared(result: Reconciliation | None) -> None:
            state = self.state(endpoint.endpoint_id)
            if result is None:
                state.reconcile_failed(do.session)
                return
            self.perform(
                endpoint.endpoint_id, state.reconciled(do.session, result.kept, result.unknown, result.drop)
            )

        self._tasks.facts.reconcile(endpoint, do.session, do.spool, dict(do.inventory), compared)

    def _online(self, endpoint: EndpointRecord, do: Online) -> None:
        old = self._endpoints.condition(endpoint.endpoint_id)
        since = old.since if old.state is EndpointState.ONLINE else time.time()
        condition = Condition(EndpointState.ONLINE, since, "", do.details or old.details)
        self._endpoints.set_condition(endpoint.endpoint_id, condition)
        self._tasks.facts.note_condition(endpoint.endpoint_id, condition)

    def _offline(self, endpoint: EndpointRecord, do: Offline) -> None:
        now = time.time()
        reason = offline_reason(now) + (f" ({do.said})" if do.said else "")
        condition = Condition(EndpointState.OFFLINE, now, reason)
        self._endpoints.set_condition(endpoint.endpoint_id, condition)
        self._tasks.facts.note_condition(endpoint.endpoint_id, condition)


class _Numbers:
    """Tags and sessions: ``boot << 40 | counter``, never the same twice."""

    def __init__(self, boot: int) -> None:
        self._next = (boot << 40) + 1

    def take(self, n: int) -> int:
        first = self._next
        self._next += n
        return first


def _load_key(path: Path) -> bytes:
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        _, secret = zmq.curve_keypair()
        write_private(path, secret.decode() + "\n")
        return secret
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if path.stat().st_mode & 0o077:
        raise ConfigError(
            f"Others can read {path}; `chmod 600` it, or remove it and enrol every endpoint anew."
        )
    if len(secret) != 40:
        raise ConfigError(
            f"{path} is not a CURVE key; restore it, or remove it and enrol every endpoint anew."
        )
    return secret
