"""A client of the model world: the real stream state, a connection that breaks, a journal that stays."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from chaos.model.store import ENDPOINT
from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.stream import NewTask, OutcomeItem, client_codec, service_codec
from funcx_lab.stream.state import StreamState
from funcx_lab.stream.submit_queue import Route

if TYPE_CHECKING:
    from chaos.model.world import World


class Fate(Enum):
    """What somebody who asks for a task's record hears."""

    THERE = "there"
    PURGED = "purged"
    UNKNOWN = "unknown"


GROUP = "00000000-0000-0000-0000-000000000001"


@dataclass
class Entry:
    """One task as its user knows it."""

    submitted: bool = False
    #: the user was told that it is safe
    acknowledged: bool = False
    #: the user does not care any more
    left: bool = False
    #: its outcome reached the user
    seen: bool = False


class Pipe:
    """One stream's connection: in order, until it breaks."""

    def __init__(self) -> None:
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        #: the service's end; None when it is gone
        self.conversation: Any = None
        self.is_broken = False

    async def write(self, frame: bytes) -> None:
        """Send to the client."""
        self.down.append(frame)

    def hang_up(self) -> None:
        """Break: the service wants no more."""
        self.is_broken = True


class Client:
    """Submits each task when it is born, and wants to know how it ends."""

    def __init__(self, world: World) -> None:
        self.world, self.truth = world, world.truth
        self.entries = {task_id: Entry() for task_id in self.truth.tasks}
        #: what a crash leaves: submitted and not known to be settled
        self.journal: dict[str, tuple[Route, NewTask]] = {}
        self.pipe: Pipe | None = None
        #: submits of broken connections that something on the way still holds
        self._late: list[bytes] = []
        #: the network between client and service is down until then
        self._away_until = 0.0
        self._likes_room = world.r.random() < 0.6
        self.restart()

    def restart(self) -> None:
        """Begin a new life: what the journal holds is handed over, and what was not seen is asked for."""
        self.state = StreamState()
        for task_id, (route, task) in self.journal.items():
            self.state.hand_over(route, task, Sink(self, task_id, self.state))
        for task_id, entry in self.entries.items():
            if entry.submitted and not entry.seen and not entry.left:
                self.state.watch(task_id, Sink(self, task_id, self.state))

    def _route(self, task_id: str) -> Route:
        options = TaskOptions(at_most_once=True) if task_id in self.truth.once else None
        if task_id in self.truth.clumsy:
            options = TaskOptions(retries=1)
        return Route(ENDPOINT, self.world.disk.function_id, GROUP, options)

    @property
    def is_content(self) -> bool:
        """Whether nothing more is to be done or heard."""
        return all(entry.seen or entry.left for entry in self.entries.values())

    @property
    def awaits_ended(self) -> bool:
        """Whether a task has ended and its user has not seen it."""
        waiting = (task_id for task_id, entry in self.entries.items() if not entry.seen and not entry.left)
        return any(self.world.hub.outcome(task_id) is not None for task_id in waiting)

    # --- what it does by itself ---------------------------------------------------------------------

    def step(self) -> None:
        """Do one thing."""
        r = self.world.r
        for task_id, entry in self.entries.items():
            if not entry.submitted and self._is_time_for(task_id):
                entry.submitted = True
                self.state.submit(
                    self._route(task_id), NewTask(task_id, b"in"), Sink(self, task_id, self.state)
                )
                self._write()
        task_id = r.choice(self.truth.tasks)
        entry = self.entries[task_id]
        if entry.submitted and not entry.left:
            if task_id in self.truth.abandoned and r.random() < 0.03:
                self._leave(task_id, entry)
            elif task_id in self.truth.to_cancel and not entry.seen and r.random() < 0.15:
                self.state.cancel([task_id], Nobody())
                self._write()
            elif r.random() < 0.15:
                self._look(task_id, entry)
        self._pump()

    def _is_time_for(self, task_id: str) -> bool:
        """Whether a task is to be submitted; some wait until it can leave at once for its endpoint."""
        if self.world.calm:
            return True
        late = self.world.progress > 1.0 or not self._likes_room
        return self.truth.born[task_id] <= self.world.progress and (late or self.world.hub.has_room)

    def _leave(self, task_id: str, entry: Entry) -> None:
        """Never ask for this task again; a new life that knows nothing of it is the simplest way."""
        entry.left = True
        self.journal.pop(task_id, None)
        self.hang_up()
        self.restart()

    def _look(self, task_id: str, entry: Entry) -> None:
        """Ask the service directly, as REST does."""
        item = self.world.hub.outcome(task_id)
        if item is None:
            if task_id in self.truth.acknowledged and self.world.hub.fate(task_id) is Fate.UNKNOWN:
                self.truth.flaw("acknowledged task unknown", task_id)
            return
        self.truth.see(task_id, seen_of(item))

    def _pump(self) -> None:
        if not self.world.calm and self.world.clock.now < self._away_until:
            return
        if self.pipe is None:
            self.pipe = self.world.hub.connect()
            self.state.connected()
        if self.state.resend_pending and self.world.r.random() < 0.6:
            self.state.resend()
        while (message := self.state.next_message()) is not None:
            self.pipe.up.append(client_codec.encode(message))

    def retry_late(self) -> None:
        """Let a submit of a broken connection reach the service after all; nobody hears the answer."""
        if self._late:
            pipe = self.world.hub.connect()
            pipe.up.append(self._late.pop())
            self.world.hub.hear(pipe)
            self.world.hub.hang_up(pipe)

    def _write(self) -> None:
        """Bring the journal up to date; a record of something settled may be late."""
        for route, task in self.state.taken:
            self.journal[task.task_id] = route, task
        for task in self.state.settled:
            is_ours = task.task_id not in self.truth.acknowledged  # ended here, and told so
            if is_ours or self.world.calm or self.world.r.random() < 0.7:
                self.journal.pop(task.task_id, None)
        self.state.taken.clear()
        self.state.settled.clear()

    # --- the connection -----------------------------------------------------------------------------

    def hear(self) -> None:
        """Take one frame, or find the connection broken."""
        pipe = self.pipe
        if pipe is None:
            return
        if pipe.down:
            self.state.receive(service_codec.decode(pipe.down.popleft()))
            self._write()
        elif pipe.is_broken:
            self.hang_up()

    def hang_up(self) -> None:
        """Give the connection up."""
        if self.pipe is not None:
            unanswered = self.state._in_flight.values()
            self._late += [client_codec.encode(each) for each in unanswered if self.world.r.random() < 0.5]
            self.world.hub.hang_up(self.pipe)
            self.pipe = None
            self.state.disconnected()
            if self.world.r.random() < 0.4:
                self._away_until = self.world.clock.now + self.world.r.choice((0.3, 1.0, 3.0))

    # --- what the sinks hear ------------------------------------------------------------------------

    def accepted(self, task_id: str) -> None:
        """Hear that a task is safe."""
        self.entries[task_id].acknowledged = True
        self.truth.acknowledged.add(task_id)

    def ended(self, task_id: str, outcome: tuple[str, bytes, str]) -> None:
        """Hear an outcome."""
        self.entries[task_id].seen = True
        self.truth.see(task_id, outcome)

    def refused(self, task_id: str, error: FuncxLabError) -> None:
        """Hear that no outcome will come."""
        if error.code == "TASK_GONE" and self.entries[task_id].seen:
            return
        if error.code == "TASK_NOT_FOUND" and task_id in self.truth.acknowledged:
            self.truth.flaw("acknowledged task unknown", task_id)
        elif error.code == "TASK_NOT_FOUND":
            self.entries[task_id].submitted = False  # it was cancelled before it left, in an earlier life
        else:
            self.truth.flaw("task refused", task_id, error)


@dataclass(frozen=True)
class Sink:
    """Who waits for one task; of no meaning once its client has a new life."""

    client: Client
    task_id: str
    state: StreamState

    @property
    def _is_alive(self) -> bool:
        return self.client.state is self.state

    def accepted(self) -> None:
        """Hear that the task is safe."""
        if self._is_alive:
            self.client.accepted(self.task_id)

    def finish(self, item: OutcomeItem) -> None:
        """Hear how the task ended."""
        if self._is_alive:
            self.client.ended(self.task_id, seen_of(item))

    def ended_by_cancel(self) -> None:
        """Hear that the task was cancelled; if it was never sent, only here."""
        if self._is_alive:
            self.client.ended(self.task_id, ("cancelled", b"", "TASK_CANCELLED"))

    def fail(self, error: FuncxLabError) -> None:
        """Hear that no outcome will come."""
        if self._is_alive:
            self.client.refused(self.task_id, error)


class Nobody:
    """Asked to cancel and does not listen."""

    def answer(self, task_ids: frozenset[str]) -> None:
        """Hear nothing."""

    def fail(self, error: FuncxLabError) -> None:
        """Hear nothing."""


def seen_of(item: OutcomeItem) -> tuple[str, bytes, str]:
    """Return what a person sees of an outcome."""
    return item.state, item.payload, "" if item.error is None else item.error.code
