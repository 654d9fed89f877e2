"""WebSockets from the browser to the hub service and back: one there for each here."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from jupyter_server.auth.decorator import authorized, ws_authenticated
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    WebSocketHandler,
    websocket_connect,
)

from funcx_lab.config import Service
from funcx_lab.errors import (
    FuncxLabError,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    ServiceError,
    ServiceUnreachable,
)
from funcx_lab_labextension.asking import CONNECT_TIMEOUT_S, bearer
from funcx_lab_labextension.handlers import Handler, tail_of
from funcx_lab_labextension.table import is_dashboard, is_socket, passed_query

#: Bytes of the largest message from the hub service and from a browser.
MESSAGE_LIMIT, BROWSER_LIMIT = 32 * 1024 * 1024, 1024 * 1024
_PING_S = 20.0
#: Close codes with which a page learns why there is no connection; 4000 and an HTTP status.
CLOSE_BASE = 4000
_NO_SERVICE, _LOST = CLOSE_BASE + 502, 1011
#: Close codes that one may send, and the longest reason (bytes).
_SENDABLE = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
_REASON_LIMIT = 120
_BY_STATUS: dict[int, type[FuncxLabError]] = {
    cls.status: cls for cls in (NotAuthenticated, NotAuthorized, NotFound)
}


class Socket(WebSocketHandler, Handler):
    """One WebSocket; each message waits until the other side took the one before.

    The browser's is accepted first: only then can a page be told, by a close code and an error's code as
    reason, why there is no other.
    """

    guards_reading = False  # the origin is checked instead: a page cannot set headers here
    _there: WebSocketClientConnection | None = None
    _reader: asyncio.Task[None] | None = None
    _path = ""

    @ws_authenticated
    @authorized
    async def get(self, tail: str) -> None:
        """Accept the browser's side if there is such a socket."""
        self._path = self.path_of(tail_of(self, tail))
        await super().get(tail)

    def path_of(self, tail: str) -> str:
        """Return the hub service's path of this socket.

        Raises
        ------
        NotFound
            If there is none for pages.
        """
        raise NotImplementedError

    async def prepare(self, **options: Any) -> None:
        """Refuse, where a page would be sent to the login."""
        await super().prepare(_redirect_to_login=False, **options)

    def check_origin(self, origin: str = "") -> bool:
        """Let in pages of this server only, as Jupyter decides it for its other routes."""
        return Handler.check_origin(self, origin)

    @property
    def ping_interval(self) -> float:
        """Seconds; a browser that went without a word is found out."""
        return _PING_S

    @property
    def ping_timeout(self) -> float:
        """Seconds that an answer may take."""
        return _PING_S

    @property
    def max_message_size(self) -> int:
        """Bytes of one message of the browser."""
        return BROWSER_LIMIT

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Take the first; Bokeh's second is its session."""
        self._subprotocols = subprotocols
        return subprotocols[0] if subprotocols else None

    async def open(self, *_: str) -> None:
        """Connect to the hub service; what the browser sends meanwhile waits."""
        try:
            self._there = await self._connect()
        except FuncxLabError as err:
            status = CLOSE_BASE + err.status if isinstance(err, ServiceError) else _NO_SERVICE
            self.log.info("funcx-lab: %s: %s", self._path, err)
            self.close(status, err.code)
            return
        self._reader = asyncio.create_task(self._read(self._there))

    async def on_message(self, message: str | bytes) -> None:
        """Pass a message on."""
        if self._there is None:
            return
        with contextlib.suppress(WebSocketClosedError):  # the reader tells the browser, with the code
            await self._there.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        """End the other side, too."""
        if self._there is not None:
            self._there.close(*_sendable(self.close_code, self.close_reason, otherwise=1001))

    async def _read(self, there: WebSocketClientConnection) -> None:
        try:
            while (message := await there.read_message()) is not None:
                await self.write_message(message, binary=isinstance(message, bytes))
        except WebSocketClosedError:
            pass  # the browser has gone
        self.close(*_sendable(there.close_code, there.close_reason, otherwise=_LOST))
        there.close()

    async def _connect(self) -> WebSocketClientConnection:
        service = await self.finder.service()
        try:
            return await self._dial(service)
        except (ServiceUnreachable, NotAuthenticated):
            moved = await self.finder.again(service)
            if moved is None:
                raise
        return await self._dial(moved)

    async def _dial(self, service: Service) -> WebSocketClientConnection:
        query = passed_query(self.request.query)
        url = f"ws{service.url.removeprefix('http')}/{self._path}" + (f"?{query}" if query else "")
        request = HTTPRequest(
            url,
            headers=HTTPHeaders(bearer(service)),  # and no Origin: we are no page
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=CONNECT_TIMEOUT_S,
            follow_redirects=False,
        )
        try:
            return await websocket_connect(
                request,
                ping_interval=_PING_S,
                max_message_size=MESSAGE_LIMIT,
                subprotocols=self._subprotocols or None,
            )
        except (OSError, HTTPClientError, WebSocketError) as err:
            known = _BY_STATUS.get(err.code) if isinstance(err, HTTPClientError) else None
            if known is not None:
                raise known() from err
            raise ServiceUnreachable(f"The hub service at {service.url} gives no WebSocket: {err}.") from err


def _sendable(code: int | None, reason: str | None, *, otherwise: int) -> tuple[int, str]:
    """Return a close code that may be sent on, and the reason as far as it fits."""
    text = (reason or "").encode()[:_REASON_LIMIT].decode(errors="ignore")
    return (code if code is not None and code in _SENDABLE else otherwise), text


class ApiSocket(Socket):
    """``funcx-lab/api/v3/watch``."""

    def path_of(self, tail: str) -> str:
        """Return the path if it is in the table."""
        if not is_socket(tail):
            raise NotFound("Pages have no such WebSocket.")
        return tail


class DashboardSocket(Socket):
    """The socket of a dashboard's page."""

    def path_of(self, tail: str) -> str:
        """Return the path if it is one of the dashboards'."""
        if not is_dashboard(tail):
            raise NotFound("There is no such dashboard.")
        return f"dash/{tail}"
