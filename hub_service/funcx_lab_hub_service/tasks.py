"""Rules of tasks: taken in once, ended once, seen by their owner."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from funcx_lab.errors import TaskGone, TaskNotFound
from funcx_lab.protocol.messages import Event, TaskOptions
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask, OutcomeItem, Refusal, TaskCall
from funcx_lab_hub_service.access import check_scope
from funcx_lab_hub_service.admission import Admission
from funcx_lab_hub_service.auth.principals import SUBMIT
from funcx_lab_hub_service.dispatching import Dispatcher
from funcx_lab_hub_service.facts import Facts, visible_state
from funcx_lab_hub_service.searching import Search, TaskQuery
from funcx_lab_hub_service.store import events as event_store
from funcx_lab_hub_service.store import overview
from funcx_lab_hub_service.store import results as result_store
from funcx_lab_hub_service.store import tasks as store
from funcx_lab_hub_service.store.database import BOOT_SHIFT
from funcx_lab_hub_service.store.outcomes import Ended, OutcomeWriter
from funcx_lab_hub_service.store.records import STATES, TaskRecord
from funcx_lab_hub_service.store.tombstones import is_buried
from funcx_lab_hub_service.store.users import late_outcomes
from funcx_lab_hub_service.submitting import Submitting

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.endpoints import Endpoints
    from funcx_lab_hub_service.feed import Feed
    from funcx_lab_hub_service.functions import Functions
    from funcx_lab_hub_service.store.database import Database

#: What `Tasks.live` returns.
Live: TypeAlias = list[tuple[str, int, int]]

#: So many pieces of the store are looked through for tasks of a state that only their endpoint tells.
_PIECES = 20


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
    admission : Admission, optional
        Whether there is room for more; there always is when left out.
    clock : callable
        Unix seconds.
    """

    def __init__(
        self,
        database: Database,
        endpoints: Endpoints,
        functions: Functions,
        feed: Feed,
        *,
        admission: Admission | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self._feed = feed
        self._clock = clock
        self._dispatcher: Dispatcher | None = None
        self._admission = admission or Admission()
        numbers = itertools.count((database.boot << BOOT_SHIFT) + 1)
        self._outcomes = OutcomeWriter(numbers.__next__)
        #: what endpoints report goes here
        self.facts = Facts(
            *(database, self._outcomes, feed, endpoints.condition),
            environment=endpoints.environment_hash,
            clock=clock,
            admission=self._admission,
        )
        self._intake = Submitting(
            database,
            endpoints,
            functions,
            self._admission,
            clock,
            self._outcomes,
            self.facts.publish,
            feed.publish_changes,
        )
        endpoints.when_changed(feed.publish_endpoint)
        endpoints.when_deleted(lambda endpoint_id, key: self.facts.end_abandoned())
        self.facts.end_abandoned()  # a crash may have come between the two

    def attach(self, dispatcher: Dispatcher) -> None:
        """Hand tasks to ``dispatcher`` from now on."""
        self._dispatcher = self._intake.dispatcher = dispatcher

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
            Resolves to the refused tasks: `Conflict` if another task has the id, `TaskGone` if it was
            purged, `TooManyRequests` if there is no room for it now (``details["retry_after_s"]``).

        Raises
        ------
        EndpointNotFound, FunctionNotFound, NotAuthorized, InvalidRequest, StorageFull, StoreDamaged
            At once; nothing was taken in.
        StorageFull, ServiceUnavailable
            From the future; nothing was taken in.
        """
        return self._intake.submit(principal, endpoint, function_id, group_id, tasks, options)

    # --- cancelling ---------------------------------------------------------------------------------

    async def cancel(self, principal: Principal, task_ids: Iterable[str]) -> list[str]:
        """Cancel tasks; return those that are cancelled now, whether by this call or before.

        Raises
        ------
        NotAuthorized
            If the principal may only look.
        """
        check_scope(principal, SUBMIT)
        task_ids = list(task_ids)
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

        def done(value: tuple[list[str], list[Ended]], error: BaseException | None) -> None:
            if error is None:
                self._stop(value[1])
                self.facts.publish(value[1])
            if answer.cancelled():
                return
            if error is None:
                answer.set_result(value[0])
            else:
                answer.set_exception(error)

        now = self._clock()
        self._database.submit(
            lambda connection: self._outcomes.cancel(connection, principal.user, task_ids, now), done
        )
        return await answer

    async def expire(self, ttl_s: float, limit: int) -> int:
        """End up to ``limit`` tasks whose time to live is over and return how many.

        Parameters
        ----------
        ttl_s : float
            Time to live of tasks that have none of their own, in seconds after they were received.
        """
        now = self._clock()
        ended = await self._database.write(
            lambda connection: self._outcomes.expire(connection, now, ttl_s, limit)
        )
        self._stop(ended)
        self.facts.publish(ended)
        return len(ended)

    def purged(self, task_ids: Mapping[str, Sequence[str]]) -> None:
        """Tell who watches that these tasks, by owner, are not there any more."""
        for owner, gone in task_ids.items():
            self._feed.publish_changes(owner, gone=gone)

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
        TaskGone
            If it ended and was purged.
        """
        for record in store.select_by_ids(self._database.reader, principal.user, [task_id]):
            return self._refined(record)
        if is_buried(self._database.reader, task_id, principal.user):
            raise TaskGone(f"Task {task_id} ended, and its result was kept for its retention time only.")
        raise TaskNotFound(f"There is no task {task_id!r}, or it is not yours.")

    def call(self, principal: Principal, task_id: str) -> TaskCall:
        """Return what one task calls: function, arguments and options.

        Raises
        ------
        TaskNotFound, TaskGone
            As `record`.
        """
        call = store.select_call(self._database.reader, principal.user, task_id)
        if call is None:
            self.record(principal, task_id)  # says why
            raise TaskNotFound(f"The arguments of task {task_id} are not kept any more.")
        return call

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
        query = TaskQuery(
            principal.user, group_id, endpoint_id, None if states is None else frozenset(states)
        )
        search = Search(self._database, query, self._refined, self._shown)
        page: list[TaskRecord] = []
        for _ in range(_PIECES):
            found, before = search.piece(limit - len(page), before)
            page += found
            if before is None or len(page) >= limit:
                break
        return page

    async def page(
        self, query: TaskQuery, limit: int, before: int | None
    ) -> tuple[list[TaskRecord], int | None]:
        """Return a page of tasks and where the next one begins; see `Search.page`."""
        return await Search(self._database, query, self._refined, self._shown).page(limit, before)

    def known(self, principal: Principal, task_ids: Sequence[str]) -> set[str]:
        """Return which of the ids tasks of the principal's have."""
        return store.owned_ids(self._database.reader, principal.user, task_ids)

    def live(self, principal: Principal) -> Live:
        """Return how many of the principal's tasks are live at each endpoint: its id, stored state, count."""
        return overview.live_counts(self._database.reader, principal.user)

    def counts(self, principal: Principal, live: Live | None = None) -> dict[TaskState, int]:
        """Return how many of the principal's tasks are in each state, as people see it.

        ``live`` is what `live` has just returned, to save asking again.
        """
        counts = {STATES[code]: n for code, n in overview.ended_counts(self._database.reader, principal.user)}
        for endpoint_id, code, n in self.live(principal) if live is None else live:
            state = self._shown(endpoint_id, STATES[code])
            counts[state] = counts.get(state, 0) + n
        return counts

    def live_at(self, principal: Principal, endpoint_id: str, limit: int) -> list[str]:
        """Return up to ``limit`` of the principal's live tasks at an endpoint."""
        return overview.live_at(self._database.reader, principal.user, endpoint_id, limit)

    def late_outcomes(self, principal: Principal) -> int:
        """Return how many outcomes came after the principal's tasks had ended; none was ever shown."""
        return late_outcomes(self._database.reader, principal.user)

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
        TaskNotFound, TaskGone
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

    def _shown(self, endpoint_id: str, state: TaskState) -> TaskState:
        """Return the state that people see for a stored one."""
        return state if state.is_final else visible_state(state, self._endpoints.condition(endpoint_id))[0]

    def _refined(self, record: TaskRecord) -> TaskRecord:
        """Return the record with the state and reason that its endpoint's condition gives it."""
        if record.state.is_final:
            return replace(
                record, reason=record.reused_reason if record.error is None else record.error.message
            )
        state, reason = visible_state(record.state, self._endpoints.condition(record.endpoint_id))
        return replace(record, state=state, reason=reason)
