"""The agent's loop: one thread, one poller, over the link, the engine host and a wake-up pipe."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import zmq

from funcx_lab.crash_points import crash_point
from funcx_lab.protocol.messages import (
    Accepted,
    Bye,
    Inventory,
    Reconciled,
    ResultAck,
    Results,
    Tasks,
    Welcome,
)
from funcx_lab_endpoint.agent_state import AgentState
from funcx_lab_endpoint.engine.contract import CallDone, EngineHost
from funcx_lab_endpoint.environments import Environments
from funcx_lab_endpoint.instructions import (
    CancelCall,
    Discard,
    Fetch,
    GiveBack,
    Instruction,
    Learn,
    Reconnect,
    Refusal,
    Release,
    Save,
    Send,
    Submit,
    Upload,
)
from funcx_lab_endpoint.link import Link, LinkDown, LinkFact, LinkUp, Target
from funcx_lab_endpoint.objects import ObjectStore
from funcx_lab_endpoint.registration import HubAccess
from funcx_lab_endpoint.result_files import ResultFiles
from funcx_lab_endpoint.spool import Spool
from funcx_lab_endpoint.wakeup import Wakeup

log = logging.getLogger(__name__)

#: A changed credit or reason to wait is told at most this often.
NEWS_S = 0.1
ENGINE_STOP_S = 5.0
SPOOL_CLOSE_S = 5.0
_BYE_LINGER_MS = 500
#: Where a test may end the process: a message has come, or has left.
_COME: dict[type, str] = {
    Tasks: "agent.tasks_came",
    ResultAck: "agent.ack_came",
    Welcome: "agent.welcome_came",
    Reconciled: "agent.reconciled_came",
}
_LEFT: dict[type, str] = {
    Accepted: "agent.accepted_left",
    Results: "agent.results_left",
    Inventory: "agent.inventory_left",
}

#: Told with ("connecting" | "connected" | "refused" | "stopping", reason).
OnState = Callable[[str, str], None]


class Agent:
    """Everything between the forwarder and the engine host.

    Parameters
    ----------
    state : AgentState
        Decides.
    host : EngineHost
        Runs calls; started and stopped by `run`.
    spool : Spool
        Open; started and closed by `run`.
    access : HubAccess
        The hub service by HTTP.
    make_objects : callable
        Makes the object store, given what wakes the agent.
    results : ResultFiles
        Where results wait that are too large for a message.
    facts : mapping
        Told with each heartbeat: host, python, packages, version.
    on_state : callable
        Told whenever the connection's state changes.
    on_note : callable
        Told what people should know about the spool.
    drain_s : float
        Seconds that running calls get at the end.
    environments : Environments, optional
        What its environment is; told with heartbeats.
    """

    def __init__(
        self,
        state: AgentState,
        host: EngineHost,
        spool: Spool,
        access: HubAccess,
        make_objects: Callable[[Callable[[], None]], ObjectStore],
        results: ResultFiles,
        *,
        facts: dict[str, Any],
        on_state: OnState,
        on_note: Callable[[str], None],
        drain_s: float,
        environments: Environments | None = None,
    ) -> None:
        self._state = state
        self._host = host
        self._spool = spool
        self._access = access
        self._facts = facts
        self._on_state = on_state
        self._on_note = on_note
        self._environments = environments or Environments({})
        self._drain_s = drain_s
        self._wakeup = Wakeup()
        spool.wake = self._wakeup
        self._objects = make_objects(self._wakeup)
        self._results = results
        self._finders = ThreadPoolExecutor(1, thread_name_prefix="find")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._link = Link(self._context, self._find_target)
        self._poller = zmq.Poller()
        self._polled: list[Any] = []
        self._stops = 0
        self._waits_for_all = False
        self._stop_by: float | None = None
        self._failure: str | None = None
        self._news: tuple[int, str] = (-1, "")
        self._news_due = 0.0
        self._last_reason = ""
        #: why the hub service refuses a session, while it does
        self._refusal = ""

    def request_stop(self, *, wait_for_all: bool = False) -> None:
        """Stop soon, at the second call at once; may be called in a signal handler.

        Parameters
        ----------
        wait_for_all : bool
            Stop when every accepted task has ended, however long that takes.
        """
        if wait_for_all:
            self._waits_for_all = True
        else:
            self._stops += 1
        self._wakeup()

    def run(self) -> str | None:
        """Serve until asked to stop; return why, if it ended for another reason."""
        self._on_state("connecting", "")
        self._spool.start()
        self._environments.start()
        try:
            self._host.start()
            while not self._is_over(time.monotonic()):
                self._turn(self._wait())
        finally:
            self._end()
        return self._failure

    # --- a turn -------------------------------------------------------------------------------------

    def _wait(self) -> Collection[Any]:
        """Return what is ready as soon as something is, or a timer is due."""
        wanted = [*self._link.pollables(), *self._host.pollables(), self._wakeup.fd]
        if wanted != self._polled:
            self._poller = zmq.Poller()
            for each in wanted:
                self._poller.register(each, zmq.POLLIN)
            self._polled = wanted
        now = time.monotonic()
        due = min(
            self._link.next_deadline(now),
            self._host.next_deadline(now),
            self._state.next_deadline(now),
            self._stop_by if self._stop_by is not None else now + 60.0,
        )
        # Rounded up: a wait that ends just before its deadline would spin.
        return dict(self._poller.poll(max(0, int((due - now) * 1000) + 1) if due > now else 0))

    def _turn(self, ready: Collection[Any]) -> None:
        now = time.monotonic()
        if self._wakeup.fd in ready:
            self._wakeup.clear()
        for fact in self._link.poll(now, ready):
            self._link_fact(fact, now)
            self._perform(now)  # new calls are under way before anything else is looked at
        for engine_fact in self._host.poll(now, ready):
            if isinstance(engine_fact, CallDone):
                crash_point("agent.outcome_came")
            self._state.engine_fact(self._results.take(engine_fact))
        self._perform(now)  # and outcomes too
        for object_fact in self._objects.facts():
            self._state.object_fact(object_fact)
        for number in self._spool.facts():
            self._spool_fact(number)
        self._state.closed = self._spool.trouble
        self._state.tick(now)
        self._report(now)
        self._perform(now)

    def _spool_fact(self, number: int | None) -> None:
        if number is None:
            self._state.spool_replaced()
            self._on_note(self._spool.note)
        else:
            self._state.saved(number)

    def _link_fact(self, fact: LinkFact, now: float) -> None:
        if isinstance(fact, LinkUp):
            self._state.link_up(now)
        elif isinstance(fact, LinkDown):
            self._lost(fact)
        else:
            _pass(_COME, fact)
            had_session = self._state.session is not None
            self._state.receive(fact, now)
            if self._state.session is not None and not had_session:
                self._last_reason = self._refusal = ""
                self._link.settle()
                log.info("connected, session %d", self._state.session)
                self._on_state("connected", "")

    def _lost(self, fact: LinkDown) -> None:
        self._state.link_down()
        if fact.reason != self._last_reason:  # not at each of a night's attempts
            log.info("not connected: %s", fact.reason)
        self._last_reason = fact.reason
        if fact.unauthorised:
            self._access.reject()
        is_refused = fact.unauthorised or (bool(self._refusal) and fact.reason == self._refusal)
        self._on_state("refused" if is_refused else "connecting", fact.reason)

    def _report(self, now: float) -> None:
        if self._state.beat_due(now):
            self._beat(now)
        elif now >= self._news_due and self._state.session is not None:
            credit, reason = self._credit()
            known, told = self._news
            has_news = self._environments.is_news(self._host.environment)
            if has_news or reason != told or credit > 2 * known or 2 * credit < known:
                self._beat(now)

    def _beat(self, now: float) -> None:
        self._news = credit, reason = self._credit()
        self._news_due = now + NEWS_S
        spool = {"bytes": self._spool.used, "writes": self._spool.writes, "note": self._spool.note}
        engine = self._host.status()
        self._state.count_workers(engine.get("workers", 1))
        self._environments.note(self._host.environment, engine.get("limit", 0))
        environment = self._environments.news(self._state.session)
        told = {"credit": credit, "waiting_reason": reason, "spool": spool, **self._environments.summary}
        self._state.beat({**self._facts, **engine, **told}, now, environment)

    def _credit(self) -> tuple[int, str]:
        """Return how many tasks may be out here, and why tasks wait."""
        if self._state.draining:
            return 0, "the endpoint is stopping"
        if self._state.closed:
            return 0, self._state.closed
        return self._host.credit, self._host.waiting_reason

    # --- instructions -------------------------------------------------------------------------------

    def _perform(self, now: float) -> None:
        for instruction in self._state.turn(now):
            self._do(instruction, now)

    def _do(self, instruction: Instruction, now: float) -> None:
        match instruction:
            case Submit(calls):
                crash_point("agent.before_calls")
                self._host.submit(calls)
                crash_point("agent.after_calls")
            case Send(message):
                self._link.send(message)
                _pass(_LEFT, message)
            case Save():
                self._spool.save(instruction)
            case Learn(function):
                self._host.learn(function)
            case CancelCall(task_id):
                self._host.cancel(task_id)
            case GiveBack(task_id):
                if self._host.give_back(task_id):
                    self._state.given_back(task_id)
            case Reconnect(reason):
                self._lost(self._link.reconnect(reason, now))
            case Refusal():
                self._refused(instruction)
            case _:
                self._do_with_objects(instruction)

    def _do_with_objects(self, instruction: Instruction) -> None:
        match instruction:
            case Fetch():
                self._objects.fetch(instruction)
            case Release(task_id):
                self._objects.release(task_id)
            case Upload():
                self._objects.upload(instruction)
            case Discard(path):
                path.unlink(missing_ok=True)

    def _refused(self, refusal: Refusal) -> None:
        if refusal.message != self._refusal:
            log.warning("the hub service refused a session: %s %s", refusal.code, refusal.message)
        self._refusal = refusal.message
        self._on_state("refused", refusal.message)
        if refusal.code == "REVOKED":
            self._access.reject()
        elif refusal.code == "VERSION_MISMATCH":
            self._failure = refusal.message

    def _find_target(self) -> Future[Target]:
        finding = self._finders.submit(self._access.target)
        finding.add_done_callback(lambda _: self._wakeup())
        return finding

    # --- the end ------------------------------------------------------------------------------------

    def _is_over(self, now: float) -> bool:
        if self._failure is not None or self._stops > 1:
            return True
        if self._stops and (self._stop_by is None or self._waits_for_all):
            log.info("stopping: running calls get %.0f s", self._drain_s)
            self._waits_for_all = False
            self._drain(now, self._drain_s)
        elif self._waits_for_all and self._stop_by is None:
            log.info("stopping when every accepted task has ended")
            self._drain(now, float("inf"))
        return self._stop_by is not None and (self._state.drained or now >= self._stop_by)

    def _drain(self, now: float, patience_s: float) -> None:
        self._on_state("stopping", "")
        self._stop_by = now + patience_s
        self._state.drain(wait_for_all=self._waits_for_all)
        self._beat(now)
        self._perform(now)

    def _end(self) -> None:
        if self._state.session is not None:
            self._link.send(Bye(self._state.session, "stopped"))
        self._link.close(_BYE_LINGER_MS)
        self._objects.stop()
        if self._stops or self._waits_for_all:  # on purpose; a failed agent leaves the marks of what ran
            self._state.leave()
            self._perform(time.monotonic())
        self._spool.close(SPOOL_CLOSE_S)
        self._finders.shutdown(wait=False, cancel_futures=True)
        try:
            self._host.stop(1.0 if self._stops > 1 else ENGINE_STOP_S)
        finally:
            self._context.term()
            self._wakeup.close()


def _pass(points: dict[type, str], message: object) -> None:
    point = points.get(type(message))
    if point is not None:
        crash_point(point)
