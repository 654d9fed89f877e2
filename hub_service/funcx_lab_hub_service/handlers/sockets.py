"""What every WebSocket of the service shares: who may open it, and when it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import ClassVar
from urllib.parse import urlsplit

import tornado.web
import tornado.websocket

from funcx_lab.errors import FuncxLabError, InvalidRequest, NotAuthorized
from funcx_lab_hub_service.handlers.base import Guard
from funcx_lab_hub_service.handlers.conversation import revoked

# WebSocket close codes
UNSUPPORTED, MALFORMED, POLICY, TRY_AGAIN, RESTART = 1003, 1007, 1008, 1013, 1012


@tornado.web.stream_request_body
class SocketHandler(Guard, tornado.websocket.WebSocketHandler):
    """One WebSocket; closed when its token is revoked and when the service stops."""

    #: all that are open, to be closed when the service stops
    open_sockets: ClassVar[set[SocketHandler]] = set()
    _watch: asyncio.Future[None] | None = None

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
        self._watch = asyncio.ensure_future(self._close_when_revoked())
        self.open_sockets.add(self)

    def on_close(self) -> None:
        """Forget the client."""
        self.open_sockets.discard(self)
        if self._watch is not None:
            self._watch.cancel()

    def leave(self) -> None:
        """Tell the client that the service stops."""
        self.close(RESTART, "the hub service stops")

    @property
    def is_over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.ws_connection is None or self.ws_connection.is_closing()

    def send_frame(self, frame: bytes, *, binary: bool) -> Awaitable[None]:
        """Send one frame; what is returned is done when it has left."""
        try:
            return self.write_message(frame, binary=binary)
        except tornado.websocket.WebSocketClosedError:
            return asyncio.sleep(0)

    async def _close_when_revoked(self) -> None:
        await revoked(self.services, self.token)
        try:
            self.services.tokens.verify(self.token)
        except FuncxLabError:
            self.close(POLICY, "the token was revoked")
        else:
            self.close(RESTART, "come again: your groups or your roles have changed")
