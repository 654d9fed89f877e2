"""A client of the model world: the real stream state, a connection that breaks, a journal that stays."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos.model.store import ENDPOINT
from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.stream import NewTask, OutcomeItem, client_codec, service_codec

try:
    from funcx_lab.stream.state import StreamState
    from funcx_lab.stream.submit_queue import Route
except ImportError:
    from funcx_lab.stream_state import StreamState
    from funcx_lab.submit_queue import Route

if TYPE_CHECKING:
    from chaos.model.world import World

GROUP = "00000000-0000-0000-0000-000000000001"
#: Refusals that may pass: the same task is submitted again.
_PASSING = ("STORAGE_FULL", "SERVICE_UNAVAILABLE", "TOO_MANY_REQUESTS")


@dataclass
class Entry:
    """One task in the journal."""

    submitted: bool = False
    #: whether an earlier life may have sent it
    sent: bool = False
    acknowledged: bool = False
    left: bool = False
    #: whether its outcome reached the caller
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
        self.journal = {task_id: Entry() for task_id in self.truth.tasks}
        self.pipe: Pipe | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new life with what the journal says."""
        self.state = StreamState()
        for task_id, entry in self.journal.items():
            entry.sent = entry.submitted
            if entry.submitted and not entry.seen and not entry.left:
                self._open(task_id, entry)

    def _open(self, task_id: str, entry: Entry) -> None:
        sink = Sink(self, task_id, self.state)
        if entry.acknowledged:
            self.state.watch(task_id, sink)
        else:
            self.state.submit(self._route(task_id), NewTask(task_id, b"in"), sink)
            if entry.sent:  # in an earlier life: only the service can tell how it stands
                self.state._tasks[task_id].sent = True

    def _route(self, task_id: str) -> Route:
        options = TaskOptions(at_most_once=True) if task_id in self.truth.once else None
        return Route(ENDPOINT, self.world.disk.function_id, GROUP, options)

    @property
    def is_content(self) -> bool:
        """Whether nothing more is to be done or heard."""
        return all(entry.seen or entry.left for entry in self.journal.values())

    # --- what it does by itself ---------------------------------------------------------------------

    def step(self) -> None:
        """Do one thing."""
        world, r = self.world, self.world.r
        for task_id, entry in self.journal.items():
            if not entry.submitted and (world.calm or self.truth.born[task_id] <= world.progress):
                entry.submitted = True
                self._open(task_id, entry)
        task_id = r.choice(self.truth.tasks)
        entry = self.journal[task_id]
        if entry.submitted and not entry.left:
            if task_id in self.truth.abandoned and r.random() < 0.03:
                self._leave(task_id, entry)
            elif task_id in self.truth.to_cancel and not entry.seen and r.random() < 0.15:
                self.state.cancel([task_id], Nobody())
            elif r.random() < 0.15:
                self._look(task_id, entry)
        self._pump()

    def _leave(self, task_id: str, entry: Entry) -> None:
        """Never ask for this task again; a new life that knows nothing of it is the simplest way."""
        entry.left = True
        self.hang_up()
        self.restart()

    def _look(self, task_id: str, entry: Entry) -> None:
        """Ask the service directly, as REST does."""
        item = self.world.hub.outcome(task_id)
        if item is None:
            if task_id in self.truth.acknowledged and not self.world.hub.knows(task_id):
                self.truth.flaw("acknowledged task unknown", task_id)
            return
        self.truth.see(task_id, seen_of(item))

    def _pump(self) -> None:
        if self.pipe is None:
            self.pipe = self.world.hub.connect()
            self.state.connected()
        while (message := self.state.next_message()) is not None:
            self.pipe.up.append(client_codec.encode(message))

    # --- the connection -----------------------------------------------------------------------------

    def hear(self) -> None:
        """Take one frame, or find the connection broken."""
        pipe = self.pipe
        if pipe is None:
            return
        if pipe.down:
            self.state.receive(service_codec.decode(pipe.down.popleft()))
        elif pipe.is_broken:
            self.hang_up()

    def hang_up(self) -> None:
        """Give the connection up."""
        if self.pipe is not None:
            self.world.hub.hang_up(self.pipe)
            self.pipe = None
            self.state.disconnected()

    # --- what the sinks hear ------------------------------------------------------------------------

    def accepted(self, task_id: str) -> None:
        """Hear that a task is safe."""
        self.journal[task_id].acknowledged = True
        self.truth.acknowledged.add(task_id)

    def ended(self, task_id: str, outcome: tuple[str, bytes, str]) -> None:
        """Hear an outcome."""
        self.journal[task_id].seen = True
        self.truth.see(task_id, outcome)

    def refused(self, task_id: str, error: FuncxLabError) -> None:
        """Hear that no outcome will come."""
        entry = self.journal[task_id]
        if error.code in _PASSING:
            entry.submitted = False
        elif error.code == "TASK_NOT_FOUND" and entry.acknowledged:
            self.truth.flaw("acknowledged task unknown", task_id)
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
