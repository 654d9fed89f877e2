"""What becomes of a held task: its arguments, its calls, its outcome. No I/O, no clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from funcx_lab.protocol.messages import ErrorInfo, FunctionBody, ObjectRef, Outcome
from funcx_lab_endpoint.changes import SOON_S
from funcx_lab_endpoint.engine.contract import (
    Call,
    CallDone,
    CallLost,
    CallOutput,
    CallStarted,
    EngineFact,
)
from funcx_lab_endpoint.holding import Holding, Transfer
from funcx_lab_endpoint.holdings import Holdings
from funcx_lab_endpoint.instructions import (
    CancelCall,
    Discard,
    Fetch,
    Fetched,
    GiveBack,
    Instruction,
    Kept,
    Learn,
    ObjectFact,
    Release,
    Submit,
    Upload,
    Uploaded,
)
from funcx_lab_endpoint.once import OnceLine
from funcx_lab_endpoint.outbox import Outbox
from funcx_lab_endpoint.session_order import SessionOrder

#: A task that was running at so many deaths of its agent is not tried again.
DEATH_LIMIT = 3
#: Failures that are the function's own; asked for with ``retries``, it runs again after them.
_MAY_RETRY = ("TASK_FAILED", "SHELL_FAILED", "WALLTIME_REACHED")


class Work:
    """The tasks that are held and not over.

    Parameters
    ----------
    instance : str
        Identity of this life of the agent; executions that end here are named after it.
    holdings : Holdings
        Where tasks, outcomes and losses are kept.
    outbox : Outbox
        Is told what the hub service wants to know.
    do : callable
        Takes an instruction for the agent's loop.
    """

    def __init__(
        self, instance: str, holdings: Holdings, outbox: Outbox, do: Callable[[Instruction], None]
    ) -> None:
        self._instance = instance
        self._holdings = holdings
        self._outbox = outbox
        self._do = do
        self._numbers = itertools.count(1)
        #: accepted, not begun
        self._waiting: dict[str, Holding] = {}
        self._calls: list[Call] = []
        self._once = OnceLine(holdings)
        self._order = SessionOrder()

    def count_workers(self, count: int) -> None:
        """Take note of how many workers serve."""
        self._once.workers = count

    # --- beginning ----------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether a task has not begun."""
        return bool(self._waiting)

    @property
    def has_news(self) -> bool:
        """Whether `turn` may have something to do."""
        return bool(self._calls or self._waiting or self._once.line)

    def resume(self) -> None:
        """Take up what an earlier life of the agent left."""
        for function in self._holdings.functions:
            self._do(Learn(function))
        for holding in self._holdings:
            if holding.outcome is None:
                self._resume(holding)

    def _resume(self, holding: Holding) -> None:
        if holding.upload is not None:
            self._upload(holding)
        elif holding.handed:
            self._fail(holding, ErrorInfo("LOST_UNKNOWN", _HANDED))
        elif len(holding.deaths) >= DEATH_LIMIT:
            self._fail(holding, ErrorInfo("TASK_POISONED", _poisoned(holding.deaths)))
        else:
            if holding.deaths:
                self._holdings.changed(holding, SOON_S)
            self._waiting[holding.task_id] = holding

    def learn(self, function: FunctionBody) -> None:
        """Take a function that tasks name."""
        if self._holdings.functions.take(function):
            self._do(Learn(function))

    def take(self, holding: Holding, *, may_begin: bool) -> None:
        """Take a task; it begins at once, or at the first `turn` at which anything may begin."""
        if may_begin:
            self._begin(holding)
        else:
            self._waiting[holding.task_id] = holding

    def turn(self, *, may_begin: bool) -> None:
        """Begin what waits, if anything may begin now, and give the engine its calls."""
        if self._waiting and may_begin:
            # One that the hub service does not know waits until it is known or dropped.
            for holding in [each for each in self._waiting.values() if each.orphan_since is None]:
                del self._waiting[holding.task_id]
                self._begin(holding)
        if may_begin:
            self._once.mark_next()
        if self._calls:
            self._do(Submit(self._calls))
            self._calls = []

    def _begin(self, holding: Holding) -> None:
        item = holding.item
        self._order.begin(holding)
        problem = self._holdings.functions.problem(item.function_id)
        if problem is not None:
            self._fail(holding, problem)
        elif item.object is not None:
            self._do(Fetch(item.task_id, item.tag, item.object))
        else:
            self._hand_over(holding)

    def _hand_over(self, holding: Holding, path: Path | None = None) -> None:
        for each, its_path in self._order.ready(holding, path):
            self._leave(each, its_path)

    def _leave(self, holding: Holding, path: Path | None) -> None:
        if not holding.options.at_most_once:
            self._call(holding, path)
        else:
            self._once.add(holding, path)

    def _drop_from_order(self, holding: Holding) -> None:
        """Let go what waited for a call that will not leave now."""
        for each, path in self._order.drop(holding):
            self._leave(each, path)

    def _call(self, holding: Holding, path: Path | None) -> None:
        item = holding.item
        holding.call_tag = holding.tag
        call = Call(
            *(item.task_id, holding.tag, item.function_id, item.payload, path, holding.options),
            suspect=bool(holding.deaths),
        )
        self._calls.append(call)

    def saving(self, number: int) -> None:
        """Take note that all that has changed so far goes to the spool as write ``number``."""
        self._once.saving(number)

    def saved(self, number: int) -> None:
        """Let go the calls whose marks are on disk with write ``number``."""
        for holding, path in self._once.saved(number):
            self._call(holding, path)

    # --- ending -------------------------------------------------------------------------------------

    def _fail(self, holding: Holding, error: ErrorInfo) -> None:
        holding.log_of(f"{self._instance}:agent:{next(self._numbers)}")
        self._finish(holding, Outcome(ok=False, error=error))

    def _finish(self, holding: Holding, outcome: Outcome) -> None:
        self._holdings.finish(holding, outcome)
        self._drop_from_order(holding)
        self._once.ended(holding)
        self._release(holding)
        self._outbox.tell_outcome(holding)

    def _release(self, holding: Holding) -> None:
        if holding.item.object is not None:
            self._do(Release(holding.task_id))

    def abandon(self, holding: Holding) -> None:
        """Forget a task and stop its call."""
        self._drop_from_order(holding)
        self._holdings.drop(holding)
        self._once.ended(holding)
        self._outbox.forget(holding)
        self._release(holding)
        self._take_back(holding)
        self._discard(holding)

    def delivered(self, holding: Holding) -> None:
        """Forget a task whose outcome the hub service has."""
        self._holdings.drop(holding)
        self._discard(holding)

    def _discard(self, holding: Holding) -> None:
        if holding.upload is not None:
            self._do(Discard(holding.upload.path))

    def _take_back(self, holding: Holding) -> None:
        if self._waiting.pop(holding.task_id, None) is not None or holding.call_tag is None:
            return
        if self._has_left(holding):
            self._do(CancelCall(holding.task_id))
        else:
            self._calls = [call for call in self._calls if call.task_id != holding.task_id]

    def _has_left(self, holding: Holding) -> bool:
        """Whether the engine has the call."""
        return holding.call_tag is not None and all(call.task_id != holding.task_id for call in self._calls)

    def park(self) -> None:
        """Take back what has not started; it stays for the agent's next life."""
        self._order = SessionOrder()
        for holding in self._holdings:
            if holding.started is not None or holding.upload is not None or holding.outcome is not None:
                continue
            if holding.options.at_most_once and self._has_left(holding):
                self._do(GiveBack(holding.task_id))  # only the engine knows whether a worker has it
            else:
                self._take_back(holding)
                self.keep(holding)

    def keep(self, holding: Holding) -> None:
        """Keep a task that no worker has for the agent's next life."""
        self._waiting[holding.task_id] = holding
        holding.call_tag = None
        self._once.take_back(holding)
        self._holdings.changed(holding)

    def leave(self) -> None:
        """Take note that the agent ends on purpose: whatever runs now is not to blame."""
        for holding in self._holdings:
            if holding.started is not None and holding.outcome is None:
                holding.started = None
                self._holdings.changed(holding)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way through the engine or to the hub service's objects."""
        return all(
            holding.outcome is not None or (holding.call_tag is None and holding.upload is None)
            for holding in self._holdings
        )

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
                self._holdings.changed(holding, SOON_S)
                self._outbox.started[holding.task_id] = holding
            case CallOutput():
                holding.log_of(fact.execution).append(fact.first, fact.events)
                self._outbox.talking[holding.task_id] = holding
            case CallDone():
                self._done(holding, fact)
            case CallLost():
                self._lost(holding, fact.execution, fact.evidence)

    def _done(self, holding: Holding, fact: CallDone) -> None:
        if holding.options.retries and self._may_retry(holding, fact.outcome):
            self._retry(holding, fact.path)
            return
        outcome = fact.outcome
        if holding.options.retries:
            outcome = msgspec.structs.replace(outcome, worker={**outcome.worker, "tries": holding.tries + 1})
        holding.log_of(fact.execution).append(fact.first, fact.events)
        if fact.path is None:
            self._finish(holding, outcome)
            return
        holding.call_tag = None
        self._once.ended(holding)
        holding.upload = Transfer(fact.path, outcome)
        self._upload(holding)

    def _upload(self, holding: Holding) -> None:
        execution, upload = holding.execution, holding.upload
        if execution is not None and upload is not None:
            self._do(Upload(holding.task_id, execution, upload.path, upload.outcome))

    def _may_retry(self, holding: Holding, outcome: Outcome) -> bool:
        options, error = holding.options, outcome.error
        return (
            error is not None
            and error.code in _MAY_RETRY
            and holding.tries < options.retries
            and not options.at_most_once
        )

    def _retry(self, holding: Holding, path: Path | None) -> None:
        if path is not None:
            self._do(Discard(path))
        holding.tries += 1
        holding.started = holding.call_tag = None
        self._outbox.mute(holding)
        self._holdings.changed(holding, SOON_S)
        self._waiting[holding.task_id] = holding

    def _lost(self, holding: Holding, execution: str, evidence: str) -> None:
        self._outbox.forget(holding)
        if holding.options.at_most_once:
            holding.log_of(execution)
            error = ErrorInfo("LOST_UNKNOWN", f"{_VANISHED} {evidence}".strip())
            self._finish(holding, Outcome(ok=False, error=error))
            return
        self._release(holding)
        self._outbox.tell_loss(self._holdings.lose(holding, execution, evidence))

    # --- objects ------------------------------------------------------------------------------------

    def object_fact(self, fact: ObjectFact) -> None:
        """Take what became of a download or an upload."""
        holding = self._holdings.get(fact.task_id)
        if holding is None or holding.outcome is not None:
            return
        if isinstance(fact, Fetched):
            if holding.item.tag != fact.tag or holding.call_tag is not None or holding.upload is not None:
                return
            if fact.error is not None:
                self._fail(holding, fact.error)
            elif holding.task_id not in self._waiting:
                self._hand_over(holding, fact.path)
        elif holding.upload is None or holding.execution != fact.execution:
            return
        elif isinstance(fact, Kept):
            holding.upload = replace(holding.upload, is_safe=True)
            self._holdings.changed(holding, SOON_S)
        elif fact.error is not None and fact.error.code == "WORKER_LOST":  # the file is gone
            self._lost(holding, fact.execution, fact.error.message)
        else:
            if fact.error is not None:
                holding.upload = None  # the file is kept for its owner
            self._finish(holding, _with_object(fact))


_ONCE = "at_most_once forbids another run."
_HANDED = f"The agent ended while the call was with a worker and cannot say how it ended; {_ONCE}"
_VANISHED = f"The worker that had the call is gone and cannot say how it ended; {_ONCE}"


def _poisoned(deaths: list[str]) -> str:
    return (
        f"The task was running each time that its endpoint's agent died ({len(deaths)} times, executions "
        f"{', '.join(deaths)}), so it is not tried again. Look into its use of memory, and whether it ends "
        "other processes."
    )


def _with_object(fact: Uploaded) -> Outcome:
    if fact.error is not None:
        return msgspec.structs.replace(fact.outcome, ok=False, payload=b"", error=fact.error)
    reference: ObjectRef | None = fact.reference
    return msgspec.structs.replace(fact.outcome, payload=b"", object=reference)
