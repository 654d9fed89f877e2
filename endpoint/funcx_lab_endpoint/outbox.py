"""What the agent has to tell the hub service, gathered into few messages. No I/O, clock passed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from funcx_lab.protocol.messages import (
    MESSAGE_TARGET,
    Accepted,
    AgentMessage,
    Event,
    EventBatch,
    Events,
    Lost,
    ResultItem,
    Results,
    Started,
)
from funcx_lab_endpoint.holding import EventLog, Holding, Loss
from funcx_lab_endpoint.holdings import Holdings

#: An outcome or loss that is not acknowledged within this many seconds of a session is sent again.
RESEND_S = 30.0
#: A lease is told as accepted after so many seconds, unless its outcome leaves before and says so too.
ACCEPT_S = 0.05
_ITEM_OVERHEAD = 200


class Outbox:
    """Facts waiting to be sent, and outcomes and losses waiting to be acknowledged.

    Parameters
    ----------
    holdings : Holdings
        What is sent again at the start of a session.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._accepted: dict[str, int] = {}
        self._accept_by = float("inf")
        self.started: dict[str, Holding] = {}
        #: tasks with events that were not sent
        self.talking: dict[str, Holding] = {}
        self._holdings = holdings
        self._outcomes: dict[str, Holding] = {}
        self._losses: dict[tuple[str, str], Loss] = {}
        #: (task, execution) -> when it was sent, oldest first
        self._in_flight: dict[tuple[str, str], float] = {}

    @property
    def busy(self) -> bool:
        """Whether an outcome or a loss is not yet acknowledged."""
        return bool(self._outcomes or self._losses or self._in_flight)

    def has_news(self, now: float) -> bool:
        """Whether `messages` would yield any at ``now``."""
        waits = self._outcomes or self.started or self.talking or self._losses
        return bool(waits) or now >= self._accept_by

    @property
    def deadline(self) -> float:
        """The monotonic time at which `messages` wants to be called at the latest."""
        return self._accept_by

    def tell_accepted(self, task_id: str, tag: int, now: float) -> None:
        """Tell soon that the agent holds this lease."""
        if task_id in self._outcomes:
            return  # which is about to leave and says so
        if not self._accepted:
            self._accept_by = now + ACCEPT_S
        self._accepted[task_id] = tag

    def tell_outcome(self, holding: Holding) -> None:
        """Send the outcome of a task with the next messages."""
        self._accepted.pop(holding.task_id, None)
        self.talking.pop(holding.task_id, None)  # its events ride with the outcome
        self._outcomes[holding.task_id] = holding

    def tell_loss(self, loss: Loss) -> None:
        """Send a loss with the next messages."""
        self._losses[loss.task_id, loss.execution] = loss

    def tell_again(self, holding: Holding) -> None:
        """Send what is known about a task once more."""
        if holding.outcome is not None:
            self.tell_outcome(holding)
        elif holding.started is not None:
            self.started[holding.task_id] = holding

    def send_all_again(self) -> None:
        """Send everything that is not acknowledged: a new session knows none of it."""
        self._accepted.clear()
        self._in_flight.clear()
        for holding in self._holdings:
            if holding.log is not None:
                holding.log.sent = holding.log.first
                self.talking[holding.task_id] = holding
            if holding.orphan_since is None:
                self.tell_again(holding)
        self._losses = dict(self._holdings.losses)

    def acknowledged(self, task_id: str, execution: str) -> None:
        """Stop sending an outcome or a loss again."""
        self._in_flight.pop((task_id, execution), None)

    def forget(self, holding: Holding) -> None:
        """Stop telling about a task."""
        for waiting in (self._accepted, self.started, self.talking, self._outcomes):
            waiting.pop(holding.task_id, None)
        if holding.log is not None:
            self._in_flight.pop((holding.task_id, holding.log.execution), None)

    def mute(self, holding: Holding) -> None:
        """Tell no more about an execution that another one follows."""
        self.started.pop(holding.task_id, None)
        self.talking.pop(holding.task_id, None)

    def resend_due(self, now: float) -> None:
        """Send again what has waited too long for its acknowledgement."""
        for key, sent in list(self._in_flight.items()):
            if now < sent + RESEND_S:
                break
            del self._in_flight[key]
            holding = self._holdings.get(key[0])
            if key in self._holdings.losses:
                self._losses[key] = self._holdings.losses[key]
            elif holding is not None and holding.orphan_since is None:
                self.tell_again(holding)

    def messages(self, session: int, now: float) -> Iterator[AgentMessage]:
        """Yield everything that waits, as messages of ``session``, and count it as sent at ``now``."""
        if now >= self._accept_by:
            self._accept_by = float("inf")
            if self._accepted:
                yield Accepted(session, list(self._accepted.items()))
                self._accepted = {}
        if self.started:
            yield Started(session, [_started(holding) for holding in self.started.values()])
            self.started = {}
        if self.talking:
            talking, self.talking = self.talking, {}
            yield from self._events(session, talking.values())
        yield from self.ends(session, now)

    def ends(self, session: int, now: float) -> Iterator[AgentMessage]:
        """Yield the outcomes and losses that wait, and count them as sent at ``now``."""
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, {}
            yield from self._results(session, outcomes.values(), now)
        if self._losses:
            self._in_flight.update(dict.fromkeys(self._losses, now))
            yield Lost(session, [(x.task_id, x.tag, x.execution, x.evidence) for x in self._losses.values()])
            self._losses = {}

    def _events(self, session: int, holdings: Iterable[Holding]) -> Iterator[AgentMessage]:
        gathered: list[EventBatch] = []
        size = 0
        for holding in holdings:
            for batch, nbytes in _unsent(holding):
                if gathered and size + nbytes > MESSAGE_TARGET:
                    yield Events(session, gathered)
                    gathered, size = [], 0
                gathered.append(batch)
                size += nbytes
        if gathered:
            yield Events(session, gathered)

    def _results(self, session: int, holdings: Iterable[Holding], now: float) -> Iterator[AgentMessage]:
        gathered: list[ResultItem] = []
        size = 0
        for holding in holdings:
            log = holding.log
            if log is None or holding.outcome is None:
                continue
            ride: EventBatch | None = log.batch(holding.task_id, log.first)
            nbytes = _ITEM_OVERHEAD + len(holding.outcome.payload) + (_size(ride) if ride else 0)
            if ride and nbytes > MESSAGE_TARGET:  # much output goes ahead in messages of its own
                if not session:
                    continue  # which need a session
                yield from self._events(session, [holding])
                ride, nbytes = None, len(holding.outcome.payload)
            if gathered and size + nbytes > MESSAGE_TARGET:
                yield Results(session, gathered)
                gathered, size = [], 0
            held_s = 0.0 if holding.came is None else now - holding.came
            gathered.append(
                ResultItem(holding.task_id, holding.tag, log.execution, holding.outcome, ride, held_s)
            )
            size += nbytes
            key = (holding.task_id, log.execution)
            self._in_flight.pop(key, None)
            self._in_flight[key] = now
        if gathered:
            yield Results(session, gathered)


def _started(holding: Holding) -> tuple[str, int, str, float, dict[str, object]]:
    fact = holding.started
    if fact is None:
        raise ValueError("only started tasks are told as started")
    return holding.task_id, holding.tag, fact.execution, fact.time, dict(fact.worker)


def _unsent(holding: Holding) -> Iterator[tuple[EventBatch, int]]:
    """Yield the events not sent in this session, in batches that fit into a message."""
    log: EventLog | None = holding.log
    if log is None:
        return
    batch = log.batch(holding.task_id, log.sent)
    log.sent = log.first + len(log.kept)
    if batch is None:
        return
    start, size = 0, 0
    for position, event in enumerate(batch.events):
        nbytes = _event_size(event)
        if position > start and size + nbytes > MESSAGE_TARGET:
            yield _part(batch, start, position), size
            start, size = position, 0
        size += nbytes
    yield _part(batch, start, len(batch.events)), size


def _part(batch: EventBatch, start: int, stop: int) -> EventBatch:
    return EventBatch(batch.task_id, batch.execution, batch.first + start, batch.events[start:stop])


def _size(batch: EventBatch) -> int:
    return sum(_event_size(event) for event in batch.events)


def _event_size(event: Event) -> int:
    data = event.data
    return 40 + (len(data) if isinstance(data, str) else len(msgspec.msgpack.encode(data)))
