"""Long poll: the stream for clients behind a proxy that lets no WebSocket through.

A poll is a stream that lives for one request: the body's messages are taken in as on the WebSocket,
and the answer carries what a WebSocket would have told until then. The client keeps the cursors.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine
from typing import Any, ClassVar

from funcx_lab.protocol.framing import join_frames, split_frames
from funcx_lab.protocol.stream import STREAM_LIMIT, client_codec
from funcx_lab_hub_service.auth.principals import READ
from funcx_lab_hub_service.handlers.base import Handler
from funcx_lab_hub_service.handlers.conversation import Conversation, revoked
from funcx_lab_hub_service.handlers.outbox import SLOW, Outbox

#: A poll may wait this many seconds for news.
WAIT_LIMIT_S = 30.0
#: A commit that takes longer than this is not waited for: the client sends the same again.
_ANSWER_S = 10.0
#: What comes so soon after the first message travels with it.
_GATHER_S = 0.005


class PollHandler(Handler):
    """One poll."""

    #: all polls that wait, to be answered when the service stops
    open_polls: ClassVar[set[PollHandler]] = set()
    body_limit = 2 * STREAM_LIMIT
    write_scope = READ  # who may only look, is refused each submit and cancel

    async def post(self) -> None:
        """Take in the messages; answer when all are answered and there is something to tell."""
        wait_s = self.number("wait", 0.0, 0.0, WAIT_LIMIT_S)
        requests = [client_codec.decode(frame) for frame in split_frames(self.raw_body())]
        self._frames: list[bytes] = []
        self._size = 0
        self._news, self._over = asyncio.Event(), asyncio.Event()
        conversation = Conversation(self.services, self.principal, Outbox(self._write, self._over.set))
        self.open_polls.add(self)
        try:
            for request in requests:
                conversation.take(request)
            await self._wait(conversation, wait_s)
        finally:
            self.open_polls.discard(self)
            conversation.stop()
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(join_frames(self._frames))

    def leave(self) -> None:
        """Answer with what is there."""
        if hasattr(self, "_over"):
            self._over.set()

    def on_connection_close(self) -> None:
        """Stop waiting: nobody reads the answer."""
        super().on_connection_close()
        self.leave()

    def _write(self, frame: bytes) -> Awaitable[None]:
        """Keep a frame; it has left when the answer has, so the future stays open."""
        self._frames.append(frame)
        self._size += len(frame)
        self._news.set()
        if self._size >= SLOW:
            self._over.set()
        return asyncio.get_running_loop().create_future()

    async def _wait(self, conversation: Conversation, wait_s: float) -> None:
        """Wait for the answers, then for news; a full answer, a stop or a revoked token ends both."""
        loop = asyncio.get_running_loop()
        over = asyncio.ensure_future(self._over.wait())
        watch = asyncio.ensure_future(revoked(self.services, self.token))
        watch.add_done_callback(lambda _: self._over.set())
        try:
            end = loop.time() + wait_s
            await _first(conversation.answered(), over, max(wait_s, _ANSWER_S))
            await _first(self._news.wait(), over, end - loop.time())
            if self._news.is_set():
                await _first(asyncio.sleep(_GATHER_S), over, _GATHER_S)
        finally:
            over.cancel()
            watch.cancel()


async def _first(work: Coroutine[Any, Any, object], other: asyncio.Future[Any], timeout_s: float) -> None:
    """Wait for either, and for no longer than that; ``other`` goes on."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task, other], timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


routes = [("/v3/poll", PollHandler)]
