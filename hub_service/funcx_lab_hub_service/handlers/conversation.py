"""What a client asks for on a stream, and what it is told: the same over a WebSocket and by long poll."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import FuncxLabError, NotAuthenticated, NotAuthorized, ServiceError
from funcx_lab.protocol.stream import (
    Cancelled,
    CancelTasks,
    Check,
    ClientMessage,
    Failed,
    Follow,
    OutcomeItem,
    Refusal,
    Submit,
    Subscribe,
    Unfollow,
    Watch,
)
from funcx_lab_hub_service.auth.tokens import FRESH_S
from funcx_lab_hub_service.handlers.base import error_document
from funcx_lab_hub_service.handlers.replay import EventReplay, GroupReplay, Replay

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.handlers.outbox import Outbox
    from funcx_lab_hub_service.handlers.services import Services

logger = logging.getLogger(__name__)

#: From so many submitted, uncommitted bytes on, no further message should be read.
_UNCOMMITTED_LIMIT = 16 * 1024 * 1024
_WATCHES_A_TURN, _CHECKS_A_TURN = 64, 500


class Conversation:
    """One client's submits, subscriptions and cancels; `stop` ends it, its tasks go on.

    Parameters
    ----------
    services : Services
        The rules.
    principal : Principal
        Who asks.
    outbox : Outbox
        Where answers and news go.
    """

    def __init__(self, services: Services, principal: Principal, outbox: Outbox) -> None:
        self._services, self._principal, self._outbox = services, principal, outbox
        self._replays: dict[tuple[str, str], Replay] = {}
        self._watches: dict[str, Callable[[], None]] = {}
        self._background: set[asyncio.Future[Any]] = set()
        self._submits: set[asyncio.Future[list[Refusal]]] = set()
        self._uncommitted = 0
        self._room = asyncio.Event()
        self._handlers: dict[type, Callable[[Any], None]] = {
            Submit: self._submit,
            Subscribe: self._subscribe,
            Watch: self._watch,
            Check: self._check,
            Follow: self._follow,
            Unfollow: self._unfollow,
            CancelTasks: self._cancel,
        }

    def take(self, message: ClientMessage) -> None:
        """Do what the client asks; a failure is told to it."""
        try:
            self._handlers[type(message)](message)
        except Exception as err:
            self.fail(getattr(message, "request", 0), err)

    def stop(self) -> None:
        """Forget the client."""
        self._outbox.stop()
        self._room.set()
        for replay in self._replays.values():
            replay.stop()
        for unsubscribe in self._watches.values():
            unsubscribe()
        for future in self._background:
            future.cancel()

    @property
    def is_full(self) -> bool:
        """Whether so much is submitted and not committed that nothing more should be read."""
        return self._uncommitted > _UNCOMMITTED_LIMIT

    async def has_room(self) -> None:
        """Wait until enough is committed."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    async def answered(self) -> None:
        """Wait until each request so far has its answer; subscriptions go on."""
        while waiting := self._submits | self._background:
            await asyncio.wait(waiting)

    def fail(self, number: int, error: BaseException, task_id: str = "") -> None:
        """Tell the client that a request failed."""
        if not isinstance(error, FuncxLabError) or type(error) is ServiceError:
            logger.error("A request on a stream failed", exc_info=error)
        self._outbox.message(Failed(number, error_document(error), task_id))

    # --- tasks --------------------------------------------------------------------------------------

    def _submit(self, request: Submit) -> None:
        self._services.tasks.facts.observer.submitted(request.tasks, request.waited_s)
        committed = self._services.tasks.submit(
            self._principal,
            request.endpoint,
            request.function_id,
            request.group_id,
            request.tasks,
            request.options,
        )
        self._services.audit.submitted(
            self._principal.user,
            request.endpoint,
            request.function_id,
            request.tasks,
            self._services.functions.get(self._principal, request.function_id).sha256,
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
            self.fail(number, error)

    def _cancel(self, request: CancelTasks) -> None:
        self._keep(self._cancel_all(request))

    async def _cancel_all(self, request: CancelTasks) -> None:
        try:
            task_ids = await self._services.tasks.cancel(self._principal, request.task_ids)
        except Exception as err:
            self.fail(request.request, err)
        else:
            self._services.audit.cancelled(self._principal.user, task_ids)
            self._outbox.message(Cancelled(request.request, task_ids))

    # --- subscriptions ------------------------------------------------------------------------------

    def _subscribe(self, request: Subscribe) -> None:
        self._drop_replay("group", request.group_id)
        self._replays["group", request.group_id] = GroupReplay(
            self._services, self._principal, self._outbox, request.group_id, request.after
        )

    def _follow(self, request: Follow) -> None:
        self._keep(self._follow_one(request))

    async def _follow_one(self, request: Follow) -> None:
        self._drop_replay("task", request.task_id)
        if await self._exists(request.task_id):
            self._replays["task", request.task_id] = EventReplay(
                self._services, self._principal, self._outbox, request.task_id, request.after
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
        tasks = self._services.tasks
        if not tasks.records(self._principal, task_ids=[task_id]) and self._submits:
            await asyncio.wait(set(self._submits))
        try:
            tasks.record(self._principal, task_id)
        except FuncxLabError as err:
            self.fail(0, err, task_id)
            return False
        return True

    def _check(self, request: Check) -> None:
        self._keep(self._check_all(request.task_ids))

    async def _check_all(self, task_ids: list[str]) -> None:
        tasks = self._services.tasks
        for start in range(0, len(task_ids), _CHECKS_A_TURN):
            piece = task_ids[start : start + _CHECKS_A_TURN]
            for task_id in set(piece) - tasks.known(self._principal, piece):
                await self._exists(task_id)
            await self._outbox.drained()
            await asyncio.sleep(0)

    def _watch_one(self, task_id: str) -> None:
        outcome = self._services.tasks.outcome(self._principal, task_id)
        if outcome is not None:
            self._outbox.outcomes([outcome])
        elif task_id not in self._watches:
            self._watches[task_id] = self._services.feed.task(task_id, self._ended)

    def _ended(self, item: OutcomeItem) -> None:
        unsubscribe = self._watches.pop(item.task_id, None)
        if unsubscribe is not None:
            unsubscribe()
            self._outbox.outcomes([item])

    def _keep(self, work: Awaitable[Any]) -> None:
        future = asyncio.ensure_future(work)
        self._background.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._background.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            self.fail(0, error)


async def revoked(services: Services, token: str) -> None:
    """Return soon after ``token`` was revoked, or stands for somebody in other groups and roles."""
    first = services.tokens.verify(token)
    while True:
        await asyncio.sleep(FRESH_S)
        try:
            asking = services.tokens.renew(token)
            if asking is not None:
                await asking
            if services.tokens.verify(token) != first:
                return
        except (NotAuthenticated, NotAuthorized):
            return
        except FuncxLabError as err:
            logger.debug("it cannot be told now whether a token works: %s", err)
