"""Where a dashboard's page and its WebSocket come in: checked like every route, then handed to Bokeh."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tornado.httputil
import tornado.web
import tornado.websocket

from funcx_lab.errors import InvalidRequest, NotAuthorized, NotFound
from funcx_lab_hub_service.dashboards.catalogue import DASHBOARDS
from funcx_lab_hub_service.dashboards.pages import DashHandler, FileHandler, IndexHandler, ListHandler
from funcx_lab_hub_service.handlers.conversation import revoked

if TYPE_CHECKING:
    from tornado.websocket import WebSocketHandler

_POLICY_VIOLATED = 1008
#: Sockets that were closed are forgotten after so many seconds.
_LOOK_S = 5.0
#: What would put a page into a session that somebody else made.
_SESSION_ARGUMENTS = ("bokeh-session-id", "bokeh-token")


class Entrance(DashHandler):
    """Hands a request over once it is clear who asks, and what answers it is Bokeh's."""

    _is_handed_over = False

    def hand_over(self) -> None:
        """Let Bokeh's application answer; its `AuthProvider` finds out here who asks."""
        self._is_handed_over = True
        self.services.gate.busy.discard(self)
        self.dashboards.entrances[self.request] = self
        delegate = self.dashboards.bokeh.find_handler(self.request)
        line = tornado.httputil.RequestStartLine(
            str(self.request.method), str(self.request.uri), self.request.version
        )
        delegate.headers_received(line, self.request.headers)
        delegate.finish()

    def handed(self, handler: Any) -> None:
        """Dress the handler of Bokeh's that has taken over."""
        handler.clear_header("Server")
        for name in ("Content-Security-Policy", "X-Content-Type-Options", "Cache-Control", "Referrer-Policy"):
            handler.set_header(name, self._headers[name])

    def finish(self, chunk: Any = None) -> asyncio.Future[None]:
        """Answer, unless somebody else does."""
        if not self._is_handed_over:
            return super().finish(chunk)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def check_name(self, name: str) -> None:
        """Refuse what is no dashboard.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        if name not in DASHBOARDS:
            raise NotFound(f"There is no dashboard {name[:80]!r}; there are {', '.join(DASHBOARDS)}.")


class PageHandler(Entrance):
    """One dashboard."""

    async def get(self, name: str) -> None:
        """Show it, in a session of its own."""
        self.check_name(name)
        if "Bokeh-Session-Id" in self.request.headers or any(map(self._asks_for, _SESSION_ARGUMENTS)):
            raise InvalidRequest("A dashboard's page begins its own session; leave the session's id out.")
        await self.dashboards.load()
        self.hand_over()

    def _asks_for(self, name: str) -> bool:
        return name in self.request.arguments


class SocketHandler(Entrance):
    """The WebSocket of one dashboard's page."""

    def admit(self) -> None:
        """Check where the page is from, too."""
        super().admit()
        origin = self.request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in self.services.hosts:
            raise NotAuthorized("A page of another origin may not follow a dashboard.")

    async def get(self, name: str) -> None:
        """Follow the page's session, if it is of the same user's."""
        self.check_name(name)
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise InvalidRequest("This route is a WebSocket; ask for it with `Upgrade: websocket`.")
        await self.dashboards.load()
        protocols = self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        if self.dashboards.owner_of(protocols[-1].strip()) != self.principal.user:
            raise NotAuthorized("This session is another user's, or none.")
        self.hand_over()

    def handed(self, handler: Any) -> None:
        """Close the socket when its token is revoked, and when the service stops."""
        self.dashboards.sockets.add(handler)
        watching = asyncio.ensure_future(self._close_when_revoked(handler))
        self.dashboards.watches.add(watching)
        watching.add_done_callback(self.dashboards.watches.discard)

    async def _close_when_revoked(self, handler: WebSocketHandler) -> None:
        over = asyncio.ensure_future(revoked(self.services, self.token))
        try:
            while not over.done():
                await asyncio.wait([over], timeout=_LOOK_S)
                if handler.ws_connection is None or handler.ws_connection.is_closing():
                    return
            handler.close(_POLICY_VIOLATED, "the token was revoked")
        finally:
            over.cancel()
            self.dashboards.sockets.discard(handler)


routes: list[tuple[str, type[DashHandler]]] = [
    ("/dash/", IndexHandler),
    ("/dash/list", ListHandler),
    ("/dash/static/{name}", FileHandler),
    ("/dash/{name}", PageHandler),
    ("/dash/{name}/ws", SocketHandler),
]
