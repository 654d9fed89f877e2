"""Facts that endpoints report: judged at their turn, committed, then told to whoever listens."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from funcx_lab.crash_points import crash_point
from funcx_lab.errors import ServiceUnavailable
from funcx_lab.protocol.messages import Event, EventBatch, ResultItem, TaskItem
from funcx_lab.protocol.states import EndpointState, TaskState
from funcx_lab.protocol.stream import OutcomeItem
from funcx_lab_hub_service.admission import Admission
from funcx_lab_hub_service.observer import Observer
from funcx_lab_hub_service.store import events as event_store
from funcx_lab_hub_service.store import overview
from funcx_lab_hub_service.store import tasks as store
from funcx_lab_hub_service.store.outcomes import Ended, OutcomeWriter, Reconciliation, Verdict
from funcx_lab_hub_service.store.records import EndpointRecord

if TYPE_CHECKING:
    from funcx_lab_hub_service.conditions import Condition
    from funcx_lab_hub_service.feed import Feed
    from funcx_lab_hub_service.store.database import Database

#: Events that were committed, by task.
News: TypeAlias = list[tuple[str, list[tuple[int, Event]]]]


class Facts:
    """What the forwarder hands on from the endpoints.

    Parameters
    ----------
    database : Database
        Where facts are stored.
    writer : OutcomeWriter
        Judges how tasks end.
    feed : Feed
        Is told what has been committed.
    condition : callable
        Returns the condition of an endpoint.
    environment : callable, optional
        Returns the digest of the packages at an endpoint.
    clock : callable
        Unix seconds.
    admission : Admission, optional
        Is told what has ended.
    """

    def __init__(
        self,
        database: Database,
        writer: OutcomeWriter,
        feed: Feed,
        condition: Callable[[str], Condition],
        *,
        environment: Callable[[str], str] = lambda endpoint_id: "",
        clock: Callable[[], float] = time.time,
        admission: Admission | None = None,
    ) -> None:
        self._database = database
        self._writer = writer
        self._feed = feed
        self._condition = condition
        self._environment = environment
        self._clock = clock
        self._admission = admission or Admission()
        #: is told of what passes
        self.observer = Observer()
        feed.when_followed(lambda task_id: self._note_waits([task_id]))
        #: the condition of each endpoint that was logged last
        self._noted: dict[str, tuple[object, ...]] = {}

    def store_results(
        self,
        endpoint: EndpointRecord,
        results: Sequence[ResultItem],
        done: Callable[[Verdict | None], None],
    ) -> None:
        """Judge results at their turn; ``done`` gets the verdict after the commit, None if that failed."""
        environment = self._environment(endpoint.endpoint_id)
        self.observer.arrived(results)
        self._judge(
            lambda connection: self._writer.store_results(
                connection, endpoint, results, self._clock(), environment
            ),
            done,
        )

    def store_losses(
        self,
        endpoint: EndpointRecord,
        losses: Sequence[tuple[str, int, str, str]],
        done: Callable[[Verdict | None], None],
    ) -> None:
        """Count runs that died with their worker; ``done`` as for `store_results`."""
        self._judge(
            lambda connection: self._writer.store_losses(connection, endpoint, losses, self._clock()), done
        )

    def _judge(
        self, operation: Callable[[sqlite3.Connection], Verdict], done: Callable[[Verdict | None], None]
    ) -> None:
        def committed(verdict: Verdict | None, error: BaseException | None) -> None:
            if verdict is not None and error is None:
                crash_point("hub.judged")
                self.publish(verdict.ended)
                crash_point("hub.published")
            done(verdict)
            if verdict is not None and error is None:
                self._moved(verdict.requeued)

        self._database.submit(operation, committed)

    def reconcile(
        self,
        endpoint: EndpointRecord,
        session: int,
        spool: str,
        inventory: dict[str, int],
        done: Callable[[Reconciliation | None], None],
    ) -> None:
        """Compare an inventory with the leases, at its turn; ``done`` as for `store_results`."""

        def committed(result: Reconciliation | None, error: BaseException | None) -> None:
            if result is not None and error is None:
                crash_point("hub.reconciled")
                self.publish(result.ended)
                self._feed.publish_endpoint(endpoint.endpoint_id, moved=True)
            done(result)

        self._database.submit(
            lambda connection: self._writer.reconcile(
                connection, endpoint, session, spool, inventory, self._clock()
            ),
            committed,
        )

    def end_abandoned(self) -> None:
        """End the tasks whose endpoint was deleted."""
        self._end_some(self._writer.end_abandoned)

    def end_doubtful(self) -> None:
        """End what must not run twice and may have run, as an older copy of the database was put back."""
        self._end_some(self._writer.end_doubtful)

    def _end_some(self, end: Callable[[sqlite3.Connection, float], list[Ended]]) -> None:
        def committed(ended: list[Ended] | None, error: BaseException | None) -> None:
            if ended and error is None:
                self.publish(ended)

        with contextlib.suppress(ServiceUnavailable):  # stopping or damaged: the next start does it
            self._database.submit(lambda connection: end(connection, self._clock()), committed)

    def lease_queued(
        self,
        endpoint: EndpointRecord,
        session: int,
        tags: Sequence[int],
        size_limit: int,
        done: Callable[[tuple[list[TaskItem], bool] | None], None],
    ) -> None:
        """Lease the endpoint's oldest queued tasks; ``done`` gets items and whether none is left, or None."""

        def leased(found: tuple[list[TaskItem], bool] | None, error: object) -> None:
            if found is not None and found[0]:
                crash_point("hub.leased")
            done(found)
            if found is not None:
                self._moved([item.task_id for item in found[0]])

        self._database.submit(
            lambda connection: store.lease_queued(connection, endpoint.key, session, tags, size_limit),
            leased,
        )

    def store_started(
        self, endpoint: EndpointRecord, tasks: Sequence[tuple[str, int, str, float, dict[str, Any]]]
    ) -> None:
        """Store that tasks run; it is for people only, so nobody waits for it."""
        self._log(
            lambda connection: event_store.store_started(connection, endpoint.key, tasks),
            lambda news: self._moved([task_id for task_id, _ in news]),
        )

    def store_events(
        self,
        endpoint: EndpointRecord,
        batches: Sequence[EventBatch],
        done: Callable[[list[tuple[str, str, int]]], None],
    ) -> None:
        """Store events; ``done`` gets what to acknowledge, nothing if they were not stored."""

        def committed(stored: tuple[list[tuple[str, str, int]], News] | None, error: object) -> None:
            if stored is not None:
                self._tell(stored[1])
                done(stored[0])

        self._database.submit(
            lambda connection: event_store.store_batches(connection, endpoint.key, batches), committed
        )

    def note_condition(self, endpoint_id: str, condition: Condition) -> None:
        """Log what an endpoint's new condition means for the tasks that somebody follows."""
        self.observer.conditioned(endpoint_id, condition)
        noted = (condition.state, condition.reason, condition.waiting_reason)
        moved = self._noted.get(endpoint_id) != noted
        if moved:
            self._noted[endpoint_id] = noted
            self._note_waits(self._feed.followed())
        self._feed.publish_endpoint(endpoint_id, moved)

    def _note_waits(self, task_ids: Sequence[str]) -> None:
        def show(endpoint_id: str, state: TaskState) -> tuple[TaskState, str]:
            return visible_state(state, self._condition(endpoint_id))

        if task_ids:
            self._log(lambda connection: event_store.store_waits(connection, task_ids, show, self._clock()))

    def _log(
        self,
        operation: Callable[[sqlite3.Connection], News],
        then: Callable[[News], None] = lambda news: None,
    ) -> None:
        def committed(news: News | None, error: object) -> None:
            self._tell(news or [])
            then(news or [])

        with contextlib.suppress(ServiceUnavailable):  # stopping: these entries are for people only
            self._database.submit(operation, committed)

    def _moved(self, task_ids: Sequence[str]) -> None:
        """Tell who watches the owners of these tasks."""
        if task_ids and self._feed.is_watched:
            for owner, owned in overview.by_owner(self._database.reader, task_ids).items():
                self._feed.publish_changes(owner, owned)

    def _tell(self, news: News) -> None:
        for task_id, events in news:
            self._feed.publish_events(task_id, events, False)

    def publish(self, ended: list[Ended]) -> None:
        """Tell subscribers of committed outcomes."""
        groups: dict[tuple[str, str], list[OutcomeItem]] = {}
        owners: dict[str, list[str]] = {}
        for end in ended:
            owners.setdefault(end.owner, []).append(end.item.task_id)
            groups.setdefault((end.owner, end.group_id), []).append(end.item)
            self._admission.forget(end.owner, (end.size,))
            if self._feed.is_followed(end.item.task_id):
                self._feed.publish_events(end.item.task_id, [*end.events, _last_event(end)], True)
        for (owner, group_id), items in groups.items():
            self._feed.publish_outcomes(owner, group_id, items)
        self.observer.ended(ended)
        for owner, task_ids in owners.items():
            self._feed.publish_changes(owner, task_ids)


def _last_event(end: Ended) -> tuple[int, Event]:
    reason = end.reason if end.item.error is None else end.item.error.message
    return event_store.final_event(end.stored, end.item.times[2], TaskState(end.item.state), reason)


def visible_state(state: TaskState, condition: Condition) -> tuple[TaskState, str]:
    """Return the state that people see for a stored live state, and why it waits."""
    away = condition.state is not EndpointState.ONLINE
    if state is TaskState.RUNNING:
        return state, condition.reason if away else ""
    if away:
        return TaskState.WAITING_FOR_EP, condition.reason
    if state is TaskState.WAITING_FOR_EP:
        return state, condition.waiting_reason or "in line for the endpoint"
    if condition.waiting_reason:
        return TaskState.WAITING_FOR_NODES, condition.waiting_reason
    return TaskState.WAITING_FOR_LAUNCH, ""
