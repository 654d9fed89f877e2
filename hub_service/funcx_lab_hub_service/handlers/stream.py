"""The stream: one WebSocket on which a client submits, and hears outcomes and events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import ClassVar
from urllib.parse import urlsplit

import tornado.web
import tornado.websocket

from funcx_lab.errors import InvalidRequest, MalformedMessage, NotAuthorized
from funcx_lab.protocol.stream import client_codec
from funcx_lab_hub_service.handlers.base import Guard
from funcx_lab_hub_service.handlers.conversation import Conversation, revoked
from funcx_lab_hub_service.handlers.outbox import Outbox

_MESSAGES_A_TURN = 32
# WebSocket close codes
_UNSUPPORTED, _MALFORMED, _POLICY, _TRY_AGAIN, _RESTART = 1003, 1007, 1008, 1013, 1012


@tornado.web.stream_request_body
class StreamHandler(Guard, tornado.websocket.WebSocketHandler):
    """One client's stream."""

    #: all open streams, to be closed when the service stops
    open_streams: ClassVar[set[StreamHandler]] = set()
    _conversation: Conversation | None = None

    def admit(self) -> None:
        """Check address, token and origin before the upgrade."""
        super().admit()
        origin = self.request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in self.services.hosts:
            raise NotAuthorized("A page of another origin may not open the stream.")
        if self.request.method == "GET" and self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise InvalidRequest("This route is a WebSocket; ask for it with `Upgrade: websocket`.")

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Drop a body: an upgrade has none, and tornado would keep it before anybody asked for a token."""
        return None

    def check_origin(self, origin: str) -> bool:
        """Let pass: `admit` has checked it."""
        return True

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Begin."""
        self.set_nodelay(True)
        outbox = Outbox(
            self._write,
            lambda: self.close(_TRY_AGAIN, "come again, from your cursors"),
        )
        self._conversation = Conversation(self.services, self.principal, outbox)
        self._turns = 0
        self._watch = asyncio.ensure_future(self._close_when_revoked())
        self.open_streams.add(self)

    @property
    def _is_over(self) -> bool:
        return self.ws_connection is None or self.ws_connection.is_closing()

    def _write(self, frame: bytes) -> Awaitable[None]:
        try:
            return self.write_message(frame, binary=True)
        except tornado.websocket.WebSocketClosedError:
            return asyncio.sleep(0)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Do what the client asks; what stands behind the message that ended the stream is dropped."""
        if self._is_over:
            return None
        if isinstance(message, str):
            self.close(_UNSUPPORTED, "binary messages only")
            return None
        conversation = self._conversation
        assert conversation is not None  # noqa: S101  # tornado opens before it hands over messages
        try:
            request = client_codec.decode(message)
        except MalformedMessage as err:
            conversation.fail(0, err)
            self.close(_MALFORMED, "malformed message")
            return None
        conversation.take(request)
        self._turns += 1
        if conversation.is_full:
            return conversation.has_room()
        # Messages that wait in the buffer are read without a pause: let the others have their turn.
        return asyncio.sleep(0) if self._turns % _MESSAGES_A_TURN == 0 else None

    def on_close(self) -> None:
        """Forget the client; its tasks go on."""
        self.open_streams.discard(self)
        if self._conversation is not None:
            self._watch.cancel()
            self._conversation.stop()

    def leave(self) -> None:
        """Tell the client that the service stops."""
        self.close(_RESTART, "the hub service stops")

    async def _close_when_revoked(self) -> None:
        await revoked(self.services, self.token)
        self.close(_POLICY, "the token was revoked")


routes = [("/v3/stream", StreamHandler)]
