"""One watching page: what it asks for, and what it is told when it is due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

import msgspec

import funcx_lab
from funcx_lab.errors import EndpointNotFound, FuncxLabError, InvalidRequest
from funcx_lab.protocol.states import FINAL_STATES, TaskState
from funcx_lab_hub_service.handlers.base import as_json, error_document
from funcx_lab_hub_service.handlers.following import Following
from funcx_lab_hub_service.handlers.overview import endpoint_documents
from funcx_lab_hub_service.handlers.page_outbox import Follow, PageOutbox, Pause, Resume, Unfollow, decode
from funcx_lab_hub_service.watching import MOST_TASKS, RELOAD_S, SHARE, Batch, Changes, Kind, in_messages

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.handlers.services import Services
    from funcx_lab_hub_service.store.records import TaskRecord
    from funcx_lab_hub_service.tasks import Live

logger = logging.getLogger(__name__)

#: So many ended tasks are told at the beginning.
_FIRST_ENDED = 100
#: Characters of an error's message.
_TEXT_LIMIT = 2000
#: Records are read so many at a time; others have their turn between.
_PIECE = 100
#: What was counted so many seconds ago still counts: less than lies between two messages.
_TURN_S = 0.1
_LIVE = frozenset(TaskState) - FINAL_STATES


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
        self._outbox = PageOutbox(write, close, lambda task_id: self._following.ended(task_id))
        self._following = Following(services, principal, self._outbox, self._refuse)
        self._changes = Changes()
        self._news = asyncio.Event()
        #: what was told last of the endpoints, and which these were
        self._endpoints, self._shown = b"", frozenset[str]()
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
        self._live: Live = []
        self._counted = float("-inf")
        self._teller = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        """Forget the page."""
        self._outbox.stop()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._following.stop()
        self._teller.cancel()

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
                self._following.follow(message.task_id, message.after)
            case Unfollow():
                self._following.unfollow(message.task_id)
            case Pause():
                self._changes.paused = True
                self._following.pause()
            case Resume():
                self._changes.paused = False
                self._following.resume()
                self._news.set()

    def _refuse(self, error: Exception, task_id: str = "") -> None:
        if not isinstance(error, FuncxLabError):
            logger.error("A page could not be told what it asked for", exc_info=error)
        document = error_document(error)
        about = {"task_id": task_id} if task_id else {}
        self._outbox.tell("error", code=document["code"], message=document["message"][:_TEXT_LIMIT], **about)

    # --- what it is told ----------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._due()
                await self._outbox.drained()
                due = self._changes.take(time.monotonic())
                for kind, tell in self._told.items():
                    if kind in due:
                        await tell()
        except Exception:
            logger.exception("A page broke")
            self._outbox.give_up()

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

    def _live_now(self, now: float) -> Live:
        """Return what is live where, asked once for what is told in the same turn."""
        if now - self._counted > _TURN_S:
            self._live = self._services.tasks.live(self._principal)
            self._counted = time.monotonic()
        return self._live

    async def _tell_counts(self) -> None:
        begun = time.monotonic()
        try:
            counts = self._services.tasks.counts(self._principal, self._live_now(begun))
        except Exception as err:
            self._failed(Kind.COUNTS, err)
            return
        self._outbox.tell("counts", tasks=counts)
        self._changes.told(Kind.COUNTS, begun, time.monotonic() - begun)

    async def _tell_endpoints(self) -> None:
        begun = time.monotonic()
        try:
            documents = endpoint_documents(self._services, self._principal, self._live_now(begun))
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
                took = SHARE * RELOAD_S
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
            await self._outbox.drained()
            await asyncio.sleep(0)  # others have their turn
        return took

    def _send_records(self, records: list[TaskRecord]) -> None:
        entries = [as_json(record.as_document()) for record in records]
        for piece in in_messages(entries):
            self._outbox.tell_list("tasks", "tasks", piece)

    def _failed(self, kind: Kind, error: Exception, batch: Batch | None = None) -> None:
        self._changes.failed(kind, batch, time.monotonic())
        self._refuse(error)
