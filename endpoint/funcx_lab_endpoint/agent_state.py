"""What the agent decides: messages and engine facts in, instructions out. No I/O, no clock of its own.

The rules of the link are those of the protocol model: a session is asked for with a fresh nonce, the
inventory is sent inside it, verdicts and tasks of another session or lease are void, and outcomes, losses
and events are kept and sent again until they are acknowledged. What becomes of a task is `work`'s.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.messages import (
    Cancel,
    EventsAck,
    ForwarderMessage,
    Heartbeat,
    Inventory,
    Reconciled,
    Refused,
    ResultAck,
    Stale,
    TaskItem,
    Tasks,
    UnknownTasks,
    Welcome,
)
from funcx_lab_endpoint.changes import Change
from funcx_lab_endpoint.digests import Digests
from funcx_lab_endpoint.engine.contract import EngineFact
from funcx_lab_endpoint.holding import Holding
from funcx_lab_endpoint.holdings import Holdings
from funcx_lab_endpoint.instructions import (
    Instruction,
    ObjectFact,
    Reconnect,
    Refusal,
    Save,
    Send,
)
from funcx_lab_endpoint.link_session import LinkSession
from funcx_lab_endpoint.outbox import Outbox
from funcx_lab_endpoint.work import Work

HEARTBEAT_S = 5.0
#: How long a task that the hub service does not know is kept.
ORPHAN_GRACE_S = 600.0
SWEEP_S = 5.0
#: Tasks of an earlier life begin without the hub service's word when it is away for so long.
ALONE_S = 10.0
#: A refused agent waits so long for acknowledgements of what it had to deliver.
DELIVERY_S = 10.0


class AgentState:
    """The agent's side of the link, as a state machine.

    Parameters
    ----------
    instance : str
        Identity of this life of the agent; executions that end here are named after it.
    holdings : Holdings
        Where tasks, outcomes and losses are kept; what an earlier life left in them is taken up.
    new_nonce : callable
        Returns a random text at each call.
    takeover : bool
        Ask the hub service to end the session of another live agent of this endpoint.
    """

    def __init__(
        self, *, instance: str, holdings: Holdings, new_nonce: Callable[[], str], takeover: bool = False
    ) -> None:
        self.draining = False
        #: why no task is accepted, nothing if they are
        self.closed = ""
        self._holdings = holdings
        self._link = LinkSession(
            instance=instance, spool=holdings.spool, new_nonce=new_nonce, takeover=takeover
        )
        self._next_beat = 0.0
        self._next_sweep = 0.0
        self._digests = Digests(holdings)
        self._seen: set[tuple[str, int]] = set()
        self._instructions: list[Instruction] = []
        self._outbox = Outbox(holdings)
        self._work = Work(instance, holdings, self._outbox, self._do)
        self._writes = itertools.count(1)
        self._waits_for_all = False
        #: whether the hub service has said what of an earlier life's tasks still counts
        self._compared = False
        self._alone_at: float | None = None
        self._refused = ""
        self._delivered_by = 0.0
        self._work.resume()

    # --- the connection -----------------------------------------------------------------------------

    @property
    def session(self) -> int | None:
        """The session that is granted, None while there is none."""
        return self._link.number

    @property
    def _speaks_in(self) -> int | None:
        """The session whose acknowledgements count: 0 while a refused agent delivers what is finished."""
        return 0 if self._refused and self.session is None else self.session

    def link_up(self, now: float) -> None:
        """Ask for a session on a fresh connection."""
        self._seen.clear()
        self._refused = ""
        self._do(Send(self._link.hello(now)))

    def link_down(self) -> None:
        """Take note that the connection is gone."""
        self._link.end()
        self._refused = ""
        self._holdings.hurry()

    def receive(self, message: ForwarderMessage, now: float) -> None:
        """Take a message of the forwarder."""
        match message:
            case Tasks() if message.session == self.session:
                self._take_tasks(message, now)
            case ResultAck() if message.session == self._speaks_in:
                self._acknowledge(message)
            case EventsAck() if message.session == self.session:
                self._acknowledge_events(message)
            case Cancel() if message.session == self.session:
                self._verdict_drop(message.tasks)
            case UnknownTasks() if message.session == self._speaks_in:
                self._verdict_unknown(message.tasks, now)
            case Reconciled() if message.session == self.session and not self._link.ready:
                self._reconciled(message, now)
            case Welcome() if self._link.answers(message.nonce):
                self._welcome(message, now)
            case Refused() if self._link.answers(message.nonce):
                self._refuse(message, now)
            case Stale() if message.session == self.session:
                self.link_up(now)
            case _:
                pass  # of another session or connection attempt: void

    def _welcome(self, message: Welcome, now: float) -> None:
        self._link.grant(message.session)
        self._next_beat = now
        self._do(Send(Inventory(message.session, self._holdings.inventory())))
        self._outbox.send_all_again()

    def _reconciled(self, message: Reconciled, now: float) -> None:
        self._link.compared()
        self._compared = True
        self._holdings.expect_takers()
        orphans = [holding for holding in self._holdings if holding.orphan_since is not None]
        for holding in orphans:
            holding.orphan_since = None
        self._verdict_unknown(message.unknown, now)
        self._verdict_drop(message.drop)
        self._digests.begin(now)
        for holding in orphans:
            if holding.orphan_since is None and self._holdings.get(holding.task_id) is holding:
                self._outbox.tell_again(holding)

    def _refuse(self, message: Refused, now: float) -> None:
        """Deliver what is finished, begin nothing, and try again later."""
        self._link.end()
        self._do(Refusal(message.code, message.message))
        if message.code == "ENDPOINT_BUSY":
            self._compared = False
            self._alone_at = float("inf")
            self._refused = message.message
            self._delivered_by = now + DELIVERY_S
            self._outbox.send_all_again()
        else:
            self._do(Reconnect(message.message))

    # --- tasks --------------------------------------------------------------------------------------

    def _take_tasks(self, message: Tasks, now: float) -> None:
        for function in message.functions:
            self._work.learn(function)
        may_begin = self._may_begin(now)
        for item in message.tasks:
            self._take_task(item, now, may_begin=may_begin)

    def _take_task(self, item: TaskItem, now: float, *, may_begin: bool) -> None:
        lease = (item.task_id, item.tag)
        holding = self._holdings.get(item.task_id)
        if holding is None:
            # A late copy of a lease that ended here must not run again; what is not accepted is sent again.
            is_late = lease in self._seen
            has_come = self._holdings.functions.has_come(item.function_id)
            if has_come and not (is_late or self.draining or self.closed):
                added = self._holdings.add(item)
                added.came = now
                self._work.take(added, may_begin=may_begin)
                self._outbox.tell_accepted(*lease, now)
                self._seen.add(lease)
            return
        self._seen.add(lease)
        if item.tag > holding.tag:
            self._holdings.rebind(holding, item.tag)
            self._outbox.tell_again(holding)
        if item.tag == holding.tag:
            self._outbox.tell_accepted(*lease, now)

    # --- verdicts and acknowledgements --------------------------------------------------------------

    def _leased(self, leases: Iterable[tuple[str, int]]) -> Iterable[Holding]:
        """Yield the holdings that are still under exactly these leases: a verdict is void for others."""
        for task_id, tag in leases:
            holding = self._holdings.get(task_id)
            if holding is not None and holding.tag == tag:
                yield holding

    def _verdict_drop(self, leases: list[tuple[str, int]]) -> None:
        for holding in self._leased(leases):
            if holding.outcome is None:
                self._work.abandon(holding)

    def _verdict_unknown(self, leases: list[tuple[str, int]], now: float) -> None:
        for holding in self._leased(leases):
            holding.orphan_since = now
            self._outbox.forget(holding)

    def _acknowledge(self, message: ResultAck) -> None:
        for task_id, execution in message.results:
            self._outbox.acknowledged(task_id, execution)
            if self._holdings.losses and self._holdings.forget_loss(task_id, execution):
                continue
            holding = self._holdings.get(task_id)
            if holding is not None and holding.outcome is not None and holding.execution == execution:
                self._work.delivered(holding)

    def _acknowledge_events(self, message: EventsAck) -> None:
        for task_id, execution, below in message.batches:
            holding = self._holdings.get(task_id)
            if holding is not None and holding.log is not None and holding.log.execution == execution:
                holding.log.acknowledge(below)

    # --- the engine, objects and the spool ----------------------------------------------------------

    def engine_fact(self, fact: EngineFact) -> None:
        """Take a fact of the engine; facts about calls that were given up are ignored."""
        self._work.engine_fact(fact)

    def object_fact(self, fact: ObjectFact) -> None:
        """Take the end of a download or an upload."""
        self._work.object_fact(fact)

    def given_back(self, task_id: str) -> None:
        """Take note that the engine has forgotten a call that no worker had."""
        holding = self._holdings.get(task_id)
        if holding is not None:
            self._work.keep(holding)

    def count_workers(self, count: int) -> None:
        """Take note of how many workers serve."""
        self._work.count_workers(count)

    def saved(self, number: int) -> None:
        """Take note that every `Save` up to this number is on disk."""
        self._work.saved(number)

    def spool_replaced(self) -> None:
        """Fill a spool that had to be made anew."""
        self._save(self._holdings.everything(), whole=True)

    def _save(self, changes: list[Change], *, whole: bool = False) -> None:
        number = next(self._writes)
        self._work.saving(number)
        self._do(Save(number, changes, self._holdings.spool if whole else ""))

    # --- time ---------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due at ``now`` (monotonic seconds)."""
        if self._link.is_overdue(now):
            self._do(Reconnect("the hub service did not grant a session in time"))
        if self._refused and (not self._outbox.busy or now >= self._delivered_by):
            self._do(Reconnect(self._refused))
            self._refused = ""
        if self.session is not None:
            self._outbox.resend_due(now)
        if now >= self._next_sweep and (self.session is None or self._link.ready):
            self._next_sweep = now + SWEEP_S
            self._drop_old_orphans(now)

    def _drop_old_orphans(self, now: float) -> None:
        for holding in self._holdings:
            since = holding.orphan_since
            running = holding.call_tag is not None and holding.outcome is None
            if since is not None and now >= since + ORPHAN_GRACE_S and not running:
                self._work.abandon(holding)

    def next_deadline(self, now: float) -> float:
        """Return the monotonic time at which `tick`, `turn` or `beat` wants to be called at the latest."""
        due = [now + HEARTBEAT_S, self._holdings.deadline]
        if self._link.deadline is not None:
            due.append(self._link.deadline)
        if self.session is not None:
            due += [self._next_beat, self._outbox.deadline]
        if self._work.waits and not self._compared and self._alone_at is not None:
            due.append(self._alone_at)
        if self._refused:
            due.append(self._delivered_by if self._outbox.busy else now)
        return min(due)

    def beat_due(self, now: float) -> bool:
        """Whether a heartbeat should leave now."""
        return self.session is not None and now >= self._next_beat

    def beat(self, status: dict[str, Any], now: float, environment: Environment | None = None) -> None:
        """Send a status report; it is the heartbeat too."""
        if self.session is not None:
            self._next_beat = now + HEARTBEAT_S
            digest = self._digests.due(now) if self._link.ready else None
            told = {**status, "held": len(self._holdings)}
            self._do(Send(Heartbeat(self.session, told, digest, environment)))

    # --- the end ------------------------------------------------------------------------------------

    def drain(self, *, wait_for_all: bool = False) -> None:
        """Take no more tasks; those that did not start stay for the next life, unless all are waited for."""
        self.draining = True
        self._waits_for_all = wait_for_all
        if not wait_for_all:
            self._work.park()

    @property
    def drained(self) -> bool:
        """Whether nothing runs, and nothing that the hub service could take waits for it."""
        if self._waits_for_all and any(holding.outcome is None for holding in self._holdings):
            return False
        return self._work.is_idle and not (self._outbox.busy and self.session is not None)

    def leave(self) -> None:
        """Take note that the agent ends now, on purpose; `turn` yields what is to be written for it."""
        self._work.leave()
        self._save(self._holdings.changes(float("inf")))

    # --- a turn's instructions ----------------------------------------------------------------------

    def turn(self, now: float) -> list[Instruction]:
        """Return what to do now, calls first; messages that gathered since the last turn leave together."""
        # Asked several times for each task, and mostly about nothing new.
        if self._work.has_news:
            self._work.turn(may_begin=self._may_begin(now))
        if self._outbox.has_news(now):
            self._tell(now)
        if now >= self._holdings.deadline and (changes := self._holdings.changes(now)):
            self._save(changes)
        instructions, self._instructions = self._instructions, []
        return instructions

    def _tell(self, now: float) -> None:
        if self.session is not None:
            for message in self._outbox.messages(self.session, now):
                self._do(Send(message))
        elif self._refused:
            for message in self._outbox.ends(0, now):
                self._do(Send(message))

    def _may_begin(self, now: float) -> bool:
        if self.draining and not self._waits_for_all:
            return False
        if self._alone_at is None:
            self._alone_at = now + ALONE_S
        return self._compared or now >= self._alone_at

    def _do(self, instruction: Instruction) -> None:
        self._instructions.append(instruction)
