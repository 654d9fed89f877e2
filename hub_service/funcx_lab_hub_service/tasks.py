"""Rules of tasks: taken in once, ended once, seen by their owner."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from funcx_lab.errors import (
    Conflict,
    FuncxLabError,
    InvalidRequest,
    NotAuthorized,
    ObjectNotFound,
    PayloadTooLarge,
    TaskNotFound,
)
from funcx_lab.protocol.messages import Event, TaskOptions
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask, OutcomeItem, Refusal
from funcx_lab_hub_service.access import may_create
from funcx_lab_hub_service.dispatching import Dispatcher, Offer
from funcx_lab_hub_service.facts import Facts, visible_state
from funcx_lab_hub_service.store import events as event_store
from funcx_lab_hub_service.store import objects as object_store
from funcx_lab_hub_service.store import results as result_store
from funcx_lab_hub_service.store import tasks as store
from funcx_lab_hub_service.store.database import BOOT_SHIFT
from funcx_lab_hub_service.store.outcomes import Ended, OutcomeWriter
from funcx_lab_hub_service.store.records import CODES, TaskRecord

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.endpoints import Endpoints
    from funcx_lab_hub_service.feed import Feed
    from funcx_lab_hub_service.functions import Functions
    from funcx_lab_hub_service.store.database import Database

#: Arguments inside a submit may have this many bytes; larger ones come as objects.
INLINE_LIMIT = 10 * 1024 * 1024
#: So many pages of the store are looked through for tasks of a state that only their endpoint tells.
_PAGES = 20
#: Seconds that the insert of tasks which were dispatched already may wait for company in its commit.
INSERT_PATIENCE_S = 0.002
T = TypeVar("T")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Tasks:
    """The tasks.

    Parameters
    ----------
    database : Database
        Where they are; open.
    endpoints, functions
        What they refer to.
    feed : Feed
        Is told what has been committed.
    """

    def __init__(self, database: Database, endpoints: Endpoints, functions: Functions, feed: Feed) -> None:
        self._database = database
        self._endpoints = endpoints
        self._functions = functions
        self._feed = feed
        self._dispatcher: Dispatcher | None = None
        #: ids whose first insert is in the writer's queue
        self._pending: set[str] = set()
        numbers = itertools.count((database.boot << BOOT_SHIFT) + 1)
        self._writer = store.TaskWriter(store.next_key(database.reader))
        self._outcomes = OutcomeWriter(numbers.__next__)
        #: what endpoints report goes here
        self.facts = Facts(database, self._outcomes, feed, endpoints.condition)
        endpoints.when_deleted(lambda endpoint_id, key: self.facts.end_abandoned())
        self.facts.end_abandoned()  # a crash may have come between the two

    def attach(self, dispatcher: Dispatcher) -> None:
        """Hand tasks to ``dispatcher`` from now on."""
        self._dispatcher = dispatcher

    # --- submitting ---------------------------------------------------------------------------------

    def submit(
        self,
        principal: Principal,
        endpoint: str,
        function_id: str,
        group_id: str,
        tasks: Sequence[NewTask],
        options: TaskOptions | None = None,
    ) -> asyncio.Future[list[Refusal]]:
        """Take in tasks; the future resolves after their commit.

        The same id with the same content again is fine and changes nothing.

        Parameters
        ----------
        endpoint : str
            Name or id.

        Returns
        -------
        asyncio.Future
            Resolves to the refused tasks: `Conflict` if another task has the id.

        Raises
        ------
        EndpointNotFound, FunctionNotFound, NotAuthorized
            At once; nothing was taken in.
        StorageFull, ServiceUnavailable
            From the future; nothing was taken in.
        """
        if not may_create(principal, "task"):
            raise NotAuthorized("An endpoint's own token cannot submit tasks.")
        target = self._endpoints.resolve(principal, endpoint)
        function = self._functions.get(principal, function_id)
        taken, refused = self._sift(principal, tasks)
        if not taken:
            return _settled(refused)
        offer = self._offer(target.endpoint_id, function_id, taken, options)
        tags = offer.tags if offer else ()
        new = store.Insertion(
            *(principal.user, group_id, target.key, function.key, taken, options, tags),
            *(offer.session if offer else None, time.time()),
        )
        committed = self._insert(target.endpoint_id, new, refused)
        if offer is not None:
            offer.send()
        if len(tags) < len(taken) and self._dispatcher is not None:
            self._dispatcher.queued(target.endpoint_id)
        return committed

    def _insert(
        self, endpoint_id: str, new: store.Insertion, refused: list[Refusal]
    ) -> asyncio.Future[list[Refusal]]:
        """Queue an insert; the future resolves after its commit to ``refused`` and the conflicts."""
        answer: asyncio.Future[list[Refusal]] = asyncio.get_running_loop().create_future()
        pending = {task.task_id for task in new.tasks} - self._pending
        self._pending |= pending

        def done(conflicts: list[str], error: BaseException | None) -> None:
            self._pending -= pending
            leases = [(task.task_id, tag) for task, tag in zip(new.tasks, new.tags, strict=False)]
            void = leases if error is not None else [lease for lease in leases if lease[0] in conflicts]
            if void and self._dispatcher is not None:
                self._dispatcher.withdraw(endpoint_id, void)
            if not answer.cancelled():
                taken = [_refusal(task_id, Conflict(_TAKEN)) for task_id in conflicts or ()]
                _settle(answer, refused + taken, error)

        # A task that has left already may come back soon: one commit then serves its insert and its end.
        patience = INSERT_PATIENCE_S if len(new.tags) == len(new.tasks) else 0.0
        self._database.submit(
            lambda connection: self._writer.insert(connection, new), done, patience_s=patience
        )
        return answer

    def _sift(self, principal: Principal, tasks: Sequence[NewTask]) -> tuple[list[NewTask], list[Refusal]]:
        """Return the well-formed tasks, each id once, and the refusals of the others."""
        taken: dict[str, NewTask] = {}
        refused = []
        for task in tasks:
            error = self._fault(principal, task)
            if error is None and taken.setdefault(task.task_id, task) != task:
                error = Conflict(_TAKEN)
            if error is not None:
                refused.append(_refusal(task.task_id, error))
        return list(taken.values()), refused

    def _fault(self, principal: Principal, task: NewTask) -> FuncxLabError | None:
        if not _UUID.fullmatch(task.task_id):
            return InvalidRequest(f"task_id: {task.task_id[:80]!r} is not a UUID in lower case.")
        if len(task.payload) > INLINE_LIMIT:
            return PayloadTooLarge(
                f"The arguments have {len(task.payload)} bytes, the limit inside a message is "
                f"{INLINE_LIMIT}; send them as an object."
            )
        if task.object is not None:
            size = object_store.owned_size(self._database.reader, task.object.sha256, principal.user)
            if size != task.object.size:
                return ObjectNotFound(
                    f"There is no object {task.object.sha256[:80]!r} of yours; upload it first."
                )
        return None

    def _offer(
        self, endpoint_id: str, function_id: str, tasks: Sequence[NewTask], options: TaskOptions | None
    ) -> Offer | None:
        """Return leases that may leave ahead of the commit: only of ids that nobody has seen."""
        if self._dispatcher is None or (options is not None and options.at_most_once):
            return None
        if any(task.object is not None for task in tasks):
            return None  # an agent may fetch an object once the task that names it is committed
        task_ids = [task.task_id for task in tasks]
        if not self._pending.isdisjoint(task_ids) or store.known_ids(self._database.reader, task_ids):
            return None
        return self._dispatcher.offer(endpoint_id, function_id, tasks, options)

    # --- cancelling ---------------------------------------------------------------------------------

    async def cancel(self, principal: Principal, task_ids: Iterable[str]) -> list[str]:
        """Cancel tasks; return those that are cancelled now, whether by this call or before."""
        task_ids = list(task_ids)
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

        def done(value: tuple[list[str], list[Ended]], error: BaseException | None) -> None:
            if error is None:
                self._stop(value[1])
                self.facts.publish(value[1])
            if not answer.cancelled():
                _settle(answer, value and value[0], error)

        self._database.submit(
            lambda connection: self._outcomes.cancel(connection, principal.user, task_ids, time.time()), done
        )
        return await answer

    def _stop(self, ended: list[Ended]) -> None:
        leases: dict[str, list[tuple[str, int | None]]] = {}
        for end in ended:
            leases.setdefault(end.item.endpoint_id, []).append((end.item.task_id, end.tag))
        if self._dispatcher is not None:
            for endpoint_id, stopped in leases.items():
                self._dispatcher.cancelled(endpoint_id, stopped)

    # --- asking -------------------------------------------------------------------------------------

    def record(self, principal: Principal, task_id: str) -> TaskRecord:
        """Return one task.

        Raises
        ------
        TaskNotFound
            If there is none of that id, or it is another's.
        """
        for record in store.select_by_ids(self._database.reader, principal.user, [task_id]):
            return self._refined(record)
        raise TaskNotFound(f"There is no task {task_id!r}, or it is not yours.")

    def records(
        self,
        principal: Principal,
        *,
        task_ids: Sequence[str] | None = None,
        group_id: str | None = None,
        endpoint_id: str | None = None,
        states: Iterable[TaskState] | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[TaskRecord]:
        """Return the principal's tasks: those of ``task_ids`` in that order, or the newest first.

        ``before`` is the ``key`` of the last record of the page before.
        """
        if task_ids is not None:
            found = store.select_by_ids(self._database.reader, principal.user, task_ids)
            return [self._refined(record) for record in found]
        wanted = None if states is None else set(states)
        page: list[TaskRecord] = []
        for _ in range(_PAGES):
            found = store.select(
                self._database.reader,
                principal.user,
                group_id=group_id,
                endpoint_id=endpoint_id,
                states=None if wanted is None else _codes(wanted),
                limit=limit - len(page),
                before=before,
            )
            shown = (self._refined(record) for record in found)
            page += [record for record in shown if wanted is None or record.state in wanted]
            if len(page) >= limit or len(found) == 0:
                break
            before = found[-1].key
        return page

    def counts(self, principal: Principal) -> dict[TaskState, int]:
        """Return how many of the principal's tasks are in each state."""
        return store.tallies(self._database.reader, principal.user)

    def outcome(self, principal: Principal, task_id: str) -> OutcomeItem | None:
        """Return how a task ended; None if it has not, or there is no such task of the principal's."""
        return result_store.select_one(self._database.reader, principal.user, task_id)

    def outcomes_after(
        self, principal: Principal, group_id: str, cursor: int, limit: int = 1000
    ) -> list[OutcomeItem]:
        """Return a task group's outcomes behind ``cursor``, in commit order."""
        return result_store.select_group(self._database.reader, principal.user, group_id, cursor, limit)

    def events_after(
        self, principal: Principal, task_id: str, seq: int, limit: int = 1000
    ) -> list[tuple[int, Event]]:
        """Return a task's log behind ``seq``; of an ended task only what the winning run left.

        Raises
        ------
        TaskNotFound
            As `record`.
        """
        return event_store.select(self._database.reader, self.record(principal, task_id), seq, limit)

    async def wait(self, principal: Principal, task_ids: Iterable[str], timeout_s: float) -> None:
        """Return when all of the principal's tasks among ``task_ids`` have ended or the time is over."""
        loop = asyncio.get_running_loop()
        missing = set(task_ids)
        over: asyncio.Future[None] = loop.create_future()

        def ended(item: OutcomeItem) -> None:
            missing.discard(item.task_id)
            if not missing and not over.done():
                over.set_result(None)

        unsubscribe = [self._feed.task(task_id, ended) for task_id in missing]
        try:
            known = store.select_by_ids(self._database.reader, principal.user, list(missing))
            missing.intersection_update([record.task_id for record in known if not record.state.is_final])
            if missing:
                await asyncio.wait([over], timeout=timeout_s)
        finally:
            for function in unsubscribe:
                function()

    def _refined(self, record: TaskRecord) -> TaskRecord:
        """Return the record with the state and reason that its endpoint's condition gives it."""
        if record.state.is_final:
            return replace(record, reason="" if record.error is None else record.error.message)
        state, reason = visible_state(record.state, self._endpoints.condition(record.endpoint_id))
        return replace(record, state=state, reason=reason)


_TAKEN = "Another task has this id; make a new one for each call."


def _refusal(task_id: str, error: FuncxLabError) -> Refusal:
    return Refusal(task_id, error.as_document())


def _settled(value: list[T]) -> asyncio.Future[list[T]]:
    future: asyncio.Future[list[T]] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


def _settle(future: asyncio.Future[list[T]], value: list[T], error: BaseException | None) -> None:
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _codes(wanted: set[TaskState]) -> list[int]:
    """Return the stored states behind visible ones; all that wait are told apart by `visible_state` only."""
    waiting = {state for state in TaskState if CODES[state] < CODES[TaskState.RUNNING]}
    return [CODES[state] for state in (wanted | waiting if wanted & waiting else wanted)]
