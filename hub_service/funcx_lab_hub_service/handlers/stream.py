"""The stream: one WebSocket on which a client submits, and hears outcomes and events."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from urllib.parse import urlsplit

import tornado.websocket

from funcx_lab.errors import FuncxLabError, MalformedMessage, NotAuthenticated, NotAuthorized, ServiceError
from funcx_lab.protocol.stream import (
    Cancelled,
    CancelTasks,
    Failed,
    Follow,
    OutcomeItem,
    Refusal,
    Submit,
    Subscribe,
    Unfollow,
    Watch,
    client_codec,
)
from funcx_lab_hub_service.auth.tokens import FRESH_S
from funcx_lab_hub_service.handlers.base import Guard, error_document
from funcx_lab_hub_service.handlers.outbox import Outbox
from funcx_lab_hub_service.handlers.replay import EventReplay, GroupReplay, Replay

logger = logging.getLogger(__name__)

#: From so many submitted, uncommitted bytes on, no further message is read.
_UNCOMMITTED_LIMIT = 16 * 1024 * 1024
_MESSAGES_A_TURN = 32
_WATCHES_A_TURN = 64
# WebSocket close codes
_UNSUPPORTED, _MALFORMED, _POLICY, _TRY_AGAIN, _RESTART = 1003, 1007, 1008, 1013, 1012


class StreamHandler(Guard, tornado.websocket.WebSocketHandler):
    """One client's stream."""

    #: all open streams, to be closed when the service stops
    open_streams: ClassVar[set[StreamHandler]] = set()

    def admit(self) -> None:
        """Check address, token and origin before the upgrade."""
        super().admit()
        origin = self.request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in self.services.hosts:
            raise NotAuthorized("A page of another origin may not open the stream.")

    def check_origin(self, origin: str) -> bool:
        """Let pass: `admit` has checked it."""
        return True

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Begin."""
        self.set_nodelay(True)
        self._outbox = Outbox(
            lambda frame: self.write_message(frame, binary=True),
            lambda: self.close(_TRY_AGAIN, "come again, from your cursors"),
        )
        self._replays: dict[tuple[str, str], Replay] = {}
        self._watches: dict[str, Callable[[], None]] = {}
        self._background: set[asyncio.Future[Any]] = set()
        self._submits: set[asyncio.Future[list[Refusal]]] = set()
        self._uncommitted = self._turns = 0
        self._room = asyncio.Event()
        self._handlers: dict[type, Callable[[Any], None]] = {
            Submit: self._submit,
            Subscribe: self._subscribe,
            Watch: self._watch,
            Follow: self._follow,
            Unfollow: self._unfollow,
            CancelTasks: self._cancel,
        }
        self._keep(self._check_token())
        self.open_streams.add(self)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Do what the client asks."""
        if isinstance(message, str):
            self.close(_UNSUPPORTED, "binary messages only")
            return None
        try:
            request = client_codec.decode(message)
        except MalformedMessage as err:
            self._fail(0, err)
            self.close(_MALFORMED, "malformed message")
            return None
        try:
            self._handlers[type(request)](request)
        except Exception as err:
            self._fail(getattr(request, "request", 0), err)
        self._turns += 1
        if self._uncommitted > _UNCOMMITTED_LIMIT:
            return self._committed_enough()
        # Messages that wait in the buffer are read without a pause: let the others have their turn.
        return asyncio.sleep(0) if self._turns % _MESSAGES_A_TURN == 0 else None

    def on_close(self) -> None:
        """Forget the client; its tasks go on."""
        self.open_streams.discard(self)
        if not hasattr(self, "_outbox"):
            return
        self._outbox.stop()
        self._room.set()
        for replay in self._replays.values():
            replay.stop()
        for unsubscribe in self._watches.values():
            unsubscribe()
        for future in self._background:
            future.cancel()

    def leave(self) -> None:
        """Tell the client that the service stops."""
        self.close(_RESTART, "the hub service stops")

    # --- what a client asks for ---------------------------------------------------------------------

    def _submit(self, request: Submit) -> None:
        committed = self.services.tasks.submit(
            self.principal,
            request.endpoint,
            request.function_id,
            request.group_id,
            request.tasks,
            request.options,
        )
        size = sum(len(task.payload) for task in request.tasks)
        self._uncommitted += size
        self._submits.add(committed)
        committed.add_done_callback(functools.partial(self._submitted, request.request, size))

    def _submitted(self, number: int, size: int, done: asyncio.Future[list[Refusal]]) -> None:
        self._uncommitted -= size
        self._submits.discard(done)
        self._room.set()
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._outbox.submitted(number, done.result())
        else:
            self._fail(number, error)

    async def _committed_enough(self) -> None:
        while self._uncommitted > _UNCOMMITTED_LIMIT:
            self._room.clear()
            await self._room.wait()

    def _subscribe(self, request: Subscribe) -> None:
        self._drop_replay("group", request.group_id)
        self._replays["group", request.group_id] = GroupReplay(
            self.services, self.principal, self._outbox, request.group_id, request.after
        )

    def _follow(self, request: Follow) -> None:
        self._keep(self._follow_one(request))

    async def _follow_one(self, request: Follow) -> None:
        self._drop_replay("task", request.task_id)
        if await self._exists(request.task_id):
            self._replays["task", request.task_id] = EventReplay(
                self.services, self.principal, self._outbox, request.task_id, request.after
            )

    def _unfollow(self, request: Unfollow) -> None:
        self._drop_replay("task", request.task_id)

    def _drop_replay(self, kind: str, name: str) -> None:
        replay = self._replays.pop((kind, name), None)
        if replay is not None:
            replay.stop()

    def _watch(self, request: Watch) -> None:
        self._keep(self._watch_all(request.task_ids))

    async def _watch_all(self, task_ids: list[str]) -> None:
        for index, task_id in enumerate(task_ids):
            if await self._exists(task_id):
                self._watch_one(task_id)
            if index % _WATCHES_A_TURN == _WATCHES_A_TURN - 1:
                await self._outbox.drained()
                await asyncio.sleep(0)

    async def _exists(self, task_id: str) -> bool:
        """Whether the client has such a task; one it has just submitted may not be committed yet."""
        tasks = self.services.tasks
        if not tasks.records(self.principal, task_ids=[task_id]) and self._submits:
            await asyncio.wait(set(self._submits))
        try:
            tasks.record(self.principal, task_id)
        except FuncxLabError as err:
            self._fail(0, err, task_id)
            return False
        return True

    def _watch_one(self, task_id: str) -> None:
        outcome = self.services.tasks.outcome(self.principal, task_id)
        if outcome is not None:
            self._outbox.outcomes([outcome])
        elif task_id not in self._watches:
            self._watches[task_id] = self.services.feed.task(task_id, self._ended)

    def _ended(self, item: OutcomeItem) -> None:
        unsubscribe = self._watches.pop(item.task_id, None)
        if unsubscribe is not None:
            unsubscribe()
            self._outbox.outcomes([item])

    def _cancel(self, request: CancelTasks) -> None:
        self._keep(self._cancel_all(request))

    async def _cancel_all(self, request: CancelTasks) -> None:
        try:
            task_ids = await self.services.tasks.cancel(self.principal, request.task_ids)
        except Exception as err:
            self._fail(request.request, err)
        else:
            self._outbox.message(Cancelled(request.request, task_ids))

    # --- around it ----------------------------------------------------------------------------------

    def _fail(self, number: int, error: BaseException, task_id: str = "") -> None:
        if not isinstance(error, FuncxLabError) or type(error) is ServiceError:
            logger.error("A request on a stream failed", exc_info=error)
        self._outbox.message(Failed(number, error_document(error), task_id))

    def _keep(self, work: Awaitable[Any]) -> None:
        future = asyncio.ensure_future(work)
        self._background.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._background.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            self._fail(0, error)

    async def _check_token(self) -> None:
        """Close the stream soon after its token was revoked."""
        token = self.request.headers["Authorization"].partition(" ")[2].strip()
        while True:
            await asyncio.sleep(FRESH_S)
            try:
                self.services.tokens.verify(token)
            except NotAuthenticated:
                self.close(_POLICY, "the token was revoked")
                return


routes = [("/v3/stream", StreamHandler)]
