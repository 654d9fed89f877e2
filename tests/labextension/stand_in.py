"""A program that listens where a hub service should, and does what a hub service does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket

TOKEN = "the-token-of-the-hub-service"
PIECE = b"x" * 65536

T = TypeVar("T")


class StandIn:
    """A web server on a loop of its own thread.

    Attributes
    ----------
    asked : list
        Headers of every request, newest last.
    sockets : list
        Handlers of open WebSockets, newest last.
    taken : list of str
        Messages that sockets have received.
    go : asyncio.Event
        Lets an answer that pauses go on.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.sockets: list[Socket] = []
        self.taken: list[str | bytes] = []
        self.sent = 0
        self.closed = threading.Event()
        self.close_code: int | None = None
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="stand-in")
        self._thread.start()
        self.url = self.run(self._listen())

    async def _listen(self) -> str:
        self.go = asyncio.Event()
        application = tornado.web.Application(
            [
                ("/v3/whoami", Odd, {"about": self}),
                ("/v3/tasks", Redirect, {"about": self}),
                ("/v3/stats", Page, {"about": self}),
                ("/v3/functions", Long, {"about": self}),
                ("/v3/endpoints", Broken, {"about": self}),
                ("/v3/tasks/cancel", Echo, {"about": self}),
                ("/v3/watch", Socket, {"about": self}),
                ("/dash/tasks/ws", Socket, {"about": self}),
                ("/dash/.*", Page, {"about": self}),
            ],
            log_function=lambda handler: None,
        )
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        self._server = tornado.httpserver.HTTPServer(application)
        self._server.add_sockets(sockets)
        return f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def do(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self.run(call())

    def stop(self) -> None:
        async def close() -> None:
            self._server.stop()
            await self._server.close_all_connections()

        self.run(close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()


class Odd(tornado.web.RequestHandler):
    """Answers, and tries to leave something in the browser."""

    def initialize(self, about: StandIn) -> None:
        self.about = about

    def prepare(self) -> None:
        self.about.asked.append((str(self.request.method), self.request.uri or "", self.request.headers))

    def get(self) -> None:
        self.set_cookie("planted", "by-the-service")
        self.set_header("Content-Security-Policy", "frame-ancestors *")
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("X-Secret", TOKEN)
        self.finish({"user": "ada"})


class Redirect(Odd):
    def get(self) -> None:
        self.redirect("/hub/login?next=x")


class Page(Odd):
    def get(self) -> None:
        self.set_cookie("planted", "by-the-service")
        self.set_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.set_header("Cache-Control", "max-age=60")
        self.finish("<script>alert(1)</script>")


class Long(Odd):
    """Sends one piece, and the next ones when it may."""

    async def get(self) -> None:
        self.write(PIECE)
        await self.flush()
        await self.about.go.wait()
        self.write(PIECE)


class Broken(Odd):
    """Announces more than it sends."""

    async def get(self) -> None:
        self.set_header("Content-Length", str(10 * len(PIECE)))
        self.write(PIECE)
        await self.flush()
        self.detach().close()


class Echo(Odd):
    def post(self) -> None:
        self.finish(self.request.body)


class Socket(tornado.websocket.WebSocketHandler):
    def initialize(self, about: StandIn) -> None:
        self.about = about

    def check_origin(self, origin: str) -> bool:
        return False  # who comes from a page is no server extension

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "bokeh" if "bokeh" in subprotocols else None

    def open(self, *args: str) -> None:
        self.about.asked.append(("WS", self.request.uri or "", self.request.headers))
        self.about.sockets.append(self)

    async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
        self.about.taken.append(message)
        if message == "flood":
            asyncio.get_running_loop().create_task(self._flood())
        elif message == "close":
            self.close(4321, "as you wish")
        else:
            await self.write_message(message, binary=isinstance(message, bytes))

    async def _flood(self) -> None:
        try:
            while True:
                await self.write_message(PIECE, binary=True)
                self.about.sent += len(PIECE)
        except tornado.websocket.WebSocketClosedError:
            pass

    def on_close(self) -> None:
        self.about.close_code = self.close_code
        self.about.closed.set()
