"""One life of the hub service in the model world: real rules and forwarder, stand-ins for their sockets."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from chaos.model.client import Fate, Pipe
from chaos.model.loop import SteppedLoop
from chaos.model.store import KEY, OWNER, SteppedDatabase
from funcx_lab.errors import TaskGone, TaskNotFound
from funcx_lab.protocol.stream import OutcomeItem, client_codec
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.feed import Feed
from funcx_lab_hub_service.forwarder.forwarder import Forwarder
from funcx_lab_hub_service.functions import Functions
from funcx_lab_hub_service.handlers.conversation import Conversation
from funcx_lab_hub_service.handlers.outbox import Outbox
from funcx_lab_hub_service.store import retention
from funcx_lab_hub_service.tasks import Tasks

if TYPE_CHECKING:
    from chaos.model.world import World


class AgentSocket:
    """Stands in for the forwarder's socket: hands frames to the network of the world that runs."""

    world: World
    malformed = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def open(self, *_: Any) -> int:
        """Return a port."""
        return 1

    def send(self, peer: bytes, data: bytes) -> bool:
        """Put a frame on its way; False if the connection is known to be gone."""
        return self.world.network.to_agent(peer, data)

    def cut(self, key: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class NoAudit:
    """Takes every entry of the audit log and keeps none."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_named: None


class Hub:
    """The service from a start to a crash."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.loop = SteppedLoop(world.clock)
        self.loop.enter()
        boot = world.disk.next_boot()
        self.database = SteppedDatabase(world.disk.connection, boot, self.loop)
        endpoints, functions, feed = Endpoints(self.database), Functions(self.database), Feed()
        endpoints.start()
        self.tasks = Tasks(self.database, endpoints, functions, feed, clock=world.clock.time)
        self.forwarder = Forwarder(self.tasks, endpoints, functions, boot=boot, key_file=Path("key"))
        self.loop.create_task(self.forwarder.start())
        self.loop.run()
        self._services: Any = SimpleNamespace(
            tasks=self.tasks, feed=feed, endpoints=endpoints, functions=functions, audit=NoAudit()
        )
        self._pipes: list[Pipe] = []

    # --- streams ------------------------------------------------------------------------------------

    def connect(self) -> Pipe:
        """Open a stream."""
        pipe = Pipe()
        pipe.conversation = Conversation(self._services, OWNER, Outbox(pipe.write, pipe.hang_up))
        self._pipes.append(pipe)
        return pipe

    def hear(self, pipe: Pipe) -> None:
        """Take one frame of a stream."""
        if pipe.up and pipe.conversation is not None and not pipe.is_broken:
            pipe.conversation.take(client_codec.decode(pipe.up.popleft()))
            self.loop.run()

    def hang_up(self, pipe: Pipe) -> None:
        """Take note that a client has gone."""
        if pipe.conversation is not None:
            pipe.conversation.stop()
            pipe.conversation = None
            self._pipes.remove(pipe)
            self.loop.run()

    # --- the agents' link ---------------------------------------------------------------------------

    def receive(self, peer: bytes, data: bytes) -> None:
        """Take a frame of an agent."""
        self.forwarder._on_frame(peer, KEY, memoryview(data))
        self.loop.run()

    # --- its disk -----------------------------------------------------------------------------------

    def commit(self) -> None:
        """Let the writer do something."""
        r, database = self.world.r, self.database
        database.holds_back = not self.world.calm and r.random() < 0.1
        if database.waiting:
            count = database.waiting if self.world.calm else r.randint(1, database.waiting)
            database.commit(count, full=self._is_full())
        if not database.holds_back:
            database.tell()
        self.loop.run()

    def _is_full(self) -> bool:
        """Whether the disk has no room for the next commit."""
        world = self.world
        is_full = not world.calm and (world.is_full_next or world.r.random() < world.fullness)
        world.is_full_next = False
        return is_full

    def purge(self) -> None:
        """Purge every task that has ended, if its outcome was seen by whoever wants it."""
        now = self.world.clock.time()

        def purge(connection: sqlite3.Connection) -> None:
            if not self.world.client.awaits_ended:
                retention.purge(connection, 0, now, now, 100)

        self.database.submit(purge, lambda _value, _error: None)

    def crash(self, count: int) -> None:
        """Die: ``count`` operations more are on disk, and nobody is told of them."""
        self.database.crash(count)
        for pipe in self._pipes:
            pipe.conversation, pipe.is_broken = None, True
            pipe.up.clear()

    @property
    def has_room(self) -> bool:
        """Whether a new task would leave for the endpoint ahead of its commit."""
        state = self.forwarder.state(self.world.disk.endpoint_id)
        return state.ready and not state.backlog and not state._fetching

    # --- looking ------------------------------------------------------------------------------------

    def outcome(self, task_id: str) -> OutcomeItem | None:
        """Return what is shown of a task's end."""
        return self.tasks.outcome(OWNER, task_id)

    def fate(self, task_id: str) -> Fate:
        """Return what somebody who asks for the task hears."""
        try:
            self.tasks.record(OWNER, task_id)
        except TaskNotFound:
            return Fate.UNKNOWN
        except TaskGone:
            return Fate.PURGED
        return Fate.THERE

    @property
    def live(self) -> int:
        """How many tasks have no outcome."""
        return int(self.database.reader.execute(_LIVE).fetchone()[0])


_LIVE = "SELECT count(*) FROM tasks WHERE outcome_seq IS NULL"
