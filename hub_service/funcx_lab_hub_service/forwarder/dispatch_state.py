"""What the forwarder decides about one endpoint: messages and commits in, instructions out.

No I/O and no clock of its own. The rules are those of the protocol model: sessions and tags never
repeat, frames of another session are answered ``Stale``, no task leaves before the inventory of its
session was compared, leases that are not accepted are sent again, results and losses are judged by
the store's writer at their turn, and what the store does not know is left with the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

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
    ResultAck,
    Results,
    Stale,
    Started,
    TaskItem,
    UnknownTasks,
    Welcome,
)
from funcx_lab_hub_service.forwarder.acknowledgements import Due
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
from funcx_lab_hub_service.forwarder.session import Session, refusal

#: An endpoint that was not heard for this many seconds is offline, within 15 s with the pause of a tick.
SILENCE_S = 14.0
#: A lease that was not accepted within this many seconds is sent again.
RETRANSMIT_S = 5.0
#: Tasks in flight before the first heartbeat tells the credit, and at most.
FIRST_CREDIT, CREDIT_LIMIT = 8, 10_000
#: Payload bytes in flight at most; a single larger task still goes.
BYTES_IN_FLIGHT = 16 * 1024 * 1024
#: Tasks leased from the store in one write, so that others get their turn.
FETCH_LIMIT = 1000
_BOOKS_DIFFER = "its list of tasks differed from the hub service's; both are compared anew"


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
            # An agent that was refused brings what it finished under session 0; it has none to give up.
            return [Send(peer, Stale(number))] if number else []
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
        refused = refusal(hello, session, now, SILENCE_S)
        if refused is not None:
            return [Send(peer, refused)]
        if session is not None and session.nonce == hello.nonce:
            session.heard, session.peer = now, peer
            return [Send(peer, Welcome(session.number, hello.nonce))]
        return self._grant(peer, hello, now)

    def _grant(self, peer: bytes, hello: Hello, now: float) -> list[Instruction]:
        old = self.session
        self.leases.clear()
        self.credit = FIRST_CREDIT
        number = self._take_numbers(1)
        self.session = Session(number, hello.instance, hello.nonce, hello.spool, peer, now)
        ousted = [] if old is None or old.instance == hello.instance else [Send(old.peer, Stale(old.number))]
        return [
            *ousted,
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
        session = self._current()
        credit = message.status.get("credit")
        if isinstance(credit, int) and not isinstance(credit, bool):
            self.credit = max(0, min(credit, CREDIT_LIMIT))
        out: list[Instruction] = [Online(message.status, message.environment)]
        if message.digest is None or session.verdict is None:
            return out + self._fetch()
        if session.digests.differs(message.digest, self.leases.items()):
            return out + self.renew(_BOOKS_DIFFER)
        return out + self._fetch()

    def _results(self, peer: bytes, message: Results) -> list[Instruction]:
        in_session = self.session is not None and self.session.number == message.session
        for result in message.results:
            # Another agent may run the task under another lease: that is stopped once this outcome counts.
            if in_session or self.leases.tag(result.task_id) in (result.tag, None):
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

    def reconcile_failed(self, number: int) -> list[Instruction]:
        """Take note that the comparison could not be stored; the agent asks again."""
        if self.session is not None and self.session.number == number:
            self.session.reconciling = False
        return []

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

    def fetch_failed(self) -> list[Instruction]:
        """Take note that nothing was leased; the next tick tries again."""
        self._fetching = False
        self.backlog = True
        return []

    def judged(
        self,
        peer: bytes,
        number: int,
        acked: list[tuple[str, str]],
        unknown: list[Lease],
        requeued: Sequence[str],
        ended: Iterable[str] = (),
    ) -> list[Instruction]:
        """Take the committed verdict on results or losses; what it ended and is still out is stopped."""
        out: list[Instruction] = []
        if acked:
            out += self._acknowledge_soon(peer, number, acked)
        if unknown:
            out.append(Send(peer, UnknownTasks(number, unknown)))
        twice = [(task_id, None) for task_id in ended if self.leases.tag(task_id) is not None]
        return out + (self.stop(twice) if twice else []) + (self.queued() if requeued else [])

    def judging_failed(self, number: int) -> list[Instruction]:
        """Take note that results or losses could not be stored and were not acknowledged."""
        if self.session is not None and self.session.number == number:
            self.session.broken = True
        return []

    def _acknowledge_soon(self, peer: bytes, number: int, acked: list[tuple[str, str]]) -> list[Instruction]:
        session = self.session
        if session is None or session.number != number:
            return [Send(peer, ResultAck(number, acked))]
        due = session.acknowledgements.add(acked)
        if due is Due.NOW:
            return self.acknowledge()
        return [AcknowledgeSoon()] if due is Due.SOON else []

    def acknowledge(self) -> list[Instruction]:
        """Send the acknowledgements that have gathered."""
        session = self.session
        acked = session.acknowledgements.take() if session is not None else []
        return [Send(session.peer, ResultAck(session.number, acked))] if session is not None and acked else []

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
        room = max(0, self.credit - len(self.leases))
        count = self.leases.fitting(sizes[:room], BYTES_IN_FLIGHT)
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
        if (silence := now - session.heard) >= SILENCE_S:
            return self.end_session("", silence)
        if session.broken:
            return self.renew("its results could not be stored; it sends them again")
        late = self.leases.overdue(now, RETRANSMIT_S)
        return self._send_again(session, late) + self._fetch()

    def end_session(self, said: str, silence_s: float = 0.0) -> list[Instruction]:
        """End the session: the agent left, fell silent or cannot be reached."""
        if self.session is None:
            return []
        self.session = None
        self.leases.clear()
        return [Offline(said, silence_s)]

    def renew(self, why: str) -> list[Instruction]:
        """End the session and say so, so that the agent opens another and all is compared anew."""
        if self.session is None:
            return []
        stale = Send(self.session.peer, Stale(self.session.number))
        return [stale, *self.end_session(why)]

    # --- sending ------------------------------------------------------------------------------------

    def _send(self, items: Sequence[TaskItem], now: float) -> list[Instruction]:
        session = self.session
        if session is None or not items:
            return []
        self.leases.sent(items, now)
        new = dict.fromkeys(item.function_id for item in items if item.function_id not in session.functions)
        session.functions.update(new)
        return [SendTasks(session.peer, session.number, tuple(new), items)]

    def _send_again(self, session: Session, late: Sequence[TaskItem]) -> list[Instruction]:
        """Send leases once more, and the functions too: what was lost may have brought them."""
        functions = tuple(dict.fromkeys(item.function_id for item in late))
        return [SendTasks(session.peer, session.number, functions, late)] if late else []

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
