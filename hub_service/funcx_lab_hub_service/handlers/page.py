"""One watching page: what it asks for, and what it is told when it is due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

import funcx_lab
from funcx_lab.errors import EndpointNotFound, FuncxLabError, InvalidRequest
from funcx_lab.protocol.messages import Number
from funcx_lab.protocol.states import FINAL_STATES, TaskState
from funcx_lab.protocol.stream import STREAM_LIMIT
from funcx_lab_hub_service.handlers.base import as_json, error_document
from funcx_lab_hub_service.handlers.outbox import Outbox
from funcx_lab_hub_service.handlers.overview import endpoint_documents
from funcx_lab_hub_service.handlers.replay import EventReplay
from funcx_lab_hub_service.watching import MOST_TASKS, Batch, Changes, Kind, in_messages

if TYPE_CHECKING:
    from funcx_lab.protocol.messages import Event
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.handlers.services import Services
    from funcx_lab_hub_service.store.records import TaskRecord

logger = logging.getLogger(__name__)

#: So many ended tasks are told at the beginning, and so many logs are followed at once.
_FIRST_ENDED, _MOST_FOLLOWED = 100, 64
#: A page that takes nothing for so many seconds is closed; it comes again.
_STUCK_S = 30.0
#: Records are read so many at a time; others have their turn between.
_PIECE = 100
#: A task that is followed may be on its way into the database: it is looked for again after so many seconds.
_LOOK_AGAIN_S = (0.1, 1.0)
_LIVE = frozenset(TaskState) - FINAL_STATES


class _Message(msgspec.Struct, tag_field="type", frozen=True):
    """Anything that a page says."""


class Follow(_Message, tag="follow", frozen=True):
    """Tell the task's events behind ``after``, from now on too."""

    task_id: str
    after: Number = 0


class Unfollow(_Message, tag="unfollow", frozen=True):
    """No more events of this task."""

    task_id: str


class Pause(_Message, tag="pause", frozen=True):
    """Nobody looks: tell nothing."""


class Resume(_Message, tag="resume", frozen=True):
    """Somebody looks again."""


decode = msgspec.json.Decoder(Follow | Unfollow | Pause | Resume).decode


class PageOutbox(Outbox):
    """An outbox of JSON; ``ended`` is called with a followed task whose last event was sent."""

    slow, stuck = 256 * 1024, 4 * STREAM_LIMIT

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        close: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        super().__init__(write, close)
        self._on_ended = ended

    def tell(self, type: str, **fields: Any) -> None:
        """Send one message."""
        self._send(as_json({"type": type, **fields}))

    def tell_list(self, type: str, name: str, entries: Iterable[bytes]) -> None:
        """Send one message of entries that are JSON already."""
        self._send(b'{"type":"%b","%b":[%b]}' % (type.encode(), name.encode(), b",".join(entries)))

    def events(self, task_id: str, events: list[tuple[int, Event]], last: bool) -> None:
        """Send events, in as many messages as their size asks for."""
        shown = [[seq, {"time": event.time, "kind": event.kind, "data": event.data}] for seq, event in events]
        frame = as_json({"type": "events", "task_id": task_id, "events": shown, "ended": last})
        if len(frame) > self.slow and len(events) > 1:
            half = len(events) // 2
            self.events(task_id, events[:half], last=False)
            self.events(task_id, events[half:], last)
            return
        self._send(frame)
        if last:
            self._on_ended(task_id)


class Page:
    """What one page is told; `stop` ends it.

    Parameters
    ----------
    services : Services
        The rules.
    principal : Principal
        Whose page it is.
    write : callable
        Sends one frame; what it returns is done when the frame has left.
    close : callable
        Called once when the page takes nothing.
    """

    def __init__(
        self,
        services: Services,
        principal: Principal,
        write: Callable[[bytes], Awaitable[None]],
        close: Callable[[], None],
    ) -> None:
        self._services, self._principal = services, principal
        self._outbox = PageOutbox(write, close, lambda task_id: self._unfollow(Unfollow(task_id)))
        self._changes = Changes()
        self._news = asyncio.Event()
        #: what was told last of the endpoints, and which these were
        self._endpoints, self._shown = b"", frozenset[str]()
        self._follows: dict[str, EventReplay | None] = {}
        self._background: set[asyncio.Future[None]] = set()
        self._told: dict[Kind, Callable[[], Awaitable[None]]] = {
            Kind.ENDPOINTS: self._tell_endpoints,
            Kind.COUNTS: self._tell_counts,
            Kind.TASKS: self._tell_tasks,
        }
        self._unsubscribe = [
            services.feed.changes(principal.user, self._on_changes),
            services.feed.endpoints(self._on_endpoint),
        ]
        damaged = bool(services.gate.damage)
        self._outbox.tell("hello", user=principal.user, version=funcx_lab.__version__, read_only=damaged)
        self._keep(self._run())

    def stop(self) -> None:
        """Forget the page."""
        self._outbox.stop()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        for replay in self._follows.values():
            if replay is not None:
                replay.stop()
        self._follows.clear()
        for future in self._background:
            future.cancel()

    def _keep(self, work: Any) -> None:
        future = asyncio.ensure_future(work)
        self._background.add(future)
        future.add_done_callback(self._background.discard)

    # --- what happens -------------------------------------------------------------------------------

    def _on_changes(self, changed: Collection[str], gone: Collection[str]) -> None:
        if changed:
            self._changes.changed(changed)
        if gone:
            self._changes.gone(gone)
        self._news.set()

    def _on_endpoint(self, endpoint_id: str, moved: bool = False) -> None:
        if endpoint_id in self._shown or self._sees(endpoint_id):
            self._changes.endpoint(endpoint_id, moved=moved)
            self._news.set()

    def _sees(self, endpoint_id: str) -> bool:
        try:
            self._services.endpoints.resolve(self._principal, endpoint_id)
        except EndpointNotFound:
            return False
        return True

    # --- what the page says -------------------------------------------------------------------------

    def take(self, frame: str) -> None:
        """Do what the page asks; what it cannot have is told to it."""
        try:
            message = decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as err:
            self._refuse(InvalidRequest(f"The message was refused: {err}"[:500]))
            return
        match message:
            case Follow():
                self._follow(message)
            case Unfollow():
                self._unfollow(message)
            case Pause():
                self._changes.paused = True
            case Resume():
                self._changes.paused = False
                self._news.set()

    def _follow(self, message: Follow) -> None:
        self._unfollow(Unfollow(message.task_id))
        if len(self._follows) >= _MOST_FOLLOWED:
            why = f"A page follows {_MOST_FOLLOWED} tasks at once; unfollow another one first."
            self._refuse(InvalidRequest(why), message.task_id)
            return
        self._follows[message.task_id] = None
        self._keep(self._follow_one(message))

    async def _follow_one(self, message: Follow) -> None:
        task_id = message.task_id
        error = self._why_not(task_id)
        for wait_s in _LOOK_AGAIN_S:
            if error is not None:
                await asyncio.sleep(wait_s)
                error = self._why_not(task_id)
        if self._follows.get(task_id, self) is not None:
            return  # unfollowed meanwhile, or followed anew
        if error is not None:
            del self._follows[task_id]
            self._refuse(error, task_id)
            return
        self._follows[task_id] = EventReplay(
            self._services, self._principal, self._outbox, task_id, message.after
        )

    def _why_not(self, task_id: str) -> Exception | None:
        try:
            self._services.tasks.record(self._principal, task_id)
        except Exception as err:  # a damaged database fails in many ways; it is told as any error
            return err
        return None

    def _unfollow(self, message: Unfollow) -> None:
        replay = self._follows.pop(message.task_id, None)
        if replay is not None:
            replay.stop()

    def _refuse(self, error: Exception, task_id: str = "") -> None:
        if not isinstance(error, FuncxLabError):
            logger.error("A page could not be told what it asked for", exc_info=error)
        document = error_document(error)
        about = {"task_id": task_id} if task_id else {}
        self._outbox.tell("error", code=document["code"], message=document["message"], **about)

    # --- what it is told ----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._due()
            await self._has_room()
            for kind in self._changes.take(time.monotonic()):
                await self._told[kind]()

    async def _due(self) -> None:
        """Wait until something is to be told."""
        while True:
            self._news.clear()
            due, now = self._changes.due(), time.monotonic()
            if due is not None and due <= now:
                return
            try:
                await asyncio.wait_for(self._news.wait(), None if due is None else due - now)
            except asyncio.TimeoutError:
                return

    async def _has_room(self) -> None:
        try:
            await asyncio.wait_for(self._outbox.drained(), _STUCK_S)
        except asyncio.TimeoutError:
            self._outbox.give_up()

    async def _tell_counts(self) -> None:
        begun = time.monotonic()
        try:
            counts = self._services.tasks.counts(self._principal)
        except Exception as err:
            self._failed(Kind.COUNTS, err)
            return
        self._outbox.tell("counts", tasks=counts)
        self._changes.told(Kind.COUNTS, begun, time.monotonic() - begun)

    async def _tell_endpoints(self) -> None:
        begun = time.monotonic()
        try:
            documents = endpoint_documents(self._services, self._principal)
        except Exception as err:
            self._failed(Kind.ENDPOINTS, err)
            return
        self._shown = frozenset(document["endpoint_id"] for document in documents)
        entries = as_json(documents)
        if entries != self._endpoints:
            self._endpoints = entries
            self._outbox.tell_list("endpoints", "endpoints", [entries[1:-1]])
        self._changes.told(Kind.ENDPOINTS, begun, time.monotonic() - begun)

    async def _tell_tasks(self) -> None:
        begun, took = time.monotonic(), 0.0
        batch = self._changes.batch()
        try:
            if batch.gone:
                self._outbox.tell("gone", task_ids=batch.gone)
            if batch.reload or not self._name_places(batch):
                self._outbox.tell("reload")
            elif batch.first:
                took = await self._tell_first()
            else:
                took = await self._tell_records(batch.changed)
        except Exception as err:
            self._failed(Kind.TASKS, err, batch)
            return
        self._changes.told(Kind.TASKS, begun, took)

    def _name_places(self, batch: Batch) -> bool:
        """Add the live tasks of endpoints that changed; False if these are too many."""
        for endpoint_id in batch.places:
            room = MOST_TASKS - len(batch.changed)
            live = self._services.tasks.live_at(self._principal, endpoint_id, room + 1)
            batch.changed = list(dict.fromkeys([*batch.changed, *live]))
            if len(batch.changed) > MOST_TASKS:
                return False
        return True

    async def _tell_first(self) -> float:
        begun = time.monotonic()
        tasks = self._services.tasks
        live = tasks.records(self._principal, states=_LIVE, limit=MOST_TASKS)
        ended = tasks.records(self._principal, states=FINAL_STATES, limit=_FIRST_ENDED)
        for records in (live, ended):
            self._send_records(records)
        if not live and not ended:
            self._outbox.tell("tasks", tasks=[])
        return time.monotonic() - begun

    async def _tell_records(self, task_ids: list[str]) -> float:
        took = 0.0
        for start in range(0, len(task_ids), _PIECE):
            begun = time.monotonic()
            piece = task_ids[start : start + _PIECE]
            self._send_records(self._services.tasks.records(self._principal, task_ids=piece))
            took += time.monotonic() - begun
            await self._has_room()
            await asyncio.sleep(0)  # others have their turn
        return took

    def _send_records(self, records: list[TaskRecord]) -> None:
        entries = [as_json(record.as_document()) for record in records]
        for piece in in_messages(entries):
            self._outbox.tell_list("tasks", "tasks", piece)

    def _failed(self, kind: Kind, error: Exception, batch: Batch | None = None) -> None:
        self._changes.failed(kind, batch, time.monotonic())
        self._refuse(error)
