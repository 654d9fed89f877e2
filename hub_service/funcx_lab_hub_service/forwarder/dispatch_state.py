"""What the forwarder decides about one endpoint: messages and commits in, instructions out.

No I/O and no clock of its own. The rules are those of the protocol model: sessions and tags never
repeat, frames of another session are answered ``Stale``, no task leaves before the inventory of its
session was compared, leases that are not accepted are sent again, results and losses are judged by
the store's writer at their turn, and what the store does not know is left with the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    Accepted,
    AgentMessage,
    Bye,
    Cancel,
    Events,
    EventsAck,
    Heartbeat,
    Hello,
    Inventory,
    Lost,
    Reconciled,
    Refused,
    ResultAck,
    Results,
    Stale,
    Started,
    TaskItem,
    UnknownTasks,
    Welcome,
)
from funcx_lab_hub_service.forwarder.instructions import (
    AcknowledgeSoon,
    Fetch,
    Instruction,
    Lease,
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
from funcx_lab_hub_service.forwarder.leases import Leases

#: An endpoint that was not heard for this many seconds is offline.
SILENCE_S = 15.0
#: A lease that was not accepted within this many seconds is sent again.
RETRANSMIT_S = 5.0
#: Tasks in flight before the first heartbeat tells the credit, and at most.
FIRST_CREDIT, CREDIT_LIMIT = 8, 10_000
#: Payload bytes in flight at most; a single larger task still goes.
BYTES_IN_FLIGHT = 16 * 1024 * 1024
#: So many acknowledgements leave without waiting for more.
ACKS_AT_ONCE = 500
#: Tasks leased from the store in one write, so that others get their turn.
FETCH_LIMIT = 1000


@dataclass(slots=True)
class Session:
    """One granted session."""

    number: int
    instance: str
    nonce: str
    spool: str
    peer: bytes
    heard: float
    reconciling: bool = False
    #: the verdict on the inventory; tasks may leave from then on
    verdict: Reconciled | None = None
    #: functions that were sent in this session
    functions: set[str] = field(default_factory=set)
    #: results that are on disk or void, to be acknowledged soon
    acks: list[tuple[str, str]] = field(default_factory=list)
    #: tasks that ended or were lost while their inventory was being compared
    ended_early: set[str] = field(default_factory=set)
    #: results could not be stored: only a new session makes the agent send them again
    broken: bool = False


class DispatchState:
    """The forwarder's side of one endpoint's link.

    Parameters
    ----------
    take_numbers : callable
        ``take_numbers(n)`` returns the first of ``n`` numbers that were never used before.
    """

    def __init__(self, take_numbers: Callable[[int], int]) -> None:
        self._take_numbers = take_numbers
        self.session: Session | None = None
        self.leases = Leases()
        self.credit = FIRST_CREDIT
        #: whether the store may hold queued tasks
        self.backlog = True
        self._fetching = False
        self._queued_since_fetch = False

    @property
    def ready(self) -> bool:
        """Whether tasks may leave."""
        return self.session is not None and self.session.verdict is not None

    # --- from the agent -----------------------------------------------------------------------------

    def receive(self, peer: bytes, message: AgentMessage, now: float) -> list[Instruction]:
        """Take a message that came over the connection ``peer`` at monotonic ``now``."""
        match message:
            case Hello():
                return self._hello(peer, message, now)
            case Results():  # an outcome counts in whatever session it was made
                return [*self._heard(peer, message.session, now), *self._results(peer, message)]
            case Lost():
                return [*self._heard(peer, message.session, now), *self._lost(peer, message)]
            case Events():
                stored = StoreEvents(peer, message.session, message.batches)
                return [*self._heard(peer, message.session, now), stored]
        stale = self._heard(peer, message.session, now)
        return stale or self._in_session(message)

    def _heard(self, peer: bytes, number: int, now: float) -> list[Instruction]:
        """Take note that the session's agent lives; a frame of another session is answered so."""
        session = self.session
        if session is None or session.number != number:
            return [Send(peer, Stale(number))]
        session.heard, session.peer = now, peer
        return []

    def _in_session(self, message: Inventory | Accepted | Started | Heartbeat | Bye) -> list[Instruction]:
        match message:
            case Inventory():
                return self._inventory(message)
            case Accepted():
                for task_id, tag in message.tasks:
                    self.leases.accepted(task_id, tag)
                return []
            case Started():
                tasks = [task for task in message.tasks if self.leases.tag(task[0]) == task[1]]
                return [StoreStarted(tasks)] if tasks else []
            case Heartbeat():
                return self._heartbeat(message)
            case Bye():
                return self.end_session(message.reason or "endpoint stopped")

    def _hello(self, peer: bytes, hello: Hello, now: float) -> list[Instruction]:
        session = self.session
        if not PROTOCOL_VERSION - 1 <= hello.version <= PROTOCOL_VERSION:
            message = (
                f"The agent speaks protocol version {hello.version}, the hub service {PROTOCOL_VERSION}; "
                "upgrade the older of the two."
            )
            return [Send(peer, Refused(hello.nonce, "VERSION_MISMATCH", message))]
        if session is not None and session.nonce == hello.nonce:
            session.heard, session.peer = now, peer
            return [Send(peer, Welcome(session.number, hello.nonce))]
        if session is not None and session.instance != hello.instance and not hello.takeover:
            silence = now - session.heard
            if silence < SILENCE_S:
                message = (
                    f"Another agent of this endpoint was heard {silence:.0f} s ago. Stop it, "
                    "or start this one with --takeover."
                )
                return [Send(peer, Refused(hello.nonce, "ENDPOINT_BUSY", message))]
        return self._grant(peer, hello, now)

    def _grant(self, peer: bytes, hello: Hello, now: float) -> list[Instruction]:
        self.leases.clear()
        self.credit = FIRST_CREDIT
        number = self._take_numbers(1)
        self.session = Session(number, hello.instance, hello.nonce, hello.spool, peer, now)
        return [
            OpenSession(number, hello.instance, hello.spool),
            Send(peer, Welcome(number, hello.nonce)),
            Online(),
        ]

    def _inventory(self, message: Inventory) -> list[Instruction]:
        session = self._current()
        if session.verdict is not None:
            return [Send(session.peer, session.verdict)]
        if session.reconciling:
            return []
        session.reconciling = True
        return [Reconcile(session.number, session.spool, dict(message.tasks))]

    def _heartbeat(self, message: Heartbeat) -> list[Instruction]:
        credit = message.status.get("credit")
        if isinstance(credit, int) and not isinstance(credit, bool):
            self.credit = max(0, min(credit, CREDIT_LIMIT))
        return [Online(message.status), *self._fetch()]

    def _results(self, peer: bytes, message: Results) -> list[Instruction]:
        for result in message.results:
            self._drop(result.task_id)
        return [StoreResults(peer, message.session, message.results), *self._fetch()]

    def _lost(self, peer: bytes, message: Lost) -> list[Instruction]:
        for task_id, tag, _, _ in message.tasks:
            if self.leases.tag(task_id) in (tag, None):
                self._drop(task_id)
        return [StoreLosses(peer, message.session, message.tasks)]

    def _drop(self, task_id: str) -> None:
        self.leases.drop(task_id)
        if self.session is not None and self.session.verdict is None:
            self.session.ended_early.add(task_id)

    def _current(self) -> Session:
        assert self.session is not None, "asked for inside a session only"  # noqa: S101  # a mistake of ours
        return self.session

    # --- from the store -----------------------------------------------------------------------------

    def reconciled(
        self, number: int, kept: Iterable[Lease], unknown: list[Lease], drop: list[Lease]
    ) -> list[Instruction]:
        """Take the committed verdict on a session's inventory."""
        session = self.session
        if session is None or session.number != number:
            return []
        self.leases.kept(lease for lease in kept if lease[0] not in session.ended_early)
        session.ended_early.clear()
        session.verdict = Reconciled(number, unknown, drop)
        self.backlog = True
        return [Send(session.peer, session.verdict), *self._fetch()]

    def reconcile_failed(self, number: int) -> None:
        """Take note that the comparison could not be stored; the agent asks again."""
        if self.session is not None and self.session.number == number:
            self.session.reconciling = False

    def fetched(
        self, number: int, items: Sequence[TaskItem], exhausted: bool, now: float
    ) -> list[Instruction]:
        """Take committed leases of session ``number``; if it is over, the next inventory settles them."""
        self._fetching = False
        if exhausted and not self._queued_since_fetch:
            self.backlog = False
        session = self.session
        if session is None or session.number != number:
            self.backlog = True
            return self._fetch()
        return [*self._send(items, now), *self._fetch()]

    def fetch_failed(self) -> None:
        """Take note that nothing was leased; the next tick tries again."""
        self._fetching = False
        self.backlog = True

    def judged(
        self,
        peer: bytes,
        number: int,
        acked: list[tuple[str, str]],
        unknown: list[Lease],
        requeued: Sequence[str],
    ) -> list[Instruction]:
        """Take the committed verdict on results or losses."""
        out: list[Instruction] = []
        if acked:
            out += self._acknowledge_soon(peer, number, acked)
        if unknown:
            out.append(Send(peer, UnknownTasks(number, unknown)))
        return out + (self.queued() if requeued else [])

    def judging_failed(self, number: int) -> None:
        """Take note that results or losses could not be stored and were not acknowledged."""
        if self.session is not None and self.session.number == number:
            self.session.broken = True

    def _acknowledge_soon(self, peer: bytes, number: int, acked: list[tuple[str, str]]) -> list[Instruction]:
        """Gather acknowledgements: the agent only frees memory by them."""
        session = self.session
        if session is None or session.number != number:
            return [Send(peer, ResultAck(number, acked))]
        is_first = not session.acks
        session.acks += acked
        if len(session.acks) >= ACKS_AT_ONCE:
            return self.acknowledge()
        return [AcknowledgeSoon()] if is_first else []

    def acknowledge(self) -> list[Instruction]:
        """Send the acknowledgements that have gathered."""
        session = self.session
        if session is None or not session.acks:
            return []
        acks, session.acks = session.acks, []
        return [Send(session.peer, ResultAck(session.number, acks))]

    def events_stored(self, peer: bytes, number: int, acks: list[tuple[str, str, int]]) -> list[Instruction]:
        """Take committed events."""
        return [Send(peer, EventsAck(number, acks))] if acks else []

    # --- from the rules -----------------------------------------------------------------------------

    def offer(self, sizes: Sequence[int]) -> range:
        """Return tags for as many of these tasks as may leave before their commit, in their order.

        Parameters
        ----------
        sizes : sequence of int
            Bytes of each task's payload.
        """
        if not self.ready or self.backlog or self._fetching:
            return range(0)
        room, size, count = self.credit - len(self.leases), self.leases.size, 0
        for nbytes in sizes[: max(0, room)]:
            if size and size + nbytes > BYTES_IN_FLIGHT:
                break
            size += nbytes
            count += 1
        first = self._take_numbers(count) if count else 0
        return range(first, first + count)

    def dispatch(self, items: Sequence[TaskItem], now: float) -> list[Instruction]:
        """Send tasks whose tags were offered in this very session."""
        return self._send(items, now)

    def queued(self) -> list[Instruction]:
        """Take note that tasks are in the store's queue."""
        self.backlog = True
        self._queued_since_fetch = True
        return self._fetch()

    def stop(self, leases: Sequence[tuple[str, int | None]] | Sequence[Lease]) -> list[Instruction]:
        """Stop tasks that have ended, under the lease named or, if none is, the one that is out."""
        tags = []
        for task_id, tag in leases:
            tag = self.leases.tag(task_id) if tag is None else tag
            self._drop(task_id)
            if tag is not None:
                tags.append((task_id, tag))
        if self.session is None or not tags:
            return []
        return [Send(self.session.peer, Cancel(self.session.number, tags)), *self._fetch()]

    def withdraw(self, leases: Sequence[Lease]) -> list[Instruction]:
        """Stop leases whose tasks were not taken in; a newer lease of the same task stands."""
        return self.stop([lease for lease in leases if self.leases.tag(lease[0]) == lease[1]])

    # --- time ---------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Instruction]:
        """Do what is due at monotonic ``now``; call it about every second."""
        session = self.session
        if session is None:
            return []
        if now - session.heard >= SILENCE_S:
            return self.end_session("")
        if session.broken:
            return [Send(session.peer, Stale(session.number)), *self.end_session("")]
        late = self.leases.overdue(now, RETRANSMIT_S)
        again: list[Instruction] = [SendTasks(session.peer, session.number, (), late)] if late else []
        return again + self._fetch()

    def end_session(self, said: str) -> list[Instruction]:
        """End the session: the agent left, fell silent or cannot be reached."""
        if self.session is None:
            return []
        self.session = None
        self.leases.clear()
        return [Offline(said)]

    # --- sending ------------------------------------------------------------------------------------

    def _send(self, items: Sequence[TaskItem], now: float) -> list[Instruction]:
        session = self.session
        if session is None or not items:
            return []
        self.leases.sent(items, now)
        new = dict.fromkeys(item.function_id for item in items if item.function_id not in session.functions)
        session.functions.update(new)
        return [SendTasks(session.peer, session.number, tuple(new), items)]

    def _fetch(self) -> list[Instruction]:
        """Ask the store for queued tasks when there is room for a worthwhile number."""
        session = self.session
        if session is None or session.verdict is None or not self.backlog or self._fetching:
            return []
        room, size = self.credit - len(self.leases), BYTES_IN_FLIGHT - self.leases.size
        if room < max(1, self.credit // 8) or size <= 0:
            return []
        self._fetching, self._queued_since_fetch = True, False
        count = min(room, FETCH_LIMIT)
        first = self._take_numbers(count)
        return [Fetch(session.number, range(first, first + count), size)]
