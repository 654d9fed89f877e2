"""What the agent decides: messages and engine facts in, instructions out. No I/O, no clock of its own.

The rules of the link are those of the protocol model: a session is asked for with a fresh nonce, the
inventory is sent inside it, verdicts and tasks of another session or lease are void, and outcomes, losses
and events are kept and sent again until they are acknowledged.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from funcx_lab.protocol.messages import (
    Cancel,
    ErrorInfo,
    EventsAck,
    ForwarderMessage,
    Heartbeat,
    Inventory,
    ObjectRef,
    Outcome,
    Reconciled,
    Refused,
    ResultAck,
    Stale,
    TaskItem,
    TaskOptions,
    Tasks,
    UnknownTasks,
    Welcome,
)
from funcx_lab_endpoint.engine.contract import (
    Call,
    CallDone,
    CallLost,
    CallOutput,
    CallStarted,
    EngineFact,
)
from funcx_lab_endpoint.function_book import FunctionBook
from funcx_lab_endpoint.holdings import Holding, Holdings
from funcx_lab_endpoint.instructions import (
    CancelCall,
    Discard,
    Fetch,
    Fetched,
    Instruction,
    Learn,
    ObjectFact,
    Reconnect,
    Refusal,
    Release,
    Send,
    Submit,
    Upload,
    Uploaded,
)
from funcx_lab_endpoint.link_session import LinkSession
from funcx_lab_endpoint.outbox import Outbox

HEARTBEAT_S = 5.0
#: How long a task that the hub service does not know is kept.
ORPHAN_GRACE_S = 600.0
SWEEP_S = 5.0


class AgentState:
    """The agent's side of the link, as a state machine.

    Parameters
    ----------
    instance : str
        Identity of this life of the agent; executions that end here are named after it.
    holdings : Holdings
        Where tasks, outcomes and losses are kept.
    new_nonce : callable
        Returns a random text at each call.
    takeover : bool
        Ask the hub service to end the session of another live agent of this endpoint.
    """

    def __init__(
        self, *, instance: str, holdings: Holdings, new_nonce: Callable[[], str], takeover: bool = False
    ) -> None:
        self.draining = False
        self._instance = instance
        self._holdings = holdings
        self._link = LinkSession(
            instance=instance, spool=holdings.spool, new_nonce=new_nonce, takeover=takeover
        )
        self._next_beat = 0.0
        self._next_sweep = 0.0
        self._seen: set[tuple[str, int]] = set()
        self._functions = FunctionBook()
        self._numbers = itertools.count(1)
        self._calls: list[Call] = []
        self._instructions: list[Instruction] = []
        self._outbox = Outbox(holdings)

    # --- the connection -----------------------------------------------------------------------------

    @property
    def session(self) -> int | None:
        """The session that is granted, None while there is none."""
        return self._link.number

    def link_up(self, now: float) -> None:
        """Ask for a session on a fresh connection."""
        self._seen.clear()
        self._do(Send(self._link.hello(now)))

    def link_down(self) -> None:
        """Take note that the connection is gone."""
        self._link.end()

    def receive(self, message: ForwarderMessage, now: float) -> None:
        """Take a message of the forwarder."""
        match message:
            case Tasks() if message.session == self.session:
                self._take_tasks(message, now)
            case ResultAck() if message.session == self.session:
                self._acknowledge(message)
            case EventsAck() if message.session == self.session:
                self._acknowledge_events(message)
            case Cancel() if message.session == self.session:
                self._verdict_drop(message.tasks)
            case UnknownTasks() if message.session == self.session:
                self._verdict_unknown(message.tasks, now)
            case Reconciled() if message.session == self.session and not self._link.ready:
                self._reconciled(message, now)
            case Welcome() if self._link.answers(message.nonce):
                self._welcome(message, now)
            case Refused() if self._link.answers(message.nonce):
                self._do(Refusal(message.code, message.message))
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
        orphans = [holding for holding in self._holdings if holding.orphan_since is not None]
        for holding in orphans:
            holding.orphan_since = None
        self._verdict_unknown(message.unknown, now)
        self._verdict_drop(message.drop)
        for holding in orphans:
            if holding.orphan_since is None and self._holdings.get(holding.task_id) is holding:
                self._outbox.tell_again(holding)

    # --- tasks --------------------------------------------------------------------------------------

    def _take_tasks(self, message: Tasks, now: float) -> None:
        for function in message.functions:
            if self._functions.take(function):
                self._do(Learn(function))
        for item in message.tasks:
            self._take_task(item, now)

    def _take_task(self, item: TaskItem, now: float) -> None:
        lease = (item.task_id, item.tag)
        holding = self._holdings.get(item.task_id)
        if holding is None:
            # A late copy of a lease that ended here must not run again.
            if not self.draining and lease not in self._seen:
                self._begin(self._holdings.add(item))
                self._outbox.tell_accepted(*lease, now)
                self._seen.add(lease)
            return
        self._seen.add(lease)
        if item.tag > holding.tag:
            self._holdings.rebind(holding, item.tag)
            self._outbox.tell_again(holding)
        if item.tag == holding.tag:
            self._outbox.tell_accepted(*lease, now)

    def _begin(self, holding: Holding) -> None:
        item = holding.item
        problem = self._functions.problem(item.function_id)
        if problem is not None:
            self._fail(holding, problem)
        elif item.object is not None:
            self._do(Fetch(item.task_id, item.tag, item.object))
        else:
            self._hand_over(holding)

    def _hand_over(self, holding: Holding, path: Path | None = None) -> None:
        item = holding.item
        holding.call_tag = holding.tag
        options = item.options or TaskOptions()
        self._calls.append(Call(item.task_id, holding.tag, item.function_id, item.payload, path, options))

    def _fail(self, holding: Holding, error: ErrorInfo) -> None:
        holding.log_of(f"{self._instance}:agent:{next(self._numbers)}")
        self._finish(holding, Outcome(ok=False, error=error))

    def _finish(self, holding: Holding, outcome: Outcome) -> None:
        self._holdings.finish(holding, outcome)
        self._release(holding)
        self._outbox.tell_outcome(holding)

    def _release(self, holding: Holding) -> None:
        if holding.item.object is not None:
            self._do(Release(holding.task_id))

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
                self._abandon(holding)

    def _verdict_unknown(self, leases: list[tuple[str, int]], now: float) -> None:
        for holding in self._leased(leases):
            holding.orphan_since = now
            self._outbox.forget(holding)

    def _abandon(self, holding: Holding) -> None:
        self._holdings.drop(holding)
        self._outbox.forget(holding)
        self._release(holding)
        waiting = [call for call in self._calls if call.task_id != holding.task_id]
        if len(waiting) < len(self._calls):  # it never left
            self._calls = waiting
        elif holding.call_tag is not None:
            self._do(CancelCall(holding.task_id))

    def _acknowledge(self, message: ResultAck) -> None:
        for task_id, execution in message.results:
            self._outbox.acknowledged(task_id, execution)
            if self._holdings.losses.pop((task_id, execution), None) is not None:
                continue
            holding = self._holdings.get(task_id)
            if holding is not None and holding.outcome is not None and _execution(holding) == execution:
                self._holdings.drop(holding)

    def _acknowledge_events(self, message: EventsAck) -> None:
        for task_id, execution, below in message.batches:
            holding = self._holdings.get(task_id)
            if holding is not None and holding.log is not None and holding.log.execution == execution:
                holding.log.acknowledge(below)

    # --- the engine ---------------------------------------------------------------------------------

    def engine_fact(self, fact: EngineFact) -> None:
        """Take a fact of the engine; facts about calls that were given up are ignored."""
        holding = self._holdings.get(fact.task_id)
        current = holding is not None and holding.call_tag is not None and holding.outcome is None
        if isinstance(fact, (CallStarted, CallDone, CallLost)):
            current = current and holding is not None and holding.call_tag == fact.tag
        if holding is None or not current:
            if isinstance(fact, CallDone) and fact.path is not None:
                self._do(Discard(fact.path))
            return
        match fact:
            case CallStarted():
                holding.started = fact
                holding.log_of(fact.execution)
                self._outbox.started[holding.task_id] = holding
            case CallOutput():
                holding.log_of(fact.execution).append(fact.first, fact.events)
                self._outbox.talking[holding.task_id] = holding
            case CallDone():
                self._done(holding, fact)
            case CallLost():
                self._outbox.forget(holding)
                self._release(holding)
                self._outbox.tell_loss(self._holdings.lose(holding, fact.execution, fact.evidence))

    def _done(self, holding: Holding, fact: CallDone) -> None:
        holding.log_of(fact.execution).append(fact.first, fact.events)
        if fact.path is None:
            self._finish(holding, fact.outcome)
            return
        holding.call_tag = None  # the engine is done with it; the outcome waits for its upload
        holding.uploading = True
        self._do(Upload(holding.task_id, fact.execution, fact.path, fact.outcome))

    # --- objects ------------------------------------------------------------------------------------

    def object_fact(self, fact: ObjectFact) -> None:
        """Take the end of a download or an upload."""
        holding = self._holdings.get(fact.task_id)
        if holding is None or holding.outcome is not None:
            return
        if isinstance(fact, Fetched):
            if holding.item.tag != fact.tag or holding.call_tag is not None or holding.uploading:
                return
            if fact.error is not None:
                self._fail(holding, fact.error)
            else:
                self._hand_over(holding, fact.path)
        elif holding.uploading and _execution(holding) == fact.execution:
            self._finish(holding, _with_object(fact))

    # --- time ---------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due at ``now`` (monotonic seconds)."""
        if self._link.is_overdue(now):
            self._do(Reconnect("the hub service did not grant a session in time"))
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
                self._abandon(holding)

    def next_deadline(self, now: float) -> float:
        """Return the monotonic time at which `tick` or `beat` wants to be called at the latest."""
        due = [now + HEARTBEAT_S]
        if self._link.deadline is not None:
            due.append(self._link.deadline)
        if self.session is not None:
            due += [self._next_beat, self._outbox.deadline]
        return min(due)

    def beat_due(self, now: float) -> bool:
        """Whether a heartbeat should leave now."""
        return self.session is not None and now >= self._next_beat

    def beat(self, status: dict[str, Any], now: float) -> None:
        """Send a status report; it is the heartbeat too."""
        if self.session is not None:
            self._next_beat = now + HEARTBEAT_S
            self._do(Send(Heartbeat(self.session, {**status, "held": len(self._holdings)})))

    # --- the end ------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no more tasks and give back those that did not start."""
        self.draining = True
        for holding in self._holdings:
            options = holding.item.options or TaskOptions()
            waits = holding.outcome is None and holding.started is None and not holding.uploading
            if waits and not (options.at_most_once and holding.call_tag is not None):
                self._abandon(holding)

    @property
    def drained(self) -> bool:
        """Whether nothing runs and nothing waits for an acknowledgement."""
        return not self._outbox.busy and all(holding.outcome is not None for holding in self._holdings)

    # --- a turn's instructions ----------------------------------------------------------------------

    def turn(self, now: float) -> list[Instruction]:
        """Return what to do now, calls first; messages that gathered since the last turn leave together."""
        if self._calls:
            self._do(Submit(self._calls))
            self._calls = []
        if self.session is not None:
            for message in self._outbox.messages(self.session, now):
                self._do(Send(message))
        instructions, self._instructions = self._instructions, []
        return instructions

    def _do(self, instruction: Instruction) -> None:
        self._instructions.append(instruction)


def _execution(holding: Holding) -> str | None:
    return holding.log.execution if holding.log is not None else None


def _with_object(fact: Uploaded) -> Outcome:
    if fact.error is not None:
        return msgspec.structs.replace(fact.outcome, ok=False, payload=b"", error=fact.error)
    reference: ObjectRef | None = fact.reference
    return msgspec.structs.replace(fact.outcome, payload=b"", object=reference)
