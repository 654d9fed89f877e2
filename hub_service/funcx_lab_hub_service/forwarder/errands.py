"""What dispatch states want of the store: handed over in order, the answer brought back after the commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from funcx_lab_hub_service.forwarder.instructions import (
    Fetch,
    Instruction,
    Reconcile,
    StoreEvents,
    StoreLosses,
    StoreResults,
    StoreStarted,
)

if TYPE_CHECKING:
    from funcx_lab.protocol.messages import TaskItem
    from funcx_lab_hub_service.facts import Facts
    from funcx_lab_hub_service.forwarder.dispatch_state import DispatchState
    from funcx_lab_hub_service.store.outcomes import Reconciliation, Verdict
    from funcx_lab_hub_service.store.records import EndpointRecord

Errand: TypeAlias = StoreResults | StoreLosses | Fetch | StoreEvents | StoreStarted | Reconcile
#: Tells an endpoint's dispatch state something and does what it decides.
Step: TypeAlias = Callable[[str, "Callable[[DispatchState], list[Instruction]]"], None]


class Errands:
    """Runs errands.

    Parameters
    ----------
    facts : Facts
        The store's side.
    step : callable
        Takes the answers.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, facts: Facts, step: Step, clock: Callable[[], float]) -> None:
        self._facts = facts
        self._step = step
        self._clock = clock

    def run(self, endpoint: EndpointRecord, do: Errand) -> None:
        """Queue what is wanted for the store's writer."""
        match do:
            case StoreResults() | StoreLosses():
                self._judge(endpoint, do)
            case Fetch():
                self._fetch(endpoint, do)
            case StoreEvents():
                self._store_events(endpoint, do)
            case StoreStarted():
                self._facts.store_started(endpoint, do.tasks)
            case Reconcile():
                self._reconcile(endpoint, do)

    def _judge(self, endpoint: EndpointRecord, do: StoreResults | StoreLosses) -> None:
        def judged(verdict: Verdict | None) -> None:
            if verdict is None:
                self._step(endpoint.endpoint_id, lambda state: state.judging_failed(do.session))
                return
            ended = [end.item.task_id for end in verdict.ended]
            self._step(
                endpoint.endpoint_id,
                lambda state: state.judged(
                    do.peer, do.session, verdict.acked, verdict.unknown, verdict.requeued, ended
                ),
            )

        if isinstance(do, StoreResults):
            self._facts.store_results(endpoint, do.results, judged)
        else:
            self._facts.store_losses(endpoint, do.tasks, judged)

    def _fetch(self, endpoint: EndpointRecord, do: Fetch) -> None:
        def leased(found: tuple[list[TaskItem], bool] | None) -> None:
            self._step(
                endpoint.endpoint_id,
                lambda state: (
                    state.fetch_failed()
                    if found is None
                    else state.fetched(do.session, *found, self._clock())
                ),
            )

        self._facts.lease_queued(endpoint, do.session, do.tags, do.size_limit, leased)

    def _store_events(self, endpoint: EndpointRecord, do: StoreEvents) -> None:
        def stored(acks: list[tuple[str, str, int]]) -> None:
            self._step(endpoint.endpoint_id, lambda state: state.events_stored(do.peer, do.session, acks))

        self._facts.store_events(endpoint, do.batches, stored)

    def _reconcile(self, endpoint: EndpointRecord, do: Reconcile) -> None:
        def compared(result: Reconciliation | None) -> None:
            self._step(
                endpoint.endpoint_id,
                lambda state: (
                    state.reconcile_failed(do.session)
                    if result is None
                    else state.reconciled(do.session, result.kept, result.unknown, result.drop)
                ),
            )

        self._facts.reconcile(endpoint, do.session, do.spool, dict(do.inventory), compared)
